"""Decides from the repository alone whether a target can be recovered to, from which backup, and where it must end.

Nothing is changed. What cannot be reached is refused with its reason: PostgreSQL itself would notice only after hours
of copying, and for `latest` not at all.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from archived_log import Log, NotArchivedError, Record, RefusedError
from repository import Archive, Backup, Repository, RepositoryError, Segment
from tablespaces import created, of_backup
from wal import ENDLESS, Run, Stretch, format_lsn, is_on, parse_lsn, parse_segment_name, run_from, segment_of

KINDS = ("time", "lsn", "name", "xid", "latest")
LSN = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")
# PostgreSQL reads one that begins with 0 as octal.
NUMBER = re.compile(r"[1-9][0-9]*")
# Seconds by which the clocks of the repository's host and of the primary may differ.
CLOCKS_DIFFER = 300
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)? ?(Z|UTC|[+-]\d\d(:?\d\d)?)")


@dataclass(frozen=True)
class Target:
    """What to recover to: one of KINDS, and its value ("" for latest).

    `expected` is what somebody knows to have been there, of `latest`: a position or a time, "" where nobody does.
    `timeline` is the one to go along, None for the newest.
    """

    kind: str
    value: str
    expected: str = ""
    timeline: int | None = None

    @property
    def shown(self) -> str:
        """As a sentence names it."""
        return f"{self.kind} {self.value}".strip()


@dataclass(frozen=True)
class Plan:
    """What to restore and where recovery must end. `end` is the position it must reach, `bytes` what it copies.

    It needs the files of `backups`, which are the backup and those that it refers to, and the log between two segments.
    `tablespaces` has the backup's locations by name.
    """

    target: Target
    backup: str
    backups: tuple[str, ...]
    first_segment: str
    last_segment: str
    timeline: int
    system: str
    version: str
    end: str
    bytes: int
    tablespaces: dict[str, str] = field(default_factory=dict)

    @property
    def expected_end(self) -> str:
        """Where recovery must end at the least, and how one knows."""
        if self.target.expected:
            return f"{self.target.expected}, as given"
        if self.target.kind == "latest":
            return f"{self.end}, the last record that is archived; nobody gave one"
        return self.end

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self) | {"expected_end": self.expected_end}


def parse_time(text: str) -> datetime:
    """A time that says its offset; raises RefusedError."""
    if not TIME.fullmatch(text):
        raise RefusedError(
            f"the target time {text!r} needs a date, a time and an offset from UTC, as 2026-01-31T14:05:00+00:"
            " without one it would mean another moment on another host"
        )
    bare = re.sub(r" ?(Z|UTC)\Z", "+00:00", text)
    bare = re.sub(r" ?([+-]\d\d)\Z", r"\1:00", bare)
    try:
        return datetime.fromisoformat(bare)
    except ValueError as error:
        raise RefusedError(f"the target time {text!r} is no moment: {error}") from error


def shown_time(seconds: float) -> str:
    """A time as a person reads it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="milliseconds")


@dataclass(frozen=True)
class Situation:
    """What the repository holds for one timeline: its backups, oldest first, and the files of its log."""

    archive: Archive
    lineage: tuple[Stretch, ...]
    backups: tuple[Backup, ...]
    files: dict[str, Segment]

    def run(self, backup: Backup) -> Run:
        """The log from the backup on, as far as it has no gap."""
        return run_from(self.lineage, parse_segment_name(backup.first_segment)[1], self.files)


# A backup, the position where recovery must end, and the last segment that is read until then.
Decided = tuple[Backup, int, str]


def look(repository: Repository, timeline: int | None) -> Situation:
    """The situation on a timeline, the newest unless one is given; raises RefusedError."""
    archive = repository.archive()
    newest_timeline = repository.newest_timeline(archive.name)
    if timeline and timeline > newest_timeline:
        raise RefusedError(f"there is no timeline {timeline} in the archive, the newest is {newest_timeline}")
    lineage = repository.lineage(archive.name, timeline or newest_timeline)
    backups = tuple(backup for backup in archive.backups if is_on(lineage, backup.timeline, backup.stop_lsn))
    if not backups:
        raise RefusedError(f"there is no backup of timeline {lineage[-1].timeline} or of one that led to it")
    return Situation(archive, lineage, backups, repository.files(archive.name))


def newest(backups: list[Backup], target: Target, first: str) -> Backup:
    """The newest of the backups that end before the target; raises RefusedError."""
    if not backups:
        raise RefusedError(f"{target.shown} is before the end of the oldest backup, {first}")
    return backups[-1]


def gap(run: Run) -> str:
    """Why the log ends where it does."""
    return f", as WAL segment {run.missing} is missing" if run.missing else ""


def holder(run: Run, lsn: int) -> str:
    """The segment of the log that holds a position."""
    return next(name for name in run.names if parse_segment_name(name)[1] == segment_of(lsn))


def last_commit(log: Log, run: Run, backup: Backup) -> float:
    """When the last transaction of the log ended; the backup's end where none did since."""
    return next((record.ended for record in log.backwards(run.names) if record.ended == record.ended), backup.stop)


def refuse_less(log: Log, run: Run, backup: Backup, end: int, expected: str) -> None:
    """Refuse an archive that ends before what is known to have been there; raises RefusedError."""
    if LSN.fullmatch(expected):
        found, missed = format_lsn(end), end < parse_lsn(expected)
    else:
        last = last_commit(log, run, backup)
        found, missed = f"the commit of {shown_time(last)}", last < parse_time(expected).timestamp()
    if missed:
        raise NotArchivedError(
            f"the archive ends with {found}, before the expected end {expected}: what came after it never arrived."
            " Bring the WAL of the lost primary to the archive, or restore without it by an earlier expected end"
        )


def plan_latest(now: Situation, log: Log, target: Target) -> Decided:
    """All that is archived. Refused where a segment is missing: PostgreSQL would end there without a word."""
    backup = now.backups[-1]
    run = now.run(backup)
    if run.missing or not run.names:
        raise RefusedError(
            f"{target.shown}: WAL segment {run.missing or backup.first_segment} is missing, so what came after it is"
            " lost. Give a target before it, or bring the segment back"
        )
    end = next((record.lsn for record in log.backwards(run.names)), backup.stop_lsn)
    if target.expected:
        refuse_less(log, run, backup, end, target.expected)
    return backup, end, run.names[-1]


def plan_time(now: Situation, log: Log, target: Target) -> Decided:
    """Recovery stops before the first commit after the time: there must be one, or PostgreSQL would not know where.

    It is looked for from the segments on that arrived about then, so that damage further on is in nobody's way.
    """
    seconds = parse_time(target.value).timestamp()
    before = [backup for backup in now.backups if backup.stop <= seconds]
    backup = newest(before, target, shown_time(now.backups[0].stop))
    run = now.run(backup)
    later = [name for name in run.names if now.files[name].time >= seconds - CLOCKS_DIFFER]
    for record in log.forwards(tuple(later)):
        if record.ended > seconds:
            return backup, backup.stop_lsn, holder(run, record.lsn)
    last = last_commit(log, run, backup)
    if last <= seconds:
        raise NotArchivedError(
            f"{target.shown} is not before the last commit that can be recovered to, {shown_time(last)}{gap(run)}"
        )
    return backup, backup.stop_lsn, run.names[-1]


def plan_lsn(now: Situation, log: Log, target: Target) -> Decided:
    """The position must be one that the archive holds a record at or after."""
    if not LSN.fullmatch(target.value):
        raise RefusedError(f"the target LSN {target.value!r} is not a position as 0/3000028")
    lsn = parse_lsn(target.value)
    before = [backup for backup in now.backups if backup.stop_lsn <= lsn]
    backup = newest(before, target, format_lsn(now.backups[0].stop_lsn))
    run = now.run(backup)
    later = tuple(name for name in run.names if parse_segment_name(name)[1] >= segment_of(lsn))
    for record in log.forwards(later):
        if record.lsn >= lsn:
            return backup, lsn, holder(run, record.lsn)
    last = next((record.lsn for record in log.backwards(run.names)), backup.stop_lsn)
    raise NotArchivedError(
        f"{target.shown} is after the last record that can be recovered to, {format_lsn(last)}{gap(run)}"
    )


def plan_record(now: Situation, log: Log, target: Target) -> Decided:
    """A named point or a transaction: the log is read for it, behind the newest backup and on to behind the oldest.

    Where a segment cannot be read, what is behind it is out of reach from that backup, perhaps not from an older one.
    A point that was made again behind the same backup is refused: recovery would stop at the first without a word.
    """
    if target.kind == "xid" and not NUMBER.fullmatch(target.value):
        raise RefusedError(f"the target transaction {target.value!r} is not a number")
    until, damage = ENDLESS, ""
    for backup in reversed(now.backups):
        run = now.run(backup)
        names = tuple(name for name in run.names if parse_segment_name(name)[1] <= segment_of(until))
        found = []
        try:
            for record in log.forwards(names):
                if backup.stop_lsn <= record.lsn < until and is_target(record, target):
                    found.append(record.lsn)
                    if target.kind == "xid":
                        break
        except (RefusedError, RepositoryError) as error:
            damage = f"; {error}"
        if len(found) > 1:
            raise RefusedError(
                f"{target.shown} was made more than once, at {' and at '.join(map(format_lsn, found))}:"
                " recovery would stop at the first. Give the position that is meant as restore_target_lsn"
            )
        if found:
            return backup, found[0], holder(run, found[0])
        until = backup.stop_lsn
    raise NotArchivedError(
        f"{target.shown} is not in the archive behind any backup;"
        f" the oldest ends at {format_lsn(now.backups[0].stop_lsn)}{gap(now.run(now.backups[0]))}{damage}"
    )


def is_target(record: Record, target: Target) -> bool:
    """Whether recovery to the target stops at this record."""
    if target.kind == "xid":
        return record.ended == record.ended and record.xid == int(target.value)
    return (
        record.text.startswith("RESTORE_POINT ") and record.text.removeprefix("RESTORE_POINT ").strip() == target.value
    )


def check_words(target: Target) -> None:
    """Refuse what is no target, before anything is read; raises RefusedError."""
    if target.kind == "time":
        parse_time(target.value)
    if target.expected and target.kind != "latest":
        raise RefusedError(f"an expected end ({target.expected!r}) belongs to latest: {target.shown} is an end itself")
    if target.expected and not LSN.fullmatch(target.expected):
        parse_time(target.expected)


PLANS = {"latest": plan_latest, "time": plan_time, "lsn": plan_lsn, "name": plan_record, "xid": plan_record}


def refuse_live(log: Log, run: Run, last: str, live: Collection[str]) -> None:
    """Refuse a log that makes a tablespace where a server of this host has one; raises RefusedError."""
    position = parse_segment_name(last)[1]
    names = tuple(name for name in run.names if parse_segment_name(name)[1] <= position)
    if live and (location := created((record.text for record in log.forwards(names)), live)):
        raise RefusedError(
            f"the tablespace at {location} was made after the backup that would be restored: recovery would write where"
            " this host's own server keeps it. Restore to a moment behind a backup that is taken now, where the"
            " repository is: sudo /usr/local/lib/mltrading-db/dbjob backup_diff"
        )


def make_plan(repository: Repository, target: Target, scratch: Path, waldump: Path, live: Collection[str] = ()) -> Plan:
    """The plan for a target; raises RefusedError, or RepositoryError where pgBackRest does not answer.

    `live` are the locations of tablespaces that recovery must not write to.
    """
    check_words(target)
    now = look(repository, target.timeline)
    log = Log(repository, now.files, scratch, waldump)
    backup, end, last = PLANS[target.kind](now, log, target)
    tablespaces = of_backup(repository.details(backup.label))
    refuse_live(log, now.run(backup), last, set(live) - set(tablespaces.values()))
    return Plan(
        target=target,
        backup=backup.label,
        backups=(backup.label, *backup.refers_to),
        first_segment=backup.first_segment,
        last_segment=last,
        timeline=now.lineage[-1].timeline,
        system=now.archive.system,
        version=now.archive.version,
        end=format_lsn(end),
        bytes=backup.size,
        tablespaces=tablespaces,
    )
