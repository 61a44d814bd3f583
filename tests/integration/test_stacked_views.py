# ruff: noqa: S608 - tests make their own SQL
"""Materialized views that stand on each other: read over what is going to be, made in order, dropped in order."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Database

TABLE = """
SET ROLE owner;
CREATE TABLE t (a int NOT NULL, b int, c text);
INSERT INTO t SELECT n % 20, n, 'c' || n FROM generate_series(1, 500) n;
ANALYZE t;
RESET ROLE;
"""
A, B = "SELECT a, b, c FROM t", "SELECT a, count(b) AS n FROM lower_one GROUP BY a"


@pytest.fixture
def table(db: Database) -> Database:
    db.execute(TABLE)
    return db


def views(**queries: str) -> dict[str, Any]:
    return {"materialized_views": [{"name": name, "query": query} for name, query in queries.items()]}


def left(db: Database) -> list[Any]:
    return db.rows("SELECT relname FROM pg_class WHERE relname ~ 'one$|pgopt' AND relkind = 'm' ORDER BY 1")


def test_a_view_that_reads_a_column_which_another_one_loses_is_refused_before(table: Database) -> None:
    table.settle(**views(upper_one=B, lower_one=A))
    before = table.snapshot()
    done = table.optimise(**views(upper_one=B, lower_one="SELECT a, c FROM t"))
    assert done.failed
    assert [(p["object"], "b" in p["problem"]) for p in done.result["problems"]] == [
        ("materialized view public.upper_one", True)
    ]
    assert table.snapshot() == before


@pytest.mark.parametrize("written", ["lower_one", "public.lower_one", '"public" . "lower_one"', "PUBLIC.Lower_One"])
def test_a_view_may_read_a_column_that_another_one_gets_in_the_same_run(table: Database, written: str) -> None:
    table.settle(**views(upper_one=B, lower_one="SELECT a, b FROM t"))
    done = table.settle(**views(upper_one=f"SELECT a, max(c) AS c FROM {written} GROUP BY a", lower_one=A))
    assert done.said[:2] == [("public.lower_one", "replace"), ("public.upper_one", "replace")]
    assert table.value("SELECT count(c) FROM upper_one") == 20
    assert left(table) == [("lower_one",), ("upper_one",)]


def test_a_view_that_newly_reads_a_changed_one_is_made_after_it(table: Database) -> None:
    table.settle(**views(upper_one="SELECT a FROM t", lower_one="SELECT a, b FROM t"))
    done = table.settle(**views(upper_one=B, lower_one="SELECT a, b FROM t WHERE a > 10"))
    assert done.said == [("public.lower_one", "replace"), ("public.upper_one", "replace")]
    assert table.value("SELECT min(a) FROM upper_one") == 11
    assert left(table) == [("lower_one",), ("upper_one",)]


def test_a_view_that_reads_a_changed_one_through_a_plain_view_is_made_after_it(table: Database) -> None:
    table.settle(**views(lower_one="SELECT a, b FROM t"))
    table.execute("SET ROLE owner; CREATE VIEW between AS SELECT a FROM lower_one; RESET ROLE")
    done = table.settle(
        **views(upper_one="SELECT DISTINCT a FROM between", lower_one="SELECT a, b FROM t WHERE a > 10")
    )
    assert done.said == [("public.lower_one", "replace"), ("public.upper_one", "create")]
    assert table.value("SELECT min(a) FROM upper_one") == 11


def test_a_column_that_changes_its_type_is_refused_where_a_plain_view_stands_two_views_above(table: Database) -> None:
    table.settle(**views(upper_one="SELECT b FROM lower_one", lower_one="SELECT b FROM t"))
    table.execute("SET ROLE owner; CREATE VIEW above AS SELECT b FROM upper_one; RESET ROLE")
    before = table.snapshot()
    done = table.optimise(**views(upper_one="SELECT b FROM lower_one", lower_one="SELECT b::bigint AS b FROM t"))
    assert done.failed
    assert "view public.above stands on it and would change the types" in done.msg
    assert table.snapshot() == before


def test_a_query_is_said_as_the_server_will_have_it(table: Database) -> None:
    table.settle(**views(upper_one=B, lower_one=A))
    done = table.settle(**views(upper_one=B, lower_one=f"{A} WHERE b > 0"))
    assert "stands on materialized view public.lower_one" in done.actions[1]["reason"]
    assert "another query" not in done.actions[1]["reason"]
    assert table.value("SELECT pg_get_viewdef('upper_one'::regclass)") in done.actions[1]["after"]


def test_stacked_views_of_another_schema_are_redefined_together(table: Database) -> None:
    table.execute("CREATE SCHEMA other; ALTER SCHEMA other OWNER TO owner")

    def declared(query: str) -> dict[str, Any]:
        stacked = views(upper_one="SELECT a FROM other.lower_one", lower_one=query)["materialized_views"]
        return {"materialized_views": [{**view, "schema": "other"} for view in stacked]}

    table.settle(**declared("SELECT a FROM t"))
    done = table.settle(**declared("SELECT a, b FROM t"))
    assert "another query" not in done.actions[1]["reason"]
    assert table.value("SELECT pg_get_viewdef('other.upper_one'::regclass)") in done.actions[1]["after"]


def test_views_that_read_each_other_are_refused(table: Database) -> None:
    table.settle(**views(upper_one=B, lower_one=A))
    before = table.snapshot()
    done = table.optimise(**views(upper_one=B, lower_one="SELECT a, n AS b FROM upper_one"))
    assert done.failed
    assert "read each other: public.upper_one, public.lower_one" in done.msg
    assert table.snapshot() == before


def test_stacked_views_are_pruned_from_above(table: Database) -> None:
    table.settle(**views(lower_one=A, upper_one=B))
    done = table.settle(**views(), prune=True)
    assert done.said == [("public.upper_one", "prune"), ("public.lower_one", "prune")]


def test_stacked_views_that_are_declared_absent_go_from_above(table: Database) -> None:
    table.settle(**views(lower_one=A, upper_one=B))
    absent = [{"name": name, "state": "absent"} for name in ("lower_one", "upper_one")]
    done = table.settle(materialized_views=absent)
    assert done.said == [("public.upper_one", "drop"), ("public.lower_one", "drop")]


def test_a_view_goes_when_what_stood_on_it_reads_another(table: Database) -> None:
    table.settle(**views(lower_one=A, upper_one=B))
    declared = views(upper_one="SELECT a FROM t")["materialized_views"]
    done = table.settle(materialized_views=[{"name": "lower_one", "state": "absent"}, *declared])
    assert done.said == [("public.upper_one", "replace"), ("public.lower_one", "drop")]


@pytest.mark.parametrize("upper", [{}, {"query": B}], ids=["not declared", "declared"])
def test_a_view_that_is_stood_on_does_not_go(table: Database, upper: dict[str, Any]) -> None:
    table.settle(**views(lower_one=A, upper_one=B))
    before = table.snapshot()
    declared = [{"name": "lower_one", "state": "absent"}, *([{"name": "upper_one", **upper}] if upper else [])]
    done = table.optimise(materialized_views=declared)
    assert done.failed
    assert "is to be absent, and cannot be while these stand on it: materialized view public.upper_one" in done.msg
    assert table.snapshot() == before


def test_what_a_kept_view_stands_on_is_not_pruned_either(table: Database) -> None:
    table.settle(**views(lower_one=A, upper_one=B))
    table.execute("SET ROLE owner; CREATE VIEW above AS SELECT n FROM upper_one; RESET ROLE")
    done = table.settle(**views(), prune=True)
    assert done.actions == []
    assert {text.split(":")[0] for text in done.result["warnings"] if "not pruned" in text} == {
        "materialized view public.lower_one is not pruned",
        "materialized view public.upper_one is not pruned",
    }


def test_the_marked_indexes_of_a_view_that_goes_are_no_work_of_their_own(table: Database) -> None:
    view = {"name": "lower_one", "query": A, "indexes": [{"name": "of_it", "columns": ["a"]}]}
    table.settle(materialized_views=[view])
    done = table.settle(materialized_views=[{"name": "lower_one", "state": "absent"}], prune=True)
    assert done.said == [("public.lower_one", "drop")]


def test_a_column_and_the_declared_statistics_on_it_change_together(table: Database) -> None:
    def declared(query: str, *columns: str) -> dict[str, Any]:
        return {**views(lower_one=query), "statistics": [{"name": "s", "table": "lower_one", "columns": list(columns)}]}

    table.settle(**declared(A, "a", "c"))
    done = table.settle(**declared("SELECT a, b FROM t", "a", "b"))
    assert done.said == [("public.lower_one", "replace"), ("public.s", "replace")]
    absent = [{"name": "s", "table": "lower_one", "state": "absent"}]
    done = table.settle(**views(lower_one="SELECT a FROM t"), statistics=absent)
    assert done.said == [("public.lower_one", "replace"), ("public.s", "drop")]


def test_how_a_column_is_stored_and_estimated_is_carried(table: Database) -> None:
    table.settle(**views(lower_one=A))
    table.execute(
        """
        SET ROLE owner;
        ALTER MATERIALIZED VIEW lower_one ALTER COLUMN c SET (n_distinct = -0.5);
        ALTER MATERIALIZED VIEW lower_one ALTER COLUMN c SET STORAGE EXTERNAL;
        ALTER MATERIALIZED VIEW lower_one ALTER COLUMN c SET COMPRESSION pglz;
        RESET ROLE;
        """
    )
    facts = """SELECT attoptions, attstorage::text, attcompression::text FROM pg_attribute
               WHERE attrelid = 'lower_one'::regclass AND attname = 'c'"""
    before = table.rows(facts)
    table.settle(**views(lower_one="SELECT c, a FROM t"))
    assert table.rows(facts) == before == [(["n_distinct=-0.5"], "e", "p")]
    # Of another type nothing of this would hold.
    table.settle(**views(lower_one="SELECT length(c) AS c FROM t"))


def test_a_view_that_cannot_be_filled_is_refused_before(table: Database) -> None:
    table.execute("CREATE TABLE secret (a int)")
    before = table.snapshot()
    done = table.optimise(**views(lower_one="SELECT a FROM secret"))
    assert (done.failed, "permission denied for table secret" in done.msg) == (True, True)
    assert table.snapshot() == before


def test_the_cost_of_a_view_is_estimated(table: Database) -> None:
    view = {"name": "lower_one", "query": A, "indexes": [{"name": "of_it", "columns": ["c"]}]}
    done = table.settle(materialized_views=[view])
    size = table.value("SELECT pg_total_relation_size('lower_one')")
    assert size / 3 < done.actions[0]["estimated_bytes"] < size * 3
    table.execute("INSERT INTO t SELECT n % 20, n, 'c' || n FROM generate_series(1, 100000) n; ANALYZE t")
    check = table.optimise(check=True, materialized_views=[{**view, "query": f"{A} WHERE b > 0"}])
    assert check.actions[0]["estimated_seconds"] > 0
    assert check.actions[0]["estimated_bytes"] > 5_000_000
