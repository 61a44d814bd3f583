# SPDX-License-Identifier: MIT
"""Ansible callback: what to do about a host that gave no answer, with the task and the host; and commands, whole."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: remedy
type: notification
short_description: Say what to do about a host that gave no answer, and say commands whole
description:
  - Adds a line to a task that ended at its time limit, and to a host that could not be reached.
  - A message that names a playbook is followed by the whole command, with the inventory and what opens the vault.
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


# A playbook in a sentence, with its options: the full stop behind it is none of it (as in mltrading_db.remedies).
PLAYBOOK = re.compile(r"""playbooks/[a-z_]+\.yml(?:\s+(?:-e|--limit|--tags)\s+(?:'[^']*'|[^\s,;()'"]*[^\s,;()'".]))*""")


def find_commands(text: str, options: Mapping[str, Any]) -> list[str]:
    """Return the playbooks that a message names, as whole commands; `options` are those of this run."""
    inventories: Iterable[str] = options.get("inventory") or ()
    arguments = [f"-i {shlex.quote(str(one))}" for one in inventories]
    arguments += [f"--vault-password-file {shlex.quote(one)}" for one in options.get("vault_password_files") or ()]
    arguments += [f"--vault-id {shlex.quote(one)}" for one in options.get("vault_ids") or ()]
    arguments += ["--ask-vault-pass"] if options.get("ask_vault_pass") else []
    found = dict.fromkeys(" ".join(one.split()) for one in PLAYBOOK.findall(text))
    return [" ".join(["ansible-playbook", *arguments, one]) for one in found]


class CallbackModule(CallbackBase):
    """Prints the sentence below the failure."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "remedy"
    CALLBACK_NEEDS_ENABLED = True

    def _say(self, result: Any) -> None:
        remedy = find_remedy(result.host.get_name(), result.task.get_name(), result.result)
        for line in [*([remedy] if remedy else []), *find_commands(str(result.result.get("msg", "")), context.CLIARGS)]:
            self._display.display(f"REMEDY: {line}", color="yellow")

    def v2_runner_on_failed(self, result: Any, **expected: bool) -> None:
        """Say it of a task that failed, unless the play expects that."""
        if not any(expected.values()):
            self._say(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Say it of a host that could not be reached."""
        self._say(result)
