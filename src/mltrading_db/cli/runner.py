"""Runs a playbook by ansible-runner. The only file that imports it.

What ansible-runner keeps for itself holds the whole environment and every event as it came, so it is kept in a folder
that nobody else reads and that ends with the run. The caller gets the events, and keeps what it has masked.
"""

from __future__ import annotations

import configparser
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible_runner

from mltrading_db.cli.environment import Environment, make_private, program

Event = dict[str, Any]
# After the first Ctrl-C Ansible is given this long to end by itself, in seconds.
GRACE = 30.0


def opens_vault(environment: Environment) -> bool:
    """Whether the vault is opened by the file of `mldb init`, which the user's own setting goes before."""
    return environment.vault_password_file.exists() and "ANSIBLE_VAULT_PASSWORD_FILE" not in os.environ


def vault_options(environment: Environment) -> list[str]:
    """What an own command of Ansible needs to open the vault as a run does."""
    return ["--vault-password-file", str(environment.vault_password_file)] if opens_vault(environment) else []


def programs(environment: Environment) -> dict[str, str]:
    """How a remedy calls mldb and ansible-playbook from where the user stands."""
    return {"mldb": program(), "playbook": shlex.join([program("ansible-playbook"), *vault_options(environment)])}


def ping(environment: Environment) -> str:
    """The command that asks `{host}` for a sign of life."""
    asked = ["-i", str(environment.folder), *vault_options(environment), "-m", "ansible.builtin.ping"]
    return shlex.join([program("ansible"), *asked]) + " {host}"


@dataclass(frozen=True)
class Run:
    """What is to be run: a playbook of an environment, with what a person would add to ansible-playbook."""

    environment: Environment
    playbook: str
    variables: Mapping[str, object] = field(default_factory=dict)
    check: bool = False
    limit: str = ""
    tags: str = ""
    verbosity: int = 0

    def arguments(self) -> list[str]:
        """The arguments of ansible-playbook, without the playbook; variables go by a file, not by these."""
        wanted = ["--diff"]
        wanted += ["--check"] if self.check else []
        wanted += ["--limit", self.limit] if self.limit else []
        wanted += ["--tags", self.tags] if self.tags else []
        wanted += ["-" + "v" * self.verbosity] if self.verbosity else []
        if opens_vault(self.environment):
            wanted += ["--vault-password-file", str(self.environment.vault_password_file)]
        return wanted


@dataclass(frozen=True)
class Ended:
    """How a playbook ended: its exit code, and whether somebody stopped it."""

    code: int
    interrupted: bool


def play_processes(marker: str) -> list[int]:
    """Our own children that run ansible-playbook for this run."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            with suppress(OSError):
                if marker in Path(f"/proc/{child}/cmdline").read_text():
                    found.append(int(child))
    return found


class Interruption:
    """Ctrl-C: the first asks Ansible to stop after what it has begun, the second (or GRACE seconds) ends it."""

    def __init__(self, marker: str) -> None:
        """`marker` stands in the command line of the process to be stopped."""
        self.marker = marker
        self.asked_at: float | None = None
        self.forced = False

    def __call__(self, *_: object) -> None:
        """Take a signal."""
        if self.asked_at is not None:
            self.forced = True
            return
        self.asked_at = time.monotonic()
        for process in play_processes(self.marker):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGINT)

    def is_over(self) -> bool:
        """Whether ansible-runner is to kill what still runs."""
        return self.forced or (self.asked_at is not None and time.monotonic() - self.asked_at > GRACE)


def settings(project: Path) -> dict[str, str]:
    """The environment variables of Ansible, as a person has them who stands in the checkout and uses its programs."""
    programs = str(Path(sys.executable).parent)
    said = configparser.ConfigParser(interpolation=None)
    said.read(project / "ansible.cfg", encoding="utf-8")
    checks = said.get("defaults", "host_key_checking", fallback="true")
    return {
        "ANSIBLE_CONFIG": str(project / "ansible.cfg"),
        "PATH": programs + os.pathsep + os.environ.get("PATH", ""),
        # Events carry the result; colours would only be in the way of masking.
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        # ansible-runner would have SSH take any key.
        "ANSIBLE_HOST_KEY_CHECKING": os.environ.get("ANSIBLE_HOST_KEY_CHECKING", checks),
    }


def play(run: Run, on_event: Callable[[Event], None]) -> Ended:
    """Run the playbook, and hand each event on as it comes."""

    def take(event: Event) -> bool:
        on_event(event)
        # What is not written needs no masking.
        return False

    with tempfile.TemporaryDirectory(prefix="run-", dir=make_private(run.environment.state)) as folder:
        # The folder's name is in the command line, by the file with the variables.
        interruption = Interruption(folder)
        before = {number: signal.signal(number, interruption) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            ended = ansible_runner.run(
                private_data_dir=folder,
                project_dir=str(run.environment.project),
                playbook=f"playbooks/{run.playbook}.yml",
                inventory=str(run.environment.folder),
                # Always there, so that the process can be told by it.
                extravars={**run.variables, "mldb_run": Path(folder).name},
                cmdline=shlex.join(run.arguments()),
                envvars=settings(run.environment.project),
                event_handler=take,
                cancel_callback=interruption.is_over,
                quiet=True,
            )
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return Ended(code=ended.rc if ended.rc is not None else 1, interrupted=interruption.asked_at is not None)
