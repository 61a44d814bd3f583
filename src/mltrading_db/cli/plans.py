"""Plans: what a check said that a run would do, in the order in which it would, saved and compared.

A step is a Change as plain values with a `kind`. Pure but for read and write.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mltrading_db.cli.environment import RefusedError, read_json
from mltrading_db.cli.events import Change

Step = dict[str, Any]
# What a run says of time and size is different each time, and no change of the plan.
VOLATILE = {"estimated_bytes", "estimated_seconds", "seconds", "state"}
KINDS = {
    "postgresql_optimization": "objects of the database",
    "postgresql_partition": "objects of the database",
    "postgresql_query": "objects of the database",
    "postgresql_script": "objects of the database",
    "postgresql_db": "databases",
    "postgresql_ext": "databases",
    "postgresql_privs": "users and privileges",
    "postgresql_user": "users and privileges",
    "postgresql_membership": "users and privileges",
    "apt": "packages",
    "user": "system users",
    "group": "system users",
    "systemd_service": "services",
    "service": "services",
}
FILES = {"host_files", "copy", "template", "file", "assemble", "lineinfile", "unarchive"}
# What a standby must have no less of than its primary (roles/postgresql/files/pending_settings.sql).
GUARDED = re.compile(
    r"(?P<side>[-+])\s*(?P<name>max_(connections|worker_processes|wal_senders|prepared_transactions|locks_per_transaction))"
    r"\s*=\s*'?(?P<value>\d+)"
)
SETTING = re.compile(r"[-+]\s*([a-z_.]+)\s*=")


@dataclass(frozen=True)
class Plan:
    """A plan as it is saved."""

    environment: str
    limit: str
    tags: str
    made: str
    commit: str
    digest: str
    steps: list[Step]


def kind(change: Change) -> str:
    """What sort of thing a change is."""
    paths = f"{change.what} {change.task}"
    if "/etc/cron.d" in paths or (change.action in FILES and re.search(r"/etc/mltrading-db/|[Jj]ob", paths)):
        return "jobs"
    if re.search(r"/pg_hba\.|Rules \|", paths):
        return "login rules"
    if re.search(r"conf\.d/|[Ff]ragment", paths):
        return "settings"
    return KINDS.get(change.action, "files" if change.action in FILES else "other steps")


def settings_of(change: Change) -> list[str]:
    """The names of the server's settings that a change of a settings file is about."""
    found = (SETTING.match(line) for line in change.why)
    return sorted({match[1] for match in found if match})


def steps(found: Iterable[Change]) -> list[Step]:
    """The changes of a run that was a check, as steps."""
    made = []
    for change in found:
        step = {"kind": kind(change), **change.as_json()}
        if step["kind"] == "settings":
            step["settings"] = settings_of(change)
        made.append(step)
    return made


def shrinks(steps_made: list[Step], host: str) -> bool:
    """Whether a host's settings files lower what a standby must have no less of than its primary."""
    sides: dict[str, dict[str, int]] = {"-": {}, "+": {}}
    for step in steps_made:
        for line in step.get("why", []) if step["host"] == host and step["kind"] == "settings" else []:
            said = GUARDED.match(line)
            if said:
                sides[said["side"]][said["name"]] = int(said["value"])
    return any(value < sides["-"].get(name, value) for name, value in sides["+"].items())


def taken_up(
    steps_made: list[Step],
    contexts: dict[str, dict[str, str]],
    primary: str,
    waiting: Collection[str] = (),
    allowed_by: str = "",
) -> list[str]:
    """What the servers do to take their settings up, in the order in which it is done; pg_settings.context says what.

    A restart goes over the standbys first and the primary last; a standby that gets less of what it must have no less
    of than its primary goes after it (roles/postgresql/tasks/restart.yml). `waiting` are those that are not restarted
    unless `allowed_by` is run.
    """
    by_host: dict[str, set[str]] = {}
    for step in steps_made:
        by_host.setdefault(step["host"], set()).update(step.get("settings", []))
    turns = {host: 1 if host == primary else 2 * shrinks(steps_made, host) for host, names in by_host.items() if names}
    lines = []
    for host in sorted(turns, key=lambda host: (turns[host], host)):
        known = contexts.get(host) or {}
        restart = sorted(name for name in by_host[host] if known.get(name) == "postmaster")
        if not known:
            lines.append(f"{host}: starts, with the settings as they are then")
        elif restart and host in waiting:
            lines.append(f"{host}: reload; {', '.join(restart)} waits for {allowed_by}")
        elif restart:
            lines.append(f"{host}: restart, for {', '.join(restart)}")
        else:
            lines.append(f"{host}: reload, for {', '.join(sorted(by_host[host]))}")
    return lines


def lasting(value: Any) -> Any:
    """A value without what is different each time."""
    if isinstance(value, dict):
        return {key: lasting(one) for key, one in value.items() if key not in VOLATILE}
    return [lasting(one) for one in value] if isinstance(value, list) else value


def canonical(step: Step) -> str:
    """A step as one text, the same for the same step."""
    return json.dumps(lasting(step), sort_keys=True, ensure_ascii=False)


def digest(found: Iterable[Step]) -> str:
    """What two plans are told apart by; hosts work side by side, so their order among each other counts for nothing."""
    return hashlib.sha256("\n".join(sorted(map(canonical, found))).encode()).hexdigest()


def moved(planned: list[Step], now: list[Step]) -> list[str]:
    """What a run would do now and was not planned (+), and the other way round (-)."""
    before, after = Counter(map(canonical, planned)), Counter(map(canonical, now))
    lines = [f"  - {title(json.loads(text))}" for text in (before - after).elements()]
    return lines + [f"  + {title(json.loads(text))}" for text in (after - before).elements()]


def title(step: Step) -> str:
    """A step in a line."""
    about = f" ({step['what']})" if step.get("what") else ""
    return f"{step['host']}: {step['role'] + ': ' if step.get('role') else ''}{step['task']}{about}"


def write(path: Path, plan: Plan) -> None:
    """Save a plan, for nobody else to read."""
    path.touch(mode=0o600)
    path.write_text(json.dumps(asdict(plan), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> Plan:
    """A saved plan.

    Raises:
        RefusedError: it is none, or was changed by hand.
    """
    try:
        plan = Plan(**read_json(path))  # type: ignore[arg-type]  # compared below
    except TypeError:
        raise RefusedError([f"{path} is no plan of mldb."]) from None
    if digest(plan.steps) != plan.digest:
        raise RefusedError([f"{path} was changed since it was made: plan again."])
    return plan
