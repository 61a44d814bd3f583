"""One command at work on an environment: its inputs checked, the lock held, playbooks run, and a record kept."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from getpass import getuser
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from socket import gethostname
from typing import Any

from rich.console import Console

from mltrading_db.cli import host_keys, inputs, show
from mltrading_db.cli.environment import (
    BUSY,
    DONE,
    FAILED,
    INTERRUPTED,
    REFUSED,
    Environment,
    RefusedError,
    find,
    locked,
    program,
)
from mltrading_db.cli.events import Failure, Recap
from mltrading_db.cli.history import Record
from mltrading_db.cli.inventory import Inventory
from mltrading_db.cli.masks import Masker
from mltrading_db.cli.runner import Event, Run, ping, play, programs
from mltrading_db.remedies import completed

# The playbooks that run all roles.
ALL_ROLES = {"site", "rebuild_host"}


@dataclass
class Session:
    """What a command works with."""

    command: str
    environment: Environment
    inventory: Inventory
    masker: Masker
    record: Record
    console: Console
    as_json: bool = False
    verbosity: int = 0
    recaps: dict[str, Recap] = field(default_factory=dict)
    interrupted: bool = False
    refused: bool = False

    def run(  # noqa: PLR0913  # what ansible-playbook takes
        self,
        playbook: str,
        variables: Mapping[str, object] | None = None,
        *,
        check: bool = False,
        limit: str = "",
        tags: str = "",
        quiet: bool = False,
    ) -> Recap:
        """Run a playbook, and return what came of it; a host that failed is in the recap."""
        if not (self.environment.project / f"playbooks/{playbook}.yml").is_file():
            raise RefusedError([f"playbooks/{playbook}.yml is not in this checkout."])
        recap = self.recaps[playbook] = Recap()
        wanted = Run(self.environment, playbook, variables or {}, check, limit, tags, self.verbosity)
        title = f"{self.environment.name}: {playbook}{' (check)' if check else ''}"
        with show.progress(Console(quiet=True) if self.as_json or quiet else self.console, title, recap) as shown:

            def take(event: Event) -> None:
                masked = self.masker.value(event)
                self.record.write_event(masked)
                recap.take(masked)
                shown.say()
                if self.verbosity and masked.get("stdout") and not self.as_json:
                    self.console.print(masked["stdout"], markup=False, highlight=False, soft_wrap=True)

            ended = play(wanted, take)
        self.interrupted = self.interrupted or ended.interrupted
        recap.failures = {
            name: self.completed(host_keys.explained(self.inventory, failure))
            for name, failure in recap.failures.items()
        }
        recap.messages = [
            completed(message, self.environment.name, **programs(self.environment)) for message in recap.messages
        ]
        if ended.code and not recap.failures and not ended.interrupted:
            said = recap.complaints[-3:] or [f"{playbook} ended with {ended.code}, and said nothing."]
            raise RefusedError(said, FAILED if recap.hosts else REFUSED)
        return recap

    def completed(self, failure: Failure) -> Failure:
        """A failure whose commands can be pasted."""
        how = programs(self.environment)
        return replace(
            failure,
            reason=completed(failure.reason, self.environment.name, **how),
            remedy=completed(failure.remedy, self.environment.name, **how),
        )

    def change(  # noqa: PLR0913  # what ansible-playbook takes, and what is insisted on
        self,
        playbook: str,
        variables: Mapping[str, object] | None = None,
        *,
        limit: str = "",
        tags: str = "",
        older: bool = False,
        absent: bool = False,
    ) -> Recap:
        """Look at the hosts, run a playbook that changes them, and leave a line on each, however it ends.

        Without a run of all roles (ALL_ROLES without tags) a host gets no first accepted state. `older` insists on a
        checkout that is older than the hosts; `absent` goes on without hosts that do not answer. What was refused, or
        stopped before the first change, is in the recap.
        """
        insisted = {"check_hosts_older": older, "check_hosts_absent": absent, "check_hosts_run": runs_here()}
        hosts = self.run("check_hosts", insisted, limit=limit)
        if self.code():
            self.refused = True
            return hosts
        try:
            return self.run(playbook, variables, limit=limit, tags=tags)
        finally:
            if playbook in self.recaps:
                self.audit(self.recaps[playbook], whole=playbook in ALL_ROLES and not tags, older=older)

    def audit(self, recap: Recap, *, whole: bool = False, accept: bool = False, older: bool = False) -> None:
        """Leave a line on every host that the run got to; the hosts are held to what the run has made."""
        for name, host in recap.hosts.items():
            if host.unreachable:
                self.console.print(f"{name} did not answer, and has no line of this run.", markup=False)
        reached = {name: host for name, host in recap.hosts.items() if not host.unreachable}
        if not reached:
            return
        wholly = {name: whole and not self.interrupted and not host.failed for name, host in reached.items()}
        entries = {
            name: {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": f"{self.command} --accept" if accept else self.command,
                **provenance(self.environment),
                **({"whole": True} if wholly[name] else {}),
                **({"older": True} if older else {}),
                "ended": "stopped" if self.interrupted else "failed" if host.failed else "well",
                "changed": [
                    f"{change.role}: {change.task}{f' ({change.what})' if change.what else ''}"
                    for change in recap.changes
                    if change.host == name
                ],
            }
            for name, host in reached.items()
        }
        # A variable would be taken for a template, and this holds what hosts have said.
        with tempfile.TemporaryDirectory(prefix="run-", dir=self.environment.state) as folder:
            file = Path(folder) / "entries.json"
            text = {name: {"entry": entry, "whole": wholly[name]} for name, entry in entries.items()}
            file.write_text(json.dumps(text, ensure_ascii=False), encoding="utf-8")
            variables = {"record_run_file": str(file), "record_run_accept": accept, "record_run_by": runs_here()}
            self.run("record_run", variables, limit=":".join(reached), quiet=True)

    def code(self) -> int:
        """The exit code of what has been run."""
        if self.interrupted:
            return INTERRUPTED
        if self.refused:
            return BUSY if any(failure.code == BUSY for failure in self.failures()) else REFUSED
        return FAILED if any(recap.failures for recap in self.recaps.values()) else DONE

    def finish(
        self, recap: Recap, *, check: bool, more: Mapping[str, Any] | None = None, code: int | None = None
    ) -> int:
        """Keep what came of it, print it where it is for a program, and return the exit code."""
        code = self.code() if code is None else code
        result = self.keep(recap, check=check, more=more or {}, code=code)
        if self.as_json:
            sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
        else:
            end = f"{show.counts(recap)}. The record: {self.record.folder}"
            self.console.print(end, style="dim", soft_wrap=True, markup=False)
        return code

    def keep(self, recap: Recap, *, check: bool, more: Mapping[str, Any], code: int) -> dict[str, Any]:
        """Keep what came of it; returns it."""
        result = {
            "command": self.command,
            "environment": self.environment.name,
            "check": check,
            "exit_code": code,
            "interrupted": self.interrupted,
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            **provenance(self.environment),
            **recap.as_json(),
            "failures": [vars(failure) for failure in self.failures()],
            **more,
        }
        self.record.write_result(result)
        return result

    def failures(self) -> list[Failure]:
        """The failures of all playbooks that were run."""
        return [failure for recap in self.recaps.values() for failure in recap.failures.values()]

    def end(
        self, recap: Recap, *, check: bool, closing: Sequence[str] = (), more: Mapping[str, Any] | None = None
    ) -> int:
        """Show and keep what came of a run, `closing` where it ended well; returns the exit code."""
        if not self.as_json:
            failures = self.failures()
            show.outcome(self.console, recap, check=check, interrupted=self.interrupted, failures=failures)
            for failure in failures:
                show.say(self.console, show.failure(failure, again(self), ping(self.environment)))
            for line in closing if self.code() == DONE else ():
                self.console.print(line, soft_wrap=True, markup=False)
        return self.finish(recap, check=check, more=more)


def again(made: Session) -> str:
    """The command that runs this once more, as it was typed."""
    typed = sys.argv[1:] if Path(sys.argv[0]).name == "mldb" else [*made.command.split(), made.environment.name]
    return shlex.join([*program().split(), *typed])


def git(environment: Environment, *arguments: str) -> str:
    """What git says of the checkout; empty where it is none."""
    # A checkout may be another user's: git runs nothing of it that mldb does not.
    asked = ["git", "-c", "safe.directory=*", "-C", str(environment.project), *arguments]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603  # our own arguments
    return done.stdout.strip() if done.returncode == 0 else ""


def runs_here() -> str:
    """Who holds the hosts while a run changes them: one user of one controller, whose own lock tells the runs apart."""
    return f"{getuser()}@{gethostname()}"


def provenance(environment: Environment) -> dict[str, Any]:
    """Who runs which version of this repository."""
    try:
        installed = version("mltrading-db")
    except PackageNotFoundError:
        installed = ""
    return {
        "user": getuser(),
        "commit": git(environment, "rev-parse", "HEAD"),
        "uncommitted": bool(git(environment, "status", "--porcelain")),
        **({"version": installed} if installed else {}),
    }


@contextmanager
def session(command: str, name: str, *, as_json: bool = False, verbosity: int = 0) -> Iterator[Session]:
    """Check an environment's inputs, hold it, and keep a record.

    Raises:
        RefusedError: something is wrong with the environment, or somebody else is at it.
    """
    environment = find(name)
    inventory, wrong = inputs.checked(environment)
    if wrong:
        raise RefusedError([*wrong, f"{len(wrong)} problems with inventories/{name}. Nothing was changed."])
    masker = Masker(inventory.secrets())
    console = Console(stderr=as_json, highlight=False)
    with locked(environment, command):
        # What a killed run has left: nobody else is at it.
        for left in environment.state.glob("run-*"):
            shutil.rmtree(left)
        with Record(environment, command.split(maxsplit=1)[0]) as record:
            made = Session(command, environment, inventory, masker, record, console, as_json, verbosity)
            try:
                yield made
            except RefusedError as error:
                last = list(made.recaps.values())[-1:] or [Recap()]
                made.keep(last[0], check=False, more={"refused": error.problems}, code=error.code)
                raise


def confirm(environment: Environment, given: str, what: str) -> None:
    """Have a change of an environment that matters confirmed by its name.

    Raises:
        RefusedError: it was not, or nobody can be asked.
    """
    if not environment.asks_for_its_name or given == environment.name:
        return
    if not given and sys.stdin.isatty():
        given = (
            Console(highlight=False, stderr=True).input(f"{what} Type its name, {environment.name}, to go on: ").strip()
        )
    if given != environment.name:
        raise RefusedError([f"{what} Confirm it by its name: --confirm {environment.name} (given: {given!r})."])
