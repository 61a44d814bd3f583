# SPDX-License-Identifier: MIT
"""Ansible callback: what to do about a host that gave no answer, with the task and the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: remedy
type: notification
short_description: Say what to do about a host that gave no answer
description:
  - Adds a line to a task that ended at its time limit, and to a host that could not be reached.
  - Ansible itself says C(Timed out after N second(s)) without the host, and nothing of what to do.
requirements:
  - enable in the configuration, with C(callbacks_enabled)
version_added: "0.9.0"
author: The authors of this project
"""


def find_remedy(host: str, task: str, result: Mapping[str, Any]) -> str | None:
    """Return the sentence for a failed or unreachable task's result; None where Ansible's own message says enough."""
    message = str(result.get("msg", ""))
    if result.get("unreachable"):
        if "HOST IDENTIFICATION HAS CHANGED" in message:
            return (
                f"{host}: its SSH host key is not the known one. Where the host was built anew, forget the old key"
                f" (ssh-keygen -R {host}) and accept the new one after comparing it; else somebody may be in between."
            )
        return f"{host} cannot be reached. See that it is up and answers SSH, or leave it out: --limit '!{host}'."
    timed_out = result.get("timedout") or {}
    if timed_out or message.startswith("Timed out after"):
        seconds = timed_out.get("period") if isinstance(timed_out, Mapping) else None
        limit = f"{seconds} s" if seconds else "its time limit"
        return (
            f"{host}: '{task}' did not end within {limit}, and what it began may still run there. Look what the host"
            " waits for (a full disk, a lock, a name that does not resolve), and run this again; it goes on from there."
        )
    return None


class CallbackModule(CallbackBase):
    """Prints the sentence below the failure."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "remedy"
    CALLBACK_NEEDS_ENABLED = True

    def _say(self, result: Any) -> None:
        remedy = find_remedy(result.host.get_name(), result.task.get_name(), result.result)
        if remedy:
            self._display.display(f"REMEDY: {remedy}", color="yellow")

    def v2_runner_on_failed(self, result: Any, **expected: bool) -> None:
        """Say it of a task that failed, unless the play expects that."""
        if not any(expected.values()):
            self._say(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Say it of a host that could not be reached."""
        self._say(result)
