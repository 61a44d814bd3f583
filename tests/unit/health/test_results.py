"""What rows mean: levels, states, texts, and the schedules of jobs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from example import ENGINE, ROOT, TRADING
from health_checks import Check, ConfigurationError, Result, judged, level, shown, worst
from health_plans import deviations
from health_schedules import next_due

from mltrading_db.health import levels

UPWARDS = Check("up", "Up", unit="%", warning=80, critical=90)
DOWNWARDS = Check("down", "Down", unit="%", warning=95, critical=90, below=True)


@pytest.mark.parametrize(
    ("check", "value", "state"),
    [
        pytest.param(UPWARDS, 80, "ok", id="at the level"),
        pytest.param(UPWARDS, 80.1, "warning", id="above the warning"),
        pytest.param(UPWARDS, 90.1, "critical", id="above the critical level"),
        pytest.param(DOWNWARDS, 95, "ok", id="at the level, where less is worse"),
        pytest.param(DOWNWARDS, 94.9, "warning", id="below the warning"),
        pytest.param(DOWNWARDS, 89, "critical", id="below the critical level"),
        pytest.param(UPWARDS, None, "no_data", id="no value"),
    ],
)
def test_a_value_is_judged_by_the_levels(check: Check, value: float | None, state: str) -> None:
    assert check.state_of(value) == state


@pytest.mark.parametrize(
    ("given", "unit", "number"),
    [
        (80, "%", 80), ("80", "%", 80), ("100GB", "bytes", 100 * 1024**3), ("1.5 h", "seconds", 5400),
        ("2d", "seconds", 172_800), ("1s", "ms", 1000), ("5ms", "ms", 5), (None, "%", None),
    ],
)  # fmt: skip
def test_a_level_is_a_number_with_a_unit(given: Any, unit: str, number: float | None) -> None:
    assert level(given, unit) == number


@pytest.mark.parametrize("given", ["much", "5 parsecs", "-1", ""])
def test_what_is_no_level_is_refused(given: str) -> None:
    with pytest.raises(ConfigurationError, match="is no level"):
        level(given, "%")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (87.123, "%", "87.1 %"), (0, "%", "0 %"), (5_583_457_485, "bytes", "5.2 GB"), (900, "bytes", "900 B"),
        (26 * 3600, "seconds", "26 h"), (45, "seconds", "45 s"), (1234.5, "ms", "1,234 ms"), (3, "count", "3"),
        (12, "days", "12 days"), (None, "%", "no data"), (-1234.5, "%", "-1,234 %"), (-7200, "seconds", "-2 h"),
        (-0.25, "%", "-0.25 %"),
    ],
)  # fmt: skip
def test_a_value_is_shown_as_a_person_says_it(value: float | None, unit: str, text: str) -> None:
    assert shown(value, unit) == text


def test_the_worst_row_speaks_for_the_check_and_counts_its_like() -> None:
    rows = [{"item": name, "value": value, "detail": ""} for name, value in (("a", 85), ("b", 99), ("c", 95), ("d", 1))]
    result = judged(UPWARDS, rows)
    assert (result.state, result.text, result.value) == ("critical", "b: 99 %, and 1 more", 99)


def test_a_quiet_item_is_shown_and_never_alarms() -> None:
    check = Check("q", "Q", unit="ms", warning=1, critical=2, quiet=("train",))
    result = judged(check, [{"item": "train", "value": 900}, {"item": "read", "value": 0.5}])
    assert (result.state, result.value, len(result.rows)) == ("ok", 0.5, 2)


def test_where_every_row_is_quiet_all_is_well() -> None:
    check = Check("q", "Q", unit="ms", warning=1, critical=2, quiet=("train",))
    result = judged(check, [{"item": "train", "value": 900}])
    assert (result.state, result.value) == ("ok", 900)


@pytest.mark.parametrize(
    ("values", "state"),
    [
        pytest.param((99, None), "ok", id="one is idle"), pytest.param((None, None), "no_data", id="all are idle"),
        pytest.param((None, 93), "warning", id="one is idle and one is bad"),
    ],
)  # fmt: skip
def test_an_idle_database_does_not_hide_how_the_others_do(values: tuple[float | None, ...], state: str) -> None:
    result = judged(DOWNWARDS, [{"item": str(number), "value": value} for number, value in enumerate(values)])
    assert result.state == state


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (["ok", "warning", "unknown", "critical"], "critical"), (["ok", "warning", "unknown"], "unknown"),
        (["ok", "warning"], "warning"), (["ok", "no_data", "not_configured", "info"], "ok"), ([], "unknown"),
    ],
)  # fmt: skip
def test_critical_outranks_unknown_and_that_a_warning(states: list[str], state: str) -> None:
    assert worst([Result(UPWARDS, one, "") for one in states]) == state


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        pytest.param("15 2 * * *", "2026-11-25 02:15", id="tomorrow"),
        pytest.param("*/15 * * * *", "2026-11-24 10:15", id="the next quarter"),
        pytest.param("30 3 * * 0", "2026-11-29 03:30", id="Sunday as 0"),
        pytest.param("30 3 * * 7", "2026-11-29 03:30", id="Sunday as 7"),
        pytest.param("30 3 * * sun", "2026-11-29 03:30", id="Sunday by its name"),
        pytest.param("0 4 1 * *", "2026-12-01 04:00", id="the first of the month"),
        pytest.param("0 4 1 * fri", "2026-11-27 04:00", id="either the first or a Friday"),
        pytest.param("0 9-17/4 * * 1-5", "2026-11-24 13:00", id="a range with steps"),
        pytest.param("10 10 * * *", "2026-11-24 10:10", id="later this hour"),
    ],
)
def test_a_schedule_is_due_when_cron_says(schedule: str, due: str) -> None:
    after = datetime.fromisoformat("2026-11-24 10:00:30+00:00")
    found = next_due(schedule, after, UTC)
    assert found is not None
    assert found.strftime("%Y-%m-%d %H:%M") == due


@pytest.mark.parametrize(
    ("schedule", "after", "due"),
    [
        pytest.param("15 2 * * *", "2026-01-10 08:00", "2026-01-11 07:15", id="in winter"),
        pytest.param("15 2 * * *", "2026-03-07 07:15", "2026-03-08 07:00", id="left out: as soon as the clock changed"),
        pytest.param("15 2 * * *", "2026-03-08 07:00", "2026-03-09 06:15", id="made up for once"),
        pytest.param("30 * * * *", "2026-03-08 06:30", "2026-03-08 07:30", id="hourly, over the hour that is left out"),
        pytest.param("*/20 2 * * *", "2026-03-08 05:00", "2026-03-09 06:00", id="with a star: not made up for"),
        pytest.param("15 1 * * *", "2026-10-31 12:00", "2026-11-01 05:15", id="twice on the clock: the first time"),
        pytest.param("15 1 * * *", "2026-11-01 05:15", "2026-11-02 06:15", id="and not the second"),
        pytest.param("15 * * * *", "2026-11-01 05:15", "2026-11-01 06:15", id="hourly, in the hour that comes twice"),
        pytest.param("30 3 * * *", "2026-10-31 08:00", "2026-11-01 08:30", id="later in that night"),
    ],
)
def test_a_schedule_goes_by_the_clock_of_its_zone(schedule: str, after: str, due: str) -> None:
    found = next_due(schedule, datetime.fromisoformat(f"{after}:00+00:00"), ZoneInfo("America/New_York"))
    assert found is not None
    assert found.astimezone(UTC).strftime("%Y-%m-%d %H:%M") == due


def test_a_schedule_that_never_comes_is_due_never() -> None:
    assert next_due("0 0 30 2 *", datetime.fromisoformat("2026-11-24 10:00+00:00"), UTC) is None


def test_the_documentation_has_every_check() -> None:
    page = (ROOT / "docs/operations/health.md").read_text()
    assert [check["name"] for check in ENGINE + TRADING if f"`{check['name']}`" not in page] == []


def test_the_levels_of_the_documentation_are_those_of_the_checks() -> None:
    assert levels.page(ROOT) == (ROOT / levels.PAGE).read_text()
    assert levels.table(
        [{"name": "x", "title": "X", "unit": "days", "warning": 30, "critical": "7d", "below": True}]
    ) == ("| check | warning | critical | of what |\n|---|---|---|---|\n| `x` | < 30 days | < 7 d | X |\n")


def plan(node: str, pages: int, **more: Any) -> dict[str, Any]:
    """A plan of one node."""
    common = {
        "Node Type": node,
        "Shared Hit Blocks": pages,
        "Shared Read Blocks": 0,
        "Actual Rows": 100,
        "Actual Loops": 1,
    }
    return common | ({"Relation Name": "t"} if "Scan" in node else {}) | more


@pytest.mark.parametrize(
    ("found", "expected", "said"),
    [
        pytest.param(plan("Index Only Scan", 90, **{"Index Name": "a", "Heap Fetches": 0}),
                     {"indexes": ["a"], "index_only": True}, [], id="as expected"),
        pytest.param(plan("Seq Scan", 5000), {"indexes": ["a"]}, ["no index is used, t is scanned"], id="a scan"),
        pytest.param(plan("Seq Scan", 5), {"indexes": ["a"]}, [], id="a scan of a few pages"),
        pytest.param(plan("Seq Scan", 5000), {"indexes": []}, [], id="a scan where one is expected"),
        pytest.param(plan("Seq Scan", 5000), {}, ["no index is used, t is scanned"], id="any index would do"),
        pytest.param(plan("Index Scan", 500, **{"Index Name": "b"}), {"indexes": ["a"]},
                     ["uses b, expected a"], id="another index"),
        pytest.param(plan("Index Scan", 500, **{"Index Name": "a"}), {"indexes": ["a"], "index_only": True},
                     ["visits the table, expected an index-only scan"], id="not index-only"),
        pytest.param(plan("Index Only Scan", 90, **{"Index Name": "a", "Heap Fetches": 78}),
                     {"indexes": ["a"], "index_only": True},
                     ["78 visits to the table for 100 rows: it needs a VACUUM"], id="heap fetches"),
        pytest.param(plan("Index Scan", 50, **{"Index Name": "a"}), {"indexes": ["a"], "buffers": 20},
                     ["reads 50 pages, expected at most 20"], id="more pages"),
        pytest.param(plan("Index Scan", 214, **{"Index Name": "a"}), {"indexes": ["a"], "pages_per_row": 1.5}, [],
                     id="pages as its rows need"),
        pytest.param(plan("Index Scan", 215, **{"Index Name": "a"}), {"indexes": ["a"], "pages_per_row": 1.5},
                     ["reads 215 pages, expected at most 214"], id="more pages than its rows need"),
    ],
)  # fmt: skip
def test_a_plan_is_compared_with_the_expected_one(
    found: dict[str, Any], expected: dict[str, Any], said: list[str]
) -> None:
    assert deviations(found, expected) == said
