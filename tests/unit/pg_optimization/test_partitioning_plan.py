"""What is left to do follows from what was found, and from nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from ansible.module_utils.pg_optimization.model import Name
from ansible.module_utils.pg_optimization.partitioning import refusals
from ansible.module_utils.pg_optimization.partitioning.model import (
    Constraint,
    Facts,
    Part,
    Wanted,
    after,
    bound,
    check_name,
    fitted,
)
from ansible.module_utils.pg_optimization.partitioning.plan import choose_cut, plan, renamed
from ansible.module_utils.pg_optimization.state import Column, Found, Relation

BARS = Name("public", "bars")
WANTED = Wanted(BARS, "ts")


def relation(kind: str = "r") -> Relation:
    column = Column("ts", "timestamp without time zone", True, -1, 8, (), None)
    return Relation(
        oid=1, name=BARS, kind=kind, persistence="p", owner="o", owned=True, tuples=10, bytes=8192, options={},
        has_toast=False, tablespace="pg_default", comment=None, populated=True, access_method="heap", query=None,
        partition_key=None, columns={"ts": column}, partitions=(), acl=None, default_grantees=(),
    )  # fmt: skip


def facts(**more: object) -> Facts:
    found = Found(role="o", relations={BARS: relation()})
    base = Facts(
        found=found,
        relation=relation(),
        now=datetime(2026, 11, 24, 12, tzinfo=UTC),
        column_type="timestamp without time zone",
        not_null=True,
        newest=datetime(2026, 11, 24, 11, tzinfo=UTC),
    )
    return replace(base, **more)  # type: ignore[arg-type]


def check(day: date, *, valid: bool = True) -> Constraint:
    return Constraint(check_name(day), "c", "CHECK (…)", valid, True, ("ts",), (), "", None, None)


def actions(made: object) -> list[tuple[str, str]]:
    return [(action.kind, action.action) for action in made.actions]  # type: ignore[attr-defined]


CUTS = {
    "the next month": ({}, None, date(2026, 12, 1)),
    "not a month that begins in two days": ({"now": datetime(2026, 11, 29, tzinfo=UTC)}, None, date(2027, 1, 1)),
    "behind the newest row": ({"newest": datetime(2027, 3, 5, tzinfo=UTC)}, None, date(2027, 4, 1)),
    "an empty table": ({"newest": None}, None, date(2026, 12, 1)),
    "as given": ({}, date(2027, 2, 1), date(2027, 2, 1)),
    "as an interrupted run said": ({"constraints": (check(date(2027, 1, 1)),)}, None, date(2027, 1, 1)),
    "not as a run said whose day is near": ({"constraints": (check(date(2026, 11, 25)),)}, None, date(2026, 12, 1)),
    "as given, not as a run said": ({"constraints": (check(date(2027, 1, 1)),)}, date(2027, 2, 1), date(2027, 2, 1)),
}


@pytest.mark.parametrize(("found", "given", "cut"), CUTS.values(), ids=CUTS)
def test_the_history_ends_where_no_row_is_near(found: dict[str, object], given: date | None, cut: date) -> None:
    assert choose_cut(replace(WANTED, cut=given), facts(**found)) == cut


STATES = {
    "a whole table": (
        {}, [("constraint", "create"), ("constraint", "validate"), ("table", "create"), ("table", "partition"),
             ("table", "analyze")],
    ),
    "the constraint was added": (
        {"constraints": (check(date(2026, 12, 1), valid=False),)},
        [("constraint", "validate"), ("table", "create"), ("table", "partition"), ("table", "analyze")],
    ),
    "the constraint is valid": (
        {"constraints": (check(date(2026, 12, 1)),)},
        [("table", "create"), ("table", "partition"), ("table", "analyze")],
    ),
    "the column may be NULL": (
        {"constraints": (check(date(2026, 12, 1)),), "not_null": False},
        [("column", "alter"), ("table", "create"), ("table", "partition"), ("table", "analyze")],
    ),
    "partitioned, and nothing known of it": (
        {"partition_key": "RANGE", "analysed": False}, [("table", "analyze")],
    ),
    "partitioned, and a month is missing": (
        {"partition_key": "RANGE", "partitions": (
            Part(Name("public", "bars_history"), date(2026, 12, 1), True, False, {}),
            Part(Name("public", "bars_p2026_12"), date(2027, 2, 1), False, False, {}, date(2026, 12, 1)),
        )}, [("partition", "create")],
    ),
    "partitioned, with gaps": (
        {"partition_key": "RANGE", "partitions": (
            Part(Name("public", "bars_history"), date(2026, 9, 1), True, False, {}),
            Part(Name("public", "bars_p2026_12"), date(2027, 1, 1), False, False, {}, date(2026, 12, 1)),
            Part(Name("public", "bars_p2027_02"), date(2027, 3, 1), False, False, {}, date(2027, 2, 1)),
        )}, [("partition", "create"), ("partition", "create")],
    ),
    "partitioned without a bound": (
        {"partition_key": "RANGE", "partitions": (Part(Name("public", "rest"), None, False, False, {}),)}, [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("found", "left"), STATES.values(), ids=STATES)
def test_a_run_goes_on_from_what_it_finds(found: dict[str, object], left: list[tuple[str, str]]) -> None:
    made = plan(WANTED, facts(**found))
    assert made.problems == ()
    assert actions(made) == left


def test_a_gap_is_filled_with_the_months_that_are_missing() -> None:
    partitions = STATES["partitioned, with gaps"][0]
    made = plan(WANTED, facts(**partitions))  # type: ignore[arg-type]
    assert [action.name for action in made.actions] == ["public.bars_p2026_11", "public.bars_p2027_01"]


def test_a_month_whose_name_is_taken_is_refused_and_not_run_into() -> None:
    partitions = STATES["partitioned, with gaps"][0]
    made = plan(WANTED, facts(**partitions, taken=frozenset({"bars_p2027_01"})))  # type: ignore[arg-type]
    (problem,) = made.problems
    assert "public.bars_p2027_01 would be the month from 2027-01-01" in problem.problem


@pytest.mark.parametrize("days", [-2, 2], ids=["behind", "ahead"])
def test_a_clock_two_days_wrong_chooses_no_day_that_rows_are_of_already(days: int) -> None:
    # Whatever the server believes, the first row that would be refused is a day away.
    for hours in range(0, 31 * 24, 7):
        really = datetime(2026, 11, 24, tzinfo=UTC) + timedelta(hours=hours)
        cut = choose_cut(WANTED, facts(now=really + timedelta(days=days), newest=None))
        assert cut > (really + timedelta(hours=23)).date()


QUERIES = {
    "a table": (" SELECT a.x FROM public.a", " SELECT b.x FROM public.b"),
    "a quoted one": ('SELECT 1 FROM "a"', "SELECT 1 FROM b"),
    "a string": ("SELECT 'a' FROM x", "SELECT 'a' FROM x"),
    "a part of a name": ("SELECT aa, a_b FROM x", "SELECT aa, a_b FROM x"),
    "a string with a quote": ("SELECT 'it''s a', a.x", "SELECT 'it''s a', b.x"),
}


@pytest.mark.parametrize(("query", "expected"), QUERIES.values(), ids=QUERIES)
def test_a_query_is_told_the_names_of_relations_and_no_other_words(query: str, expected: str) -> None:
    assert renamed(query, {"a": "b"}) == expected


ALONE = {
    "a table": (" SELECT id FROM ONLY public.bars", True),
    "one with an alias in a join": (" SELECT 1 FROM (ONLY public.bars b JOIN public.x ON true)", True),
    "quoted": (' SELECT id FROM ONLY public."bars"', True),
    "with its partitions": (" SELECT id FROM public.bars", False),
    "another one alone": (" SELECT id FROM ONLY public.bars_old, public.bars", False),
    "one of a longer name": (' SELECT id FROM ONLY public."bars old", public.bars', False),
    "one in another schema": (" SELECT id FROM ONLY other.bars, public.bars", False),
    "in a string": (" SELECT 'FROM ONLY public.bars' FROM public.bars", False),
    "behind a quoted name with an apostrophe": (' SELECT 1 AS "it\'s" FROM ONLY public.bars', True),
}


@pytest.mark.parametrize(("query", "alone"), ALONE.values(), ids=ALONE)
def test_a_query_of_the_table_without_its_partitions_is_recognised(query: str, alone: bool) -> None:
    assert refusals.reads_only(query, BARS) is alone


@pytest.mark.parametrize(("table", "suffix", "name"), [
    ("bars", "YYYY_MM", "bars_history"),
    ("bars", "YYYYMMDD", "bars_history"),
    # pg_partman 4 reads a month behind the last _p of a name.
    ("user_profiles", "YYYY_MM", "user_profiles_history_p0001_01"),
    ("user_profiles", "YYYYMMDD", "user_profiles_history"),
])  # fmt: skip
def test_the_history_has_a_name_that_pg_partman_can_read(table: str, suffix: str, name: str) -> None:
    assert facts(suffix=suffix).history(Name("public", table)).name == name


def test_a_month_is_called_as_pg_partman_calls_it() -> None:
    month = date(2026, 12, 1)
    assert facts().part_name(BARS, month).name == "bars_p2026_12"
    assert facts(suffix="YYYYMMDD").part_name(BARS, month).name == "bars_p20261201"


def test_a_long_name_is_not_cut_by_the_server_and_differs_from_another() -> None:
    one, other = fitted("x" * 63, "_history"), fitted("x" * 62 + "y", "_history")
    assert len(one) == len(other) == 63
    assert one != other


def test_months_are_counted_over_the_end_of_a_year() -> None:
    assert after(date(2026, 12, 1)) == date(2027, 1, 1)
    assert after(date(2026, 11, 1), 14) == date(2028, 1, 1)
    assert bound(date(2026, 12, 1), "timestamp with time zone") == "2026-12-01 00:00:00+00"
