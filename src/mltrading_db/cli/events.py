"""What came of a run, read from Ansible's events. Pure: a Recap takes event after event, and is asked at any time.

An event is what ansible-runner hands on: `event` names it, `event_data` holds play, role, task, host and `res`, the
result of the task, which Ansible has emptied where the task has no_log.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]
# What a result says of itself, the first that is there: of a module that did not start only the shell knows why.
REASONS = ("module_stderr", "msg", "stderr", "stdout", "module_stdout", "reason")
LINES_OF_A_REASON = 12
# What writes files whole.
WRITERS = {"copy", "template", "host_files", "assemble"}
HIDDEN = "what it is about is not shown, as it holds secrets"
# How Ansible's own output begins a line of a task that has changed a host. Of a task with no_log nothing else tells.
SAID_CHANGED = re.compile(r"^(?:\x1b\[[\d;]*m)*changed: \[", re.MULTILINE)


@dataclass(frozen=True)
class Change:
    """One thing that was changed or, in a check, would be: where, by which task, and why."""

    host: str
    role: str
    task: str
    action: str
    what: str
    why: list[str]
    details: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {key: value for key, value in vars(self).items() if value != []}


@dataclass(frozen=True)
class Failure:
    """Why a host went no further."""

    host: str
    role: str
    task: str
    path: str
    reason: str
    unreachable: bool
    # What to do, where it is known better than by the kind of failure.
    remedy: str = ""
    # What a command ended with, where one failed.
    code: int | None = None

    def way_out(self, again: str, ping: str) -> str:
        """What to do about it, with the commands that run it again and that ask the host for a sign of life."""
        if self.remedy:
            return self.remedy
        if self.unreachable:
            return f"See that the host is up and answers: {ping.format(host=self.host)}\nThen run it again: {again}"
        return f"When it is put right, run it again: {again}\nWhat is done stays done."


@dataclass
class Host:
    """How far a host is."""

    role: str = ""
    task: str = ""
    busy: bool = False
    done: int = 0
    changed: int = 0
    failed: bool = False
    unreachable: bool = False
    # It did not answer at some task, and the playbook may have gone on without it.
    silent: bool = False


@dataclass
class Recap:
    """A run so far."""

    hosts: dict[str, Host] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    play: str = ""
    # What Ansible says before and beside the plays, such as a variable file that it cannot read.
    complaints: list[str] = field(default_factory=list)
    finished: bool = False
    # What a debug task said last on each host, as it is: an answer to another program.
    answers: dict[str, Any] = field(default_factory=dict)
    # The files that tasks have written or, in a check, found as they are to be, of each host.
    named: dict[str, set[str]] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Take the next event."""
        kind, data = event.get("event", ""), event.get("event_data") or {}
        if kind == "playbook_on_play_start":
            self.play = data.get("play", "")
        elif kind == "playbook_on_stats":
            self.finish(data)
        elif kind in ("error", "warning", "verbose") and event.get("stdout", "").strip():
            self.complaints.append(event["stdout"].strip())
        elif kind.startswith("runner_") and data.get("host"):
            self.take_result(kind.removeprefix("runner_"), data, event.get("stdout") or "")

    def take_result(self, kind: str, data: dict[str, Any], said: str) -> None:
        """Take what a task did on a host."""
        host = self.hosts.setdefault(data["host"], Host())
        result: dict[str, Any] = data["res"] if isinstance(data.get("res"), dict) else {}
        if "censored" in result:
            result = {**result, "changed": bool(SAID_CHANGED.search(said))}
        host.role, host.task = data.get("role", ""), data.get("task", "")
        host.busy = kind in ("on_start", "item_on_ok", "item_on_failed", "item_on_skipped", "on_file_diff")
        self.note_files(data, kind, result)
        looped = data.get("event_loop") is not None or "results" in result
        if kind == "on_ok":
            host.done += 1
            self.note_message(data, result)
            if result.get("changed") and not looped:
                self.note_change(data, result)
            host.changed += bool(result.get("changed"))
        elif kind == "item_on_ok" and result.get("changed"):
            self.note_change(data, result)
        elif kind in ("on_failed", "item_on_failed") and not data.get("ignore_errors"):
            if kind == "on_failed" and looped and data["host"] in self.failures and self.same(data):
                return
            self.note_failure(data, result, unreachable=False)
        elif kind == "on_unreachable":
            host.silent = True
            self.note_failure(data, result, unreachable=True)

    def same(self, data: dict[str, Any]) -> bool:
        """Whether the host's failure is of this very task, an item of which has said more than the loop does."""
        return self.failures[data["host"]].task == data.get("task")

    def note_message(self, data: dict[str, Any], result: dict[str, Any]) -> None:
        """Keep what a playbook says to a person."""
        if str(data.get("task_action", "")).endswith("debug"):
            said = self.answers[data["host"]] = result.get("msg", "")
            self.messages.append("\n".join(spoken(said)))

    def note_files(self, data: dict[str, Any], kind: str, result: dict[str, Any]) -> None:
        """Keep the files that a task is about; one that only looks at a file has said nothing of what is in it."""
        if kind in ("on_ok", "item_on_ok") and str(data.get("task_action", "")).rpartition(".")[2] in WRITERS:
            paths = [result.get("dest"), result.get("path"), *(result.get("files") or [])]
            self.named.setdefault(data["host"], set()).update(path for path in paths if isinstance(path, str))

    def note_change(self, data: dict[str, Any], result: dict[str, Any]) -> None:
        """Keep a change with what says why: the module's own actions, else the difference."""
        actions = [one for one in result.get("actions") or [] if isinstance(one, dict)]
        differences = result.get("diff") or []
        differences = [differences] if isinstance(differences, dict) else differences
        self.changes.append(
            Change(
                host=data["host"],
                role=data.get("role", ""),
                task=data.get("task", ""),
                action=str(data.get("task_action", "")).rpartition(".")[2],
                what=subject(result),
                why=[f"{one.get('action')} {one.get('name')}: {one.get('reason')}" for one in actions]
                or [line for one in differences if isinstance(one, dict) for line in differing(one)],
                details=actions,
            )
        )

    def note_failure(self, data: dict[str, Any], result: dict[str, Any], *, unreachable: bool) -> None:
        """Keep the latest failure of a host: what came before it was rescued, or led to it."""
        host = self.hosts[data["host"]]
        host.failed, host.unreachable, host.busy = not unreachable, unreachable, False
        self.failures[data["host"]] = Failure(
            host=data["host"],
            role=data.get("role", ""),
            task=data.get("task", ""),
            path=data.get("task_path", ""),
            reason=reason_of(result),
            unreachable=unreachable or host.silent,
            code=result["rc"] if isinstance(result.get("rc"), int) else None,
        )

    def finish(self, statistics: dict[str, Any]) -> None:
        """Take Ansible's own count at the end, which knows what was rescued."""
        self.finished = True
        lost = {*statistics.get("failures", {}), *statistics.get("dark", {})}
        self.failures = {name: failure for name, failure in self.failures.items() if name in lost}
        for name, host in self.hosts.items():
            host.busy = False
            host.failed, host.unreachable = name in statistics.get("failures", {}), name in statistics.get("dark", {})
            host.changed = statistics.get("changed", {}).get(name, 0)

    def under_way(self) -> list[tuple[str, Host]]:
        """The hosts that are at a task, or were when the run was stopped."""
        return [(name, host) for name, host in self.hosts.items() if host.busy]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "hosts": {
                name: {
                    "tasks": host.done,
                    "changed": host.changed,
                    "failed": host.failed,
                    "unreachable": host.unreachable,
                }
                for name, host in self.hosts.items()
            },
            "changes": [change.as_json() for change in self.changes],
            "failures": [vars(failure) for failure in self.failures.values()],
            "messages": self.messages,
            "complaints": self.complaints,
            "under_way": [{"host": name, "role": host.role, "task": host.task} for name, host in self.under_way()],
        }


def spoken(said: object) -> list[str]:
    """What a playbook says, as lines for a person: a mapping as its names and values."""
    if isinstance(said, list):
        return [line for one in said for line in spoken(one)]
    if isinstance(said, dict):
        width = max((len(str(name)) for name in said), default=0)
        lines = []
        for name, value in said.items():
            nested = isinstance(value, (dict, list))
            lines.append(f"{str(name).replace('_', ' '):<{width}}  {'' if nested else told(value)}".rstrip())
            lines += [f"    {line}" for line in spoken(value)] if nested else []
        return lines
    return [told(said)]


def told(value: object) -> str:
    """A single value."""
    return (
        {None: "-", True: "yes", False: "no"}.get(value, str(value))
        if isinstance(value, (bool, type(None)))
        else str(value)
    )


def subject(result: dict[str, Any]) -> str:
    """What a result is about: the label of a loop's item, else the files or the unit."""
    if "censored" in result:
        return HIDDEN
    label = result.get("_ansible_item_label", result.get("item"))
    if isinstance(label, str) and label:
        return label
    files = result.get("files")
    if isinstance(files, list) and files:
        return ", ".join(map(str, files))
    for key in ("dest", "path", "name", "db", "user"):
        if isinstance(result.get(key), str) and result[key]:
            return str(result[key])
    # In check mode, what copies a file says its path in the difference alone.
    differences = result.get("diff")
    for one in differences if isinstance(differences, list) else []:
        if isinstance(one, dict) and str(one.get("before_header", "")).startswith("/"):
            return str(one["before_header"])
    return ""


def differing(difference: dict[str, Any]) -> list[str]:
    """The lines of a difference that go (-) or come (+)."""
    if "prepared" in difference:
        text = str(difference["prepared"])
        # apt has no difference but its own words.
        new = re.search(r"NEW packages will be installed:\n((?: .*\n?)+)", text)
        packages = [f"+{package}" for package in new[1].split()] if new else []
        return packages or [line for line in text.splitlines() if re.match(r"[-+](?![-+])", line)]
    before, after = (as_lines(difference.get(key)) for key in ("before", "after"))
    gone, come = set(before) - set(after), set(after) - set(before)
    return [f"-{line}" for line in before if line in gone] + [f"+{line}" for line in after if line in come]


def as_lines(value: object) -> list[str]:
    """A side of a difference, which is text or a mapping, as lines."""
    if isinstance(value, dict):
        return [f"{key} = {value[key]}" for key in sorted(value)]
    return str(value).splitlines() if value not in (None, "") else []


def reason_of(result: dict[str, Any]) -> str:
    """Why a task failed, as one text of a few lines."""
    # What a command said on its own tells more than that it failed.
    empty = "non-zero return code"
    texts: Iterable[object] = [result.get(key) for key in REASONS if str(result.get(key, "")).strip() != empty]
    for text in texts:
        lines = [str(line) for line in text] if isinstance(text, list) else str(text or "").strip().splitlines()
        if lines:
            kept = lines if len(lines) <= LINES_OF_A_REASON else ["…", *lines[-LINES_OF_A_REASON:]]
            return "\n".join(kept)
    return str(result.get("censored") or result.get("msg") or "The task says no reason. Run it with -vvv to see more.")
