"""Filters for the five fields of a cron schedule, as crontab(5) of Debian's cron reads them."""

from __future__ import annotations

import re
from collections.abc import Callable

# The fields with their smallest and largest value; Sunday is 0 and 7.
FIELDS = {"minute": (0, 59), "hour": (0, 23), "day of month": (1, 31), "month": (1, 12), "day of week": (0, 7)}
PART = re.compile(r"(?:\*|(?P<first>\d{1,2})(?:-(?P<last>\d{1,2}))?)(?:/(?P<step>[1-9]\d?))?")
# Minutes of it.
DAY = 1440
WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


def values(field: str, low: int, high: int) -> set[int] | None:
    """Return the values of a field, None where it is none; names of months and days are not taken."""
    found: set[int] = set()
    for text in field.split(","):
        part = PART.fullmatch(text)
        if not part or (part["step"] and part["first"] and not part["last"]):
            return None
        first = int(part["first"]) if part["first"] else low
        last = int(part["last"] or part["first"] or high)
        if not low <= first <= last <= high:
            return None
        found |= set(range(first, last + 1, int(part["step"] or 1)))
    return found


def bounds(window: str) -> tuple[int, int] | None:
    """Return when a window begins and how long it is, in minutes; None where it is none."""
    between = WINDOW.fullmatch(window)
    if not between:
        return None
    begin, end = (int(between[n]) * 60 + int(between[n + 1]) for n in (1, 3))
    return begin, (end - begin) % DAY or DAY


def starts(schedule: str) -> list[int]:
    """Return the minutes of the day at which a schedule of five fields starts."""
    minute, hour, *_ = schedule.split()
    minutes, hours = values(minute, *FIELDS["minute"]) or (), values(hour, *FIELDS["hour"]) or ()
    return [60 * h + m for h in hours for m in minutes]


def cron_limit(limit: int, schedule: str, window: str = "", spread: int = 0) -> int:
    """Return how many seconds a job may run: its own limit, or less where the window ends before that."""
    span = bounds(window)
    times = starts(schedule)
    if not span or span[1] == DAY or not times:
        return limit
    begin, length = span
    latest = max((time - begin) % DAY for time in times) * 60 + spread
    return min(limit, length * 60 - latest)


def cron_problem(schedule: str, window: str = "", spread: int = 0) -> str:
    """Return what is wrong with a schedule, "" for nothing: cron ignores a whole file for one bad line, silently.

    `window` is the time of the day that it keeps to, as 22:00-06:00; "" is the whole day. `spread` is the number of
    seconds by which the start may be delayed.
    """
    fields = schedule.split()
    if len(fields) != len(FIELDS):
        return f"'{schedule}' has not the five fields {', '.join(FIELDS)}"
    read = {name: values(field, *FIELDS[name]) for name, field in zip(FIELDS, fields, strict=True)}
    wrong = [name for name, found in read.items() if found is None]
    if wrong:
        return f"'{schedule}': its {wrong[0]} is not what cron takes"
    if not window:
        return ""
    span = bounds(window)
    if not span:
        return f"the window '{window}' is not written as 22:00-06:00"
    begin, length = span
    latest = max(spread - 1, 0) // 60
    outside = sorted(time for time in starts(schedule) if (time - begin) % DAY + latest >= length)
    if not outside or length == DAY:
        return ""
    delayed = f" or up to {spread} s later" if latest else ""
    return f"'{schedule}' starts at {outside[0] // 60:02}:{outside[0] % 60:02}{delayed}, outside {window}"


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by their names in a template."""
        return {"cron_limit": cron_limit, "cron_problem": cron_problem}
