"""From which backup a target is recovered, and which targets are refused: decided from what the repository holds."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from archived_log import RECORD, Record, as_record
from plan_restore import (
    RefusedError,
    Situation,
    Target,
    check_words,
    look,
    parse_time,
    plan_latest,
    plan_lsn,
    plan_record,
    plan_time,
)
from repository import Archive, Backup, Repository, RepositoryError, Segment
from wal import SEGMENT_BYTES, format_lsn, parse_history, segment_name

BEGAN = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def backup(label: str, segment: int, stop: int) -> Backup:
    return Backup(label, 1, segment_name(1, segment), segment * SEGMENT_BYTES + 256, int(BEGAN) + stop, 1000)


OLD, NEW = backup("old", 3, 0), backup("new", 6, 3600)


class WrittenLog:
    """A log whose segments hold what pg_waldump would say of them: a commit each 600 s, a point in segments 4 and 7."""

    def forwards(self, names: tuple[str, ...]) -> Iterator:  # type: ignore[type-arg]
        """The oldest first."""
        for name in names:
            number = int(name[16:], 16)
            lsn = format_lsn(number * SEGMENT_BYTES + 4096)
            when = datetime.fromtimestamp(BEGAN + (number - 3) * 1200, UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC")
            tail = f"lsn: {lsn}, prev 0/0, desc:"
            lines = [f"rmgr: Transaction len (rec/tot):     34/    34, tx:        {700 + number}, {tail} COMMIT {when}"]
            if number in (4, 7):
                lines.append(f"rmgr: XLOG        len (rec/tot): 98/98, tx: 0, {tail} RESTORE_POINT point {number}")
            yield from (as_record(RECORD.match(line)) for line in lines)  # type: ignore[arg-type]

    def backwards(self, names: tuple[str, ...]) -> Iterator:  # type: ignore[type-arg]
        """The newest first."""
        return reversed(list(self.forwards(names)))


def situation(*segments: int) -> Situation:
    # Each arrives ten minutes after its commit.
    files = {segment_name(1, number): Segment("", int(BEGAN) + (number - 3) * 1200 + 600) for number in segments}
    return Situation(Archive("15-1", "7", "15", (OLD, NEW)), parse_history(1, ""), (OLD, NEW), files)


WHOLE, GAP = situation(3, 4, 5, 6, 7, 8), situation(3, 4, 5, 6, 8)


def at(seconds: int) -> str:
    return datetime.fromtimestamp(BEGAN + seconds, UTC).isoformat()


PLANNED = [
    pytest.param(plan_latest, "latest", "", "new", id="latest"),
    pytest.param(plan_time, "time", at(4000), "new", id="a-time-behind-the-newest-backup"),
    pytest.param(plan_time, "time", at(3599), "old", id="a-time-before-the-newest-backup-ended"),
    pytest.param(plan_lsn, "lsn", format_lsn(7 * SEGMENT_BYTES), "new", id="a-position-behind-the-newest-backup"),
    pytest.param(plan_lsn, "lsn", format_lsn(6 * SEGMENT_BYTES + 1), "old", id="a-position-within-the-newest-backup"),
    pytest.param(plan_record, "name", "point 7", "new", id="a-name-behind-the-newest-backup"),
    pytest.param(plan_record, "name", "point 4", "old", id="a-name-before-it"),
    pytest.param(plan_record, "xid", "708", "new", id="a-transaction-behind-it"),
    pytest.param(plan_record, "xid", "705", "old", id="a-transaction-before-it"),
]


@pytest.mark.parametrize(("plan", "kind", "value", "label"), PLANNED)
def test_a_target_is_recovered_from_the_newest_backup_before_it(plan, kind, value, label) -> None:  # type: ignore[no-untyped-def]
    assert plan(WHOLE, WrittenLog(), Target(kind, value))[0].label == label


# Its copy took from segment 4 to within segment 8.
LONG = Backup("long", 1, segment_name(1, 4), 8 * SEGMENT_BYTES + 256, int(BEGAN) + 6600, 1000)


@pytest.mark.parametrize(("kind", "value", "last"), [("name", "point 7", 7), ("xid", "706", 6)])
def test_what_was_written_during_a_long_backup_is_recovered_from_the_one_before(
    kind: str, value: str, last: int
) -> None:
    now = Situation(Archive("15-1", "7", "15", (OLD, LONG)), parse_history(1, ""), (OLD, LONG), WHOLE.files)
    backup, _, segment = plan_record(now, WrittenLog(), Target(kind, value))
    assert (backup.label, segment) == ("old", segment_name(1, last))


class RepeatedLog(WrittenLog):
    """One whose points have one name."""

    def forwards(self, names: tuple[str, ...]) -> Iterator[Record]:
        """The same records."""
        for record in super().forwards(names):
            yield replace(record, text=re.sub(r"point \d", "point", record.text))


def test_of_points_of_one_name_that_of_the_newest_backup_is_meant() -> None:
    backup, lsn, _ = plan_record(WHOLE, RepeatedLog(), Target("name", "point"))
    assert (backup.label, lsn) == ("new", 7 * SEGMENT_BYTES + 4096)


def test_a_point_that_was_made_again_behind_the_same_backup_is_refused_with_both_positions() -> None:
    now = Situation(Archive("15-1", "7", "15", (OLD,)), parse_history(1, ""), (OLD,), WHOLE.files)
    with pytest.raises(RefusedError, match="more than once, at 0/4001000 and at 0/7001000"):
        plan_record(now, RepeatedLog(), Target("name", "point"))
    # One that is behind damage is nobody's.
    assert plan_record(now, DamagedRepeatedLog(6), Target("name", "point"))[1] == 4 * SEGMENT_BYTES + 4096


class DamagedLog(WrittenLog):
    """One whose segments cannot be read from a number on, or one of which cannot."""

    def __init__(self, *damaged: int) -> None:
        """Those of these numbers."""
        self.damaged = damaged

    def forwards(self, names: tuple[str, ...]) -> Iterator:  # type: ignore[type-arg]
        """As far as it can be read."""
        for name in names:
            if int(name[16:], 16) in self.damaged:
                raise RepositoryError(f"WAL segment {name} cannot be read: lz4 error")
            yield from super().forwards((name,))


class DamagedRepeatedLog(DamagedLog, RepeatedLog):
    """Both."""


BEHIND_NOTHING = [
    pytest.param(plan_time, "time", at(3599), 6, id="a-time"),
    pytest.param(plan_lsn, "lsn", format_lsn(5 * SEGMENT_BYTES), 5, id="a-position"),
    pytest.param(plan_record, "name", "point 4", 4, id="a-name"),
    pytest.param(plan_record, "xid", "704", 4, id="a-transaction"),
]


@pytest.mark.parametrize(("plan", "kind", "value", "last"), BEHIND_NOTHING)
def test_damage_behind_a_target_is_in_nobody_s_way(plan, kind, value, last) -> None:  # type: ignore[no-untyped-def]
    backup, _, segment = plan(WHOLE, DamagedLog(8), Target(kind, value))
    assert (backup.label, segment) == ("old", segment_name(1, last))


@pytest.mark.parametrize(
    ("plan", "kind", "value"), [(plan_time, "time", at(4900)), (plan_lsn, "lsn", format_lsn(8 * SEGMENT_BYTES + 1))]
)
def test_damage_before_a_target_is_named(plan, kind, value) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RepositoryError, match="WAL segment 000000010000000000000008 cannot be read"):
        plan(WHOLE, DamagedLog(8), Target(kind, value))


def test_a_name_behind_damage_is_refused_with_the_damage() -> None:
    with pytest.raises(
        RefusedError, match=r"not in the archive .*; WAL segment 000000010000000000000006 cannot be read"
    ):
        plan_record(WHOLE, DamagedLog(6), Target("name", "point 7"))


REFUSED = [
    pytest.param(WHOLE, plan_time, "time", at(-1), "before the end of the oldest backup", id="before-all"),
    pytest.param(WHOLE, plan_time, "time", at(6000), "not before the last commit", id="the-last-commit-itself"),
    pytest.param(WHOLE, plan_lsn, "lsn", "0/100", "before the end of the oldest backup", id="a-position-before-all"),
    pytest.param(WHOLE, plan_lsn, "lsn", "0/9000000", "after the last record", id="a-position-to-come"),
    pytest.param(WHOLE, plan_record, "name", "point 5", "not in the archive", id="a-name-that-is-not-there"),
    pytest.param(WHOLE, plan_record, "name", "point", "not in the archive", id="a-part-of-a-name"),
    pytest.param(WHOLE, plan_record, "xid", "70", "not in the archive", id="a-part-of-a-number"),
    pytest.param(WHOLE, plan_record, "xid", "0704", "is not a number", id="an-octal-number"),
    pytest.param(
        GAP, plan_latest, "latest", "", "segment 000000010000000000000007 is missing", id="latest-behind-a-gap"
    ),
    pytest.param(GAP, plan_time, "time", at(4900), "as WAL segment 000000010000000000000007", id="a-time-behind-a-gap"),
    pytest.param(
        GAP, plan_lsn, "lsn", "0/8000000", "as WAL segment 000000010000000000000007", id="a-position-behind-a-gap"
    ),
    pytest.param(GAP, plan_record, "name", "point 7", "not in the archive", id="a-name-in-a-gap"),
]


@pytest.mark.parametrize(("now", "plan", "kind", "value", "reason"), REFUSED)
def test_a_target_that_cannot_be_reached_is_refused(now, plan, kind, value, reason) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RefusedError, match=reason):
        plan(now, WrittenLog(), Target(kind, value))


@pytest.mark.parametrize(
    "text",
    ["2026-01-01 00:00:00+00", "2026-01-01T00:00:00Z", "2026-01-01 01:00:00.000+01:00", "2025-12-31 19:00:00 -0500"],
)
def test_a_time_with_an_offset_is_one_moment(text: str) -> None:
    assert parse_time(text).timestamp() == BEGAN


@pytest.mark.parametrize("text", ["2026-01-01 00:00:00", "2026-01-01+00", "now", "2026-01-01 00:00:00 CET"])
def test_a_time_without_an_offset_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="offset"):
        parse_time(text)


@pytest.mark.parametrize("text", ["2026-02-30 14:05:00+00", "2026-01-31T24:05Z", "2026-01-31 14:05:00+99"])
def test_a_time_that_never_comes_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="is no moment"):
        parse_time(text)


class ShortRepository(Repository):
    """One whose cluster has been promoted twice."""

    def archive(self) -> Archive:
        """Two backups."""
        return WHOLE.archive

    def newest_timeline(self, archive: str) -> int:  # noqa: ARG002  # as the real one
        """The third."""
        return 3


def test_a_timeline_that_is_still_to_come_is_refused() -> None:
    with pytest.raises(RefusedError, match="there is no timeline 4 in the archive, the newest is 3"):
        look(ShortRepository("s"), 4)


LAST = format_lsn(8 * SEGMENT_BYTES + 4096)
REACHED = [
    pytest.param("", id="nobody-knows"),
    pytest.param(LAST, id="the-last-position"),
    pytest.param(at(6000), id="the-last-commit"),
    pytest.param(at(10), id="an-early-time"),
]
MISSED = [
    pytest.param(format_lsn(8 * SEGMENT_BYTES + 4097), f"the archive ends with {LAST}, before", id="a-position"),
    pytest.param(at(6001), "the archive ends with the commit of 2026-01-01 01:40:00", id="a-time"),
]
NO_END = [
    pytest.param(Target("latest", "", "yesterday"), "needs a date, a time and an offset", id="no-time"),
    pytest.param(Target("lsn", "0/3000028", "0/3000028"), "belongs to latest", id="beside-another-target"),
]


@pytest.mark.parametrize("expected", REACHED)
def test_latest_ends_with_the_archive_where_that_has_what_is_expected(expected: str) -> None:
    assert plan_latest(WHOLE, WrittenLog(), Target("latest", "", expected))[1] == 8 * SEGMENT_BYTES + 4096


@pytest.mark.parametrize(("expected", "reason"), MISSED)
def test_latest_is_refused_where_the_archive_ends_before_what_is_expected(expected: str, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        plan_latest(WHOLE, WrittenLog(), Target("latest", "", expected))


@pytest.mark.parametrize(("target", "reason"), NO_END)
def test_an_expected_end_that_is_none_is_refused(target: Target, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        check_words(target)
