"""The checks that look at this host's files, and need no server. Each returns rows of item, value and detail."""

from __future__ import annotations

import glob
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from health_backups import CONFIGURATION, backups, damaged_backups, drills, newest_kept
from health_certificates import certificates
from health_checks import ROOT, STATE, Check, Rows, row, shown
from health_pooler import pooler
from health_schedules import host_zone, next_due
from health_server import NO_ANSWER, Server

CRON = ROOT / "etc/cron.d"
PREFIX = "mltrading-db-"
# A week, and time for the job to be late.
OLDEST_BLOAT = 9 * 86400


def stamp(text: str | None) -> float | None:
    """A time of a status file, in seconds."""
    return datetime.fromisoformat(text).timestamp() if text else None


def statuses() -> list[dict[str, Any]]:
    """How each job of this host did. The file of one that was removed stays, and is not looked at."""
    return [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((STATE / "status").glob("*.json"))
        if (CRON / f"{PREFIX}{path.stem}").exists()
    ]


def killed(status: dict[str, Any]) -> bool:
    """Whether a job that is said to run is gone: its process, or one that has its number now (proc(5), starttime)."""
    if status["state"] != "running":
        return False
    try:
        started = Path(f"/proc/{status['pid']}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:
        return True
    return started != str(status["pid_started"])


def job_failures(_check: Check, _server: Server, _settings: dict[str, Any]) -> Rows:
    """How often each job has failed in a row."""
    return [
        row(
            status["job"],
            status["consecutive_failures"] + killed(status),
            "killed" if killed(status) else f"{status['state']}: {status['message']}",
        )
        for status in statuses()
    ]


def missing(name: str) -> dict[str, Any]:
    """The row of a job that the inventory expects, and cron does not know."""
    return row(name, None, f"{CRON}/{PREFIX}{name} is missing, so nobody starts it") | {"state": "critical"}


def job_age(check: Check, _server: Server, settings: dict[str, Any]) -> Rows:
    """How long ago one of the check's jobs last did its work.

    Never is no age: it has no data as long as the schedule is younger than the levels, and is bad from then on. An
    expected job that has no schedule is a row of its own. Of backups, what counts is still in the repository.
    """
    successes, schedules, gone = [], [], []
    for name in check.jobs:
        schedule, path = CRON / f"{PREFIX}{name}", STATE / "status" / f"{name}.json"
        if not schedule.exists():
            gone += [missing(name)] if name in settings["jobs"] else []
            continue
        status = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if status.get("state") == "not_my_role":
            continue
        success = stamp(status.get("last_success"))
        if success:
            successes.append((success, name))
        else:
            schedules.append(schedule.stat().st_mtime)
    if not successes and not schedules:
        return gone
    item = ", ".join(check.jobs)
    if check.kept and successes and CONFIGURATION.exists():
        kept = newest_kept()
        if kept is None:
            return [row(item, None, "the repository has none any more") | {"state": "critical"}, *gone]
        successes = [min(kept, max(successes))]
    if not successes:
        return [never(check, item, max(0, time.time() - min(schedules))), *gone]
    since, detail = max(successes)
    return [row(item, max(0, round(time.time() - since)), detail), *gone]


def never(check: Check, item: str, age: float) -> dict[str, Any]:
    """The row of jobs that have not succeeded since their schedule was written, so many seconds ago."""
    state = check.state_of(age)
    said = f"never, scheduled {shown(round(age), 'seconds')} ago"
    return row(item, None, said) | {"state": "no_data" if state == "ok" else state, "shown": "never"}


def scheduled() -> list[str]:
    """The jobs that cron starts on this host."""
    return sorted(path.name.removeprefix(PREFIX) for path in CRON.glob(f"{PREFIX}*"))


def job_overdue(_check: Check, _server: Server, settings: dict[str, Any]) -> Rows:
    """For how long each job should have started and has not; one that runs is not late, one without a schedule is."""
    found = [missing(name) for name in settings["jobs"] if not (CRON / f"{PREFIX}{name}").exists()]
    zone = host_zone()
    for path in sorted(CRON.glob(f"{PREFIX}*")):
        name = path.name.removeprefix(PREFIX)
        line = next(line for line in path.read_text(encoding="utf-8").splitlines() if " root " in line)
        status_path = STATE / "status" / f"{name}.json"
        status = (
            json.loads(status_path.read_text(encoding="utf-8"))
            if status_path.exists()
            else {"state": "", "started": ""}
        )
        # A schedule that was written after it was due has missed nothing.
        since = max(stamp(status["started"]) or 0.0, path.stat().st_mtime)
        due = next_due(line.partition(" root ")[0], datetime.fromtimestamp(since, UTC), zone)
        runs = status["state"] == "running" and not killed(status)
        late = 0 if due is None or runs else max(0, round(time.time() - due.timestamp()))
        found.append(row(name, late, f"last started {status['started']}" if status["started"] else "has not run yet"))
    return found


def disk(_check: Check, server: Server, settings: dict[str, Any]) -> Rows:
    """How full the file systems of the data, the WAL, the logs and the backups are, as df computes it.

    A full disk stops the server, which then says nothing of its paths: the declared ones are looked at without it.
    """
    paths = [*settings["disks"], str(STATE)]
    if settings["server"]:
        clusters = [path for name in ("", "/*/*", "/*/*/pg_wal") for path in sorted(glob.glob(settings["data"] + name))]
        query = (
            "SELECT current_setting('data_directory') AS data, current_setting('data_directory') || '/pg_wal' AS wal"
        )
        try:
            paths += server.ask(query)[0].values()
        except NO_ANSWER:
            if not clusters:
                raise
        paths += clusters
    found: dict[int, dict[str, Any]] = {}
    for path in paths:
        if not Path(path).exists():
            continue
        device, of = os.stat(path).st_dev, os.statvfs(path)
        used = of.f_blocks - of.f_bfree
        percent = round(100 * used / max(used + of.f_bavail, 1), 1)
        free = f"{of.f_bavail * of.f_frsize / 1024**3:,.1f} GB free"
        found.setdefault(device, row(str(path), percent, free))
    return list(found.values())


def bloat(_check: Check, _server: Server, _settings: dict[str, Any]) -> Rows:
    """What the weekly maintenance has measured page by page, once it had rebuilt what it rebuilds; the worst 20."""
    status = STATE / "status" / "maintenance_weekly.json"
    measured = STATE / "reports" / "bloat.measured"
    # A standby has its primary's pages, which are measured there; what it measured itself once is history.
    if not status.exists() or json.loads(status.read_text(encoding="utf-8"))["state"] == "not_my_role":
        return []
    if not measured.exists():
        return [row("measured", None, "not measured yet")]
    kept = json.loads(measured.read_text(encoding="utf-8"))
    if time.time() - kept["time"] > OLDEST_BLOAT:
        raise RuntimeError(f"{measured} is older than nine days: see the job maintenance_weekly")
    when = time.strftime("%Y-%m-%d", time.gmtime(kept["time"]))
    found = [
        row(f"{kept['database']} {one['name']}", one["percent"],
            f"{one['kind']}, {one['bytes'] / 1024**2:,.0f} MB, as of {when}")
        for one in kept["measured"]
    ]  # fmt: skip
    return sorted(found, key=lambda one: -one["value"])[:20] or [row("measured", 0, f"nothing of size, as of {when}")]


# By the names that checks.yml has.
PROBES = {
    "backups": backups, "bloat": bloat, "certificates": certificates, "damaged_backups": damaged_backups, "disk": disk,
    "drills": drills, "job_age": job_age, "job_failures": job_failures, "job_overdue": job_overdue, "pooler": pooler,
}  # fmt: skip
