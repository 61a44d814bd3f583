"""What a person sees: how far the hosts are while it runs, then what changed and why, and failures as a block."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mltrading_db.cli.environment import DONE, Environment
from mltrading_db.cli.events import Change, Failure, Host, Recap
from mltrading_db.cli.history import results

LINES_OF_A_CHANGE = 20


def elapsed(seconds: float) -> str:
    """A time as a person says it."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def standing(host: Host) -> str:
    """How a host is, in a word."""
    if host.unreachable:
        return "[red]unreachable[/]"
    if host.failed:
        return "[red]failed[/]"
    return "at work" if host.busy else "[dim]waits[/]"


class Progress:
    """The table of hosts while a playbook runs; where there is no terminal, a line for each role and change."""

    def __init__(self, console: Console, title: str, recap: Recap) -> None:
        """Begin to count the time."""
        self.console, self.title, self.recap = console, title, recap
        self.began = time.monotonic()
        self.said_roles: set[tuple[str, str]] = set()
        self.said_changes = 0

    def __rich__(self) -> RenderableType:
        """The table now."""
        table = Table(box=box.SIMPLE, pad_edge=False, title=None)
        for heading in ("host", "", "tasks", "changed", "role", "task"):
            table.add_column(heading, justify="right" if heading in ("tasks", "changed") else "left", no_wrap=True)
        for name, host in self.recap.hosts.items():
            table.add_row(name, standing(host), str(host.done), str(host.changed or ""), host.role, host.task)
        head = Text(f"{self.title}  {elapsed(time.monotonic() - self.began)}  {self.recap.play}", style="bold")
        return Group(head, table)

    def say(self) -> None:
        """Without a terminal: what is new since the last time."""
        if self.console.is_terminal:
            return
        for name, host in self.recap.hosts.items():
            if host.role and (name, host.role) not in self.said_roles:
                self.said_roles.add((name, host.role))
                self.line(f"{name}: {host.role}")
        for change in self.recap.changes[self.said_changes :]:
            self.line(f"{change.host}: changed: {change.task}{f' ({change.what})' if change.what else ''}")
        self.said_changes = len(self.recap.changes)

    def line(self, text: str) -> None:
        """One line with the time that has passed."""
        self.console.print(f"{elapsed(time.monotonic() - self.began)}  {text}", markup=False, soft_wrap=True)


@contextmanager
def progress(console: Console, title: str, recap: Recap) -> Iterator[Progress]:
    """Show how far it is while the block runs."""
    shown = Progress(console, title, recap)
    if not console.is_terminal:
        yield shown
        return
    with Live(shown, console=console, refresh_per_second=4, transient=True):
        yield shown


def change_lines(change: Change) -> Iterator[Text]:
    """A change: the task and what it is about, then why."""
    about = f" ({change.what})" if change.what else ""
    yield Text(f"  {change.role}: {change.task}{about}" if change.role else f"  {change.task}{about}")
    for line in change.why[:LINES_OF_A_CHANGE]:
        yield Text(f"      {line}", style={"+": "green", "-": "red"}.get(line[:1], "dim"))
    if len(change.why) > LINES_OF_A_CHANGE:
        yield Text(f"      … {len(change.why) - LINES_OF_A_CHANGE} more lines", style="dim")


def nothing(check: bool, whole: bool) -> str:
    """What is said where nothing changes: of a check that is not whole, no more than it has seen."""
    if not check:
        return "Nothing was changed."
    return "Nothing would change." if whole else "Of what was looked at, nothing would change."


def changes(found: Sequence[Change], check: bool, whole: bool = True) -> RenderableType:
    """What was changed, host by host in the order in which it was."""
    if not found:
        return Text(nothing(check, whole))
    lines: list[RenderableType] = []
    host = ""
    for change in found:
        if change.host != host:
            host = change.host
            lines.append(Text(f"{host} would be changed:" if check else f"{host} was changed:", style="bold"))
        lines += change_lines(change)
    return Group(*lines)


def failure(found: Failure, again: str, ping: str) -> RenderableType:
    """A failure as one block: the task, the host, the reason and the way out. No line of it is broken."""
    rows = {
        "task": f"{found.role}: {found.task}" if found.role else found.task,
        "host": found.host,
        "reason": found.reason,
        "way out": found.way_out(again, ping),
        "written in": found.path,
    }
    lines = [Text("unreachable" if found.unreachable else "failed", style="bold red")]
    for name, value in rows.items():
        first, *more = value.splitlines() or [""]
        lines.append(Text.assemble((f"  {name:<10}  ", "bold"), first))
        lines += [Text(f"{'':<14}{line}") for line in more]
    return Group(*lines)


def not_whole(recap: Recap, failures: Sequence[Failure], *, interrupted: bool) -> str:
    """Why a run is not whole, in a line; empty where it is."""
    silent = sorted({one.host for one in failures if one.unreachable})
    failed = sorted({one.host for one in failures if not one.unreachable})
    reasons = [f"{', '.join(failed)} failed"] if failed else []
    reasons += [f"{', '.join(silent)} did not answer"] if silent else []
    reasons += ["it was stopped"] if interrupted else []
    reasons += [] if recap.hosts else ["no host was asked"]
    return "; ".join(reasons)


def stopped(recap: Recap) -> RenderableType:
    """Where a run was when somebody stopped it."""
    lines = [Text("Stopped. What is listed above is done; every step is done or not done, and a second run goes on.")]
    lines += [
        Text(f"  {name} was at: {host.role + ': ' if host.role else ''}{host.task}. It may or may not be done.")
        for name, host in recap.under_way()
    ]
    return Group(*lines)


def counts(recap: Recap) -> str:
    """One line at the end."""
    changed = sum(host.changed for host in recap.hosts.values())
    lost = sum(host.failed or host.unreachable for host in recap.hosts.values())
    return f"{len(recap.hosts)} hosts, {changed} tasks with changes, {lost} hosts failed"


def outcome(
    console: Console, recap: Recap, *, check: bool, interrupted: bool, failures: Sequence[Failure] = ()
) -> None:
    """Print what came of a run; first that it is not whole, where it is not."""
    missing = not_whole(recap, failures, interrupted=interrupted)
    if missing:
        what = "This is no whole check" if check else "The run did not end well"
        say(console, Text(f"{what}: {missing}.", style="bold red"))
    for message in recap.messages:
        say(console, Text(message))
    say(console, changes(recap.changes, check, not missing))
    if interrupted:
        say(console, stopped(recap))
    if not recap.hosts:
        say(console, Text("\n".join(recap.complaints)))


def say(console: Console, what: RenderableType) -> None:
    """Print lines as they are: a path, a time or a statement that is broken cannot be pasted."""
    console.print(what, soft_wrap=True)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows, the first with the headings, as lines; each column is as wide as it needs, whatever the terminal is."""
    widths = [max(len(row[number]) for row in rows) for number in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def page(lines: Sequence[str]) -> RenderableType:
    """A page with its headings, and with what comes and goes."""
    styles = {"+": "green", "-": "red"}
    return Group(*(Text(line, style="bold" if line[:1] != " " else styles.get(line.strip()[:1], "")) for line in lines))


def runs(environment: Environment, *, as_json: bool) -> int:
    """List the runs that are kept."""
    found = results(environment)
    if as_json:
        sys.stdout.write(json.dumps([{"folder": str(folder), **result} for folder, result in found], indent=2) + "\n")
        return DONE
    rows = [("ended", "command", "exit code", "by", "changes", "record")]
    for folder, result in found:
        command = f"{result['command']}{' --check' if result['check'] else ''}"
        counts_shown = (str(result["exit_code"]), result["user"], str(len(result["changes"])))
        rows.append((result["ended"], command, *counts_shown, str(folder)))
    sys.stdout.write("\n".join(columns(rows)) + "\n")
    return DONE
