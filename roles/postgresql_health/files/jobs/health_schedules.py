"""When cron starts a job: its schedule (crontab(5)) in the time of the host."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from health_checks import ROOT

# How far ahead a job's next time is looked for: beyond a month, for monthly ones.
DAYS_AHEAD = 40
FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
MONTHS = dict(
    zip(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), range(1, 13), strict=True)
)
WEEKDAYS = dict(zip(("sun", "mon", "tue", "wed", "thu", "fri", "sat"), range(7), strict=True))


def host_zone() -> tzinfo:
    """The zone that cron reads schedules in. A job's own TZ says nothing of it: dbjob sets UTC."""
    try:
        with (ROOT / "etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file)
    except FileNotFoundError:
        return UTC


def numbers(text: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    """The values that one field of a schedule stands for."""
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


def moments(local: datetime, *, repeats: bool) -> Iterator[datetime]:
    """The moments, in UTC, at which Debian's cron starts what is due at a time of the host's clock.

    What has a fixed time is started once: a time that the change to summer time leaves out as soon as the clock has
    changed, one that comes twice the first time. What runs every hour or minute (`repeats`) goes by the clock.
    """
    first, second = (local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if first <= second:
        yield first
        if repeats and second != first:
            yield second
        return
    if repeats:
        return
    # Left out: `second`, by the offset that is to come, is before the change, and `first` behind it.
    change = second.replace(second=0)
    while change.astimezone(local.tzinfo).replace(tzinfo=None) < local.replace(tzinfo=None):
        change += timedelta(minutes=1)
    yield change


def next_due(schedule: str, after: datetime, zone: tzinfo) -> datetime | None:
    """When a schedule of a zone is due next. Of day and weekday, either is enough where both are set."""
    fields = schedule.split()
    names: list[dict[str, int]] = [{}, {}, {}, MONTHS, WEEKDAYS]
    minutes, hours, days, months, weekdays = (
        numbers(field, *limits, known) for field, limits, known in zip(fields, FIELDS, names, strict=True)
    )
    weekdays = {day % 7 for day in weekdays}
    either = not fields[2].startswith("*") and not fields[4].startswith("*")
    repeats = fields[0].startswith("*") or fields[1].startswith("*")
    today = after.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    for ahead in range(DAYS_AHEAD):
        day = today + timedelta(days=ahead)
        of_month, of_week = day.day in days, day.isoweekday() % 7 in weekdays
        if day.month not in months or not (of_month or of_week if either else of_month and of_week):
            continue
        times = (day.replace(hour=hour, minute=minute, tzinfo=zone) for hour in hours for minute in minutes)
        later = [moment for time in times for moment in moments(time, repeats=repeats) if moment > after]
        if later:
            return min(later)
    return None
