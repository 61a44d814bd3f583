"""The filter that judges a schedule before cron would ignore it."""

import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("cron", Path(__file__).parents[2] / "plugins/filter/cron.py")
assert SPEC is not None
assert SPEC.loader is not None
cron = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(cron)

CASES = [
    pytest.param("15 2 * * *", "", "", id="daily"),
    pytest.param("*/5 * * * *", "", "", id="every-five-minutes"),
    pytest.param("0 3,4 1-7 1-12/2 0", "", "", id="lists-ranges-steps"),
    pytest.param("15 2 * *", "", "has not the five fields", id="a-field-missing"),
    pytest.param("@daily", "", "has not the five fields", id="a-name"),
    pytest.param("60 2 * * *", "", "its minute is not", id="minute-60"),
    pytest.param("0 24 * * *", "", "its hour is not", id="hour-24"),
    pytest.param("0 2 0 * *", "", "its day of month is not", id="day-0"),
    pytest.param("0 2 * * mon", "", "its day of week is not", id="a-day-by-name"),
    pytest.param("0 5-3 * * *", "", "its hour is not", id="a-range-backwards"),
    pytest.param("5/2 3 * * *", "", "its minute is not", id="a-step-of-one-value"),
    pytest.param("15 2 * * *", "22:00-06:00", "", id="in-the-window"),
    pytest.param("0 22 * * *", "22:00-06:00", "", id="as-it-opens"),
    pytest.param("0 6 * * *", "22:00-06:00", "starts at 06:00, outside 22:00-06:00", id="as-it-closes"),
    pytest.param("59 21 * * *", "22:00-06:00", "starts at 21:59, outside", id="before-it-opens"),
    pytest.param("*/5 * * * *", "22:00-06:00", "starts at 06:00, outside", id="all-day"),
    pytest.param("30 3 * * *", "01:00-03:30", "starts at 03:30, outside", id="within-one-day"),
    pytest.param("30 3 * * *", "night", "is not written as 22:00-06:00", id="no-window"),
]

SPREAD = [
    pytest.param("54 5 * * *", 300, "", id="over-before-it-closes"),
    pytest.param("55 5 * * *", 300, "", id="at-the-last-second"),
    pytest.param("56 5 * * *", 300, "starts at 05:56 or up to 300 s later, outside 22:00-06:00", id="delayed-beyond"),
    pytest.param("59 5 * * *", 0, "", id="not-delayed"),
]


@pytest.mark.parametrize(("schedule", "window", "problem"), CASES)
def test_a_schedule_is_taken_or_refused_with_the_reason(schedule: str, window: str, problem: str) -> None:
    found = cron.cron_problem(schedule, window)
    assert (problem in found) if problem else (found == "")


@pytest.mark.parametrize(("schedule", "spread", "problem"), SPREAD)
def test_the_delay_that_spreads_the_hosts_is_within_the_window_too(schedule: str, spread: int, problem: str) -> None:
    assert cron.cron_problem(schedule, "22:00-06:00", spread) == (problem and f"'{schedule}' {problem}")


LIMITS = [
    pytest.param(14400, "10 3 * * 0", "", 300, 14400, id="no-window"),
    pytest.param(3600, "10 3 * * 0", "22:00-06:00", 300, 3600, id="over-before-it-closes"),
    pytest.param(14400, "10 3 * * 0", "22:00-06:00", 300, 10200 - 300, id="the-window-ends-before"),
    pytest.param(14400, "0 1,5 * * *", "22:00-06:00", 0, 3600, id="the-latest-start-counts"),
    pytest.param(14400, "30 23 * * *", "22:00-06:00", 0, 14400, id="before-midnight"),
    pytest.param(90000, "30 23 * * *", "00:00-00:00", 300, 90000, id="the-whole-day"),
]


@pytest.mark.parametrize(("limit", "schedule", "window", "spread", "allowed"), LIMITS)
def test_a_job_ends_with_the_window(limit: int, schedule: str, window: str, spread: int, allowed: int) -> None:
    assert cron.cron_limit(limit, schedule, window, spread) == allowed


def test_a_window_of_the_whole_day_takes_every_delay() -> None:
    assert cron.cron_problem("* * * * *", "00:00-00:00", 300) == ""
