"""The checks that look at this host's files, and need no server. Each returns rows of item, value and detail."""

from __future__ import annotations

import glob
import json
import os
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from health_backups import CONFIGURATION, backups, drills, newest_kept
from health_certificates import certificates
from health_checks import ROOT, STATE, Check, Rows, row
from health_server import NO_ANSWER, Server

CRON = ROOT / "etc/cron.d"
PREFIX = "mltrading-db-"
# How far ahead a job's next time is looked for: beyond a month, for monthly ones.
DAYS_AHEAD = 40
# A week, and time for the job to be late.
OLDEST_BLOAT = 9 * 86400
FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
MONTHS = dict(
    zip(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), range(1, 13), strict=True)
)
WEEKDAYS = dict(zip(("sun", "mon", "tue", "wed", "thu", "fri", "sat"), range(7), strict=True))


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
    """How long ago one of the check's jobs last did its work; never is as long ago as the first schedule was written.

    An expected job that has no schedule is a row of its own. Of backups, what counts is still in the repository.
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
            schedules.append((schedule.stat().st_mtime, f"{name} has not succeeded yet"))
    if not successes and not schedules:
        return gone
    item = ", ".join(check.jobs)
    if check.kept and successes and CONFIGURATION.exists():
        kept = newest_kept()
        if kept is None:
            return [row(item, None, "the repository has none any more") | {"state": "critical"}, *gone]
        successes = [min(kept, max(successes))]
    since, detail = max(successes) if successes else min(schedules)
    return [row(item, max(0, round(time.time() - since)), detail), *gone]


def numbers(text: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    """The values that one field of a schedule stands for (crontab(5))."""
    found: set[int] = set()
    for part in text.lower().split(","):
        values, _, step = part.partition("/")
        first, _, last = values.partition("-")
        if values == "*":
            begin, end = low, high
        else:
            begin = names.get(first, 0) if first in names else int(first)
            end = names[last] if last in names else int(last) if last else (high if step else begin)
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def next_due(schedule: str, after: datetime) -> datetime | None:
    """When a schedule is due next, in the host's time. Of day and weekday, either is enough where both are set."""
    fields = schedule.split()
    names: list[dict[str, int]] = [{}, {}, {}, MONTHS, WEEKDAYS]
    minutes, hours, days, months, weekdays = (
        numbers(field, *limits, known) for field, limits, known in zip(fields, FIELDS, names, strict=True)
    )
    weekdays = {day % 7 for day in weekdays}
    either = not fields[2].startswith("*") and not fields[4].startswith("*")
    for ahead in range(DAYS_AHEAD):
        day = after + timedelta(days=ahead)
        of_month, of_week = day.day in days, day.isoweekday() % 7 in weekdays
        if day.month not in months or not (of_month or of_week if either else of_month and of_week):
            continue
        times = (day.replace(hour=hour, minute=minute, second=0, microsecond=0) for hour in hours for minute in minutes)
        later = [moment for moment in times if moment > after]
        if later:
            return min(later)
    return None


def job_overdue(_check: Check, _server: Server, settings: dict[str, Any]) -> Rows:
    """For how long each job should have started and has not; one that runs is not late, one without a schedule is."""
    found = [missing(name) for name in settings["jobs"] if not (CRON / f"{PREFIX}{name}").exists()]
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
        due = next_due(line.partition(" root ")[0], datetime.fromtimestamp(since).astimezone())
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
    "backups": backups, "bloat": bloat, "certificates": certificates, "disk": disk, "drills": drills,
    "job_age": job_age, "job_failures": job_failures, "job_overdue": job_overdue,
}  # fmt: skip
