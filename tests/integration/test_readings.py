# ruff: noqa: S608 - tests make their own SQL
"""Texts of one definition that differ and mean the same: a restore, what psql shows, calls in the words of SQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Database

TABLES = """
CREATE EXTENSION IF NOT EXISTS plpgsql;
SET ROLE owner;
CREATE TABLE t (
    id int, a int, n int, state varchar(20), name text, day date, active boolean, ts timestamp, tz timestamptz,
    doc jsonb, words tsvector, b float8
);
CREATE TABLE p (id int, state varchar(20), n int, active boolean) PARTITION BY RANGE (id);
CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (0) TO (100);
RESET ROLE;
"""


@pytest.fixture(scope="module")
def tables(shared: Database) -> Database:
    shared.execute(TABLES)
    return shared


@pytest.fixture
def on_tables(tables: Database) -> Iterator[Database]:
    yield tables
    tables.execute("DROP INDEX IF EXISTS x; DROP MATERIALIZED VIEW IF EXISTS v; DROP STATISTICS IF EXISTS s")


PREDICATES = {
    "in a list": "state IN ('new', 'open')",
    "not in a list": "state NOT IN ('new', 'open')",
    "any of an array": "state = ANY (ARRAY['new', 'open'])",
    "any of an array of varchar": "state = ANY (ARRAY['new'::varchar, 'open'])",
    "a key among keys": "doc ?| ARRAY['a'::varchar, 'b']",
    "between and more": "n BETWEEN 1 AND 5 AND active",
    "not between or more": "n NOT BETWEEN 1 AND 5 OR active",
    "rows that are equal": "(n, id) = (1, 2) AND active",
    "rows that are less": "(n, id) < (1, 2) OR active",
    "chains in chains": "(n BETWEEN 1 AND 5 AND active) OR (a BETWEEN 2 AND 3 AND NOT active)",
    "between and a call": "n BETWEEN 1 AND 5 AND substring(name from 1 for 1) = 'x'",
}


def _remake(db: Database, kind: str, name: str, definition: str) -> None:
    """Make an object again from the text that the server writes of it, as a restore does."""
    text = db.value(f"SELECT {definition}")
    db.execute(f"DROP {kind} {name}; SET ROLE owner; {text}; RESET ROLE")


def _same(db: Database, **declared: Any) -> None:
    before = db.snapshot()
    done = db.optimise(**declared)
    assert (done.failed, done.msg, done.actions) == (False, "", [])
    assert db.snapshot() == before


@pytest.mark.parametrize("predicate", PREDICATES.values(), ids=PREDICATES)
def test_an_index_is_the_same_after_a_restore(on_tables: Database, predicate: str) -> None:
    declared = {"indexes": [{"name": "x", "table": "t", "columns": ["id"], "where": predicate}]}
    assert on_tables.optimise(**declared).changed
    for _ in range(2):
        _remake(on_tables, "INDEX", "x", "pg_get_indexdef('x'::regclass)")
        _same(on_tables, **declared)


@pytest.mark.parametrize("predicate", PREDICATES.values(), ids=PREDICATES)
def test_what_the_server_shows_of_an_index_can_be_declared(on_tables: Database, predicate: str) -> None:
    on_tables.execute(f"SET ROLE owner; CREATE INDEX x ON t (id) WHERE {predicate}; RESET ROLE")
    shown = on_tables.value("SELECT pg_get_expr(indpred, indrelid) FROM pg_index WHERE indexrelid = 'x'::regclass")
    _same(on_tables, indexes=[{"name": "x", "table": "t", "columns": ["id"], "where": shown}])


@pytest.mark.parametrize("predicate", PREDICATES.values(), ids=PREDICATES)
def test_a_view_and_statistics_are_the_same_after_a_restore(on_tables: Database, predicate: str) -> None:
    declared = {
        "materialized_views": [{"name": "v", "query": f"SELECT id, n FROM t WHERE {predicate}"}],
        "statistics": [{"name": "s", "table": "t", "kinds": ["mcv"], "expressions": [predicate, "n + 1"]}],
    }
    assert on_tables.optimise(**declared).changed
    text = "'CREATE MATERIALIZED VIEW v AS ' || pg_get_viewdef('v'::regclass)"
    _remake(on_tables, "MATERIALIZED VIEW", "v", text)
    _remake(on_tables, "STATISTICS", "s", "pg_get_statisticsobjdef((SELECT oid FROM pg_statistic_ext))")
    _same(on_tables, **declared)


def test_a_view_is_the_same_after_a_restore_where_another_is_redefined(on_tables: Database) -> None:
    query = "SELECT id FROM t WHERE n BETWEEN 1 AND 5 AND active"
    views = [{"name": "v", "query": query}, {"name": "w", "query": "SELECT id FROM t"}]
    on_tables.settle(materialized_views=views)
    _remake(on_tables, "MATERIALIZED VIEW", "v", "'CREATE MATERIALIZED VIEW v AS ' || pg_get_viewdef('v'::regclass)")
    done = on_tables.settle(materialized_views=[views[0], {"name": "w", "query": "SELECT id, n FROM t"}])
    assert done.said == [("public.w", "replace")]
    on_tables.execute("DROP MATERIALIZED VIEW w")


def test_an_index_of_a_partitioned_table_is_the_same_after_a_restore(on_tables: Database) -> None:
    where = "state IN ('new', 'open') AND n BETWEEN 1 AND 5"
    declared = {"indexes": [{"name": "x", "table": "p", "columns": ["id"], "where": where}]}
    on_tables.settle(**declared)
    text = "replace(pg_get_indexdef('x'::regclass), ' ON ONLY ', ' ON ')"
    _remake(on_tables, "INDEX", "x", text)
    _same(on_tables, **declared)


def test_an_index_that_differs_otherwise_keeps_the_targets_of_its_expressions(on_tables: Database) -> None:
    on_tables.execute(
        """
        SET ROLE owner; CREATE INDEX x ON t (timezone('UTC', tz), (n + a)) WHERE n BETWEEN 1 AND 5 AND active;
        ALTER INDEX x ALTER COLUMN 1 SET STATISTICS 77; RESET ROLE
        """
    )
    columns = [{"expression": "tz AT TIME ZONE 'UTC'"}, {"expression": "n + a"}]
    index = {"name": "x", "table": "t", "columns": columns, "where": "n BETWEEN 1 AND 5 AND active"}
    on_tables.settle(indexes=[{**index, "storage_parameters": {"fillfactor": 70}}])
    facts = "SELECT attstattarget FROM pg_attribute WHERE attrelid = 'x'::regclass AND attnum = 1"
    assert on_tables.value(facts) == 77


# The call of a function, and the words of SQL for it.
CALLS = {
    "at time zone": ("timezone('UTC', tz)", "tz AT TIME ZONE 'UTC'"),
    "at time zone of a timestamp": ("timezone('Europe/Berlin', ts)", "ts AT TIME ZONE 'Europe/Berlin'"),
    "substring": ('"substring"(name, 1, 3)', "substring(name from 1 for 3)"),
    "substring of a pattern": ("\"substring\"(name, '[0-9]+')", "substring(name from '[0-9]+')"),
    "trim": ("btrim(name)", "trim(name)"),
    "trim of characters": ("btrim(name, 'xy')", "trim(both 'xy' from name)"),
    "trim at the end": ("rtrim(name)", "trim(trailing from name)"),
    "position": ("\"position\"(name, 'x')", "position('x' in name)"),
    "overlay": ("\"overlay\"(name, 'x', 2, 1)", "overlay(name placing 'x' from 2 for 1)"),
    "normalize": ("\"normalize\"(name, 'NFC')", "normalize(name, NFC)"),
    "is normalized": ("is_normalized(name, 'NFC')", "name IS NFC NORMALIZED"),
    "extract": ("\"extract\"('hour', ts)", "extract(hour from ts)"),
    "overlaps": (
        "\"overlaps\"(ts, ts, '2024-01-01'::timestamp, '2024-02-01'::timestamp)",
        "(ts, ts) OVERLAPS (timestamp '2024-01-01', timestamp '2024-02-01')",
    ),
    "a call in a call": ('lower(btrim("substring"(name, 2)))', "LOWER(trim(substring(name from 2)))"),
}
OTHERS = {
    "another zone": ("timezone('UTC', tz)", "tz AT TIME ZONE 'Europe/Berlin'"),
    "another length": ('"substring"(name, 1, 3)', "substring(name from 1 for 4)"),
    "another trim": ("btrim(name)", "trim(leading from name)"),
    "another function of the name": ("date_part('hour', ts)", "extract(hour from ts)"),
    "operands the other way round": ('"position"(name, state)', "position(name in state)"),
}


@pytest.mark.parametrize(("call", "words"), CALLS.values(), ids=CALLS)
def test_a_call_in_the_words_of_sql_is_the_same(on_tables: Database, call: str, words: str) -> None:
    on_tables.execute(
        f"""SET ROLE owner; CREATE INDEX x ON t (({call})); CREATE MATERIALIZED VIEW v AS SELECT {call} AS c FROM t;
        CREATE STATISTICS s ON ({call}) FROM t; RESET ROLE"""
    )
    _same(
        on_tables,
        indexes=[{"name": "x", "table": "t", "columns": [{"expression": words}]}],
        materialized_views=[{"name": "v", "query": f"SELECT {words} AS c FROM t"}],
        statistics=[{"name": "s", "table": "t", "expressions": [words]}],
    )


@pytest.mark.parametrize(("call", "words"), OTHERS.values(), ids=OTHERS)
def test_another_call_is_found(on_tables: Database, call: str, words: str) -> None:
    on_tables.execute(
        f"""SET ROLE owner; CREATE INDEX x ON t (({call})); CREATE MATERIALIZED VIEW v AS SELECT {call} AS c FROM t;
        CREATE STATISTICS s ON ({call}) FROM t; RESET ROLE"""
    )
    done = on_tables.settle(
        indexes=[{"name": "x", "table": "t", "columns": [{"expression": words}]}],
        materialized_views=[{"name": "v", "query": f"SELECT {words} AS c FROM t"}],
        statistics=[{"name": "s", "table": "t", "expressions": [words]}],
    )
    assert [name for name, _ in done.said] == ["public.x", "public.v", "public.s"]


def _key(name: str, opclass: str | None = None, **parameters: Any) -> dict[str, Any]:
    key = {"name": name, "opclass": opclass, "opclass_params": parameters}
    return {option: value for option, value in key.items() if value}


BLOOM, MULTI = "text_bloom_ops", "int4_minmax_multi_ops"
PARAMETERS_EQUAL = {
    "another order": (
        f"brin (name {BLOOM} (n_distinct_per_range = 100, false_positive_rate = 0.05))",
        _key("name", BLOOM, false_positive_rate=0.05, n_distinct_per_range=100),
    ),
    "other zeros": (
        f"brin (name {BLOOM} (false_positive_rate = '0.050', n_distinct_per_range = '1e2'))",
        _key("name", BLOOM, n_distinct_per_range="100.0", false_positive_rate="0.05"),
    ),
    "the default said in the database": (f"brin (n {MULTI} (values_per_range = 32))", _key("n", MULTI)),
    "the default declared": (f"brin (n {MULTI})", _key("n", MULTI, values_per_range=32)),
    "the default of a class that is the default": (
        "gist (words tsvector_ops (siglen = 124))",
        _key("words"),
    ),
}
PARAMETERS_DIFFERENT = {
    "another value": (f"brin (n {MULTI} (values_per_range = 16))", _key("n", MULTI, values_per_range=64)),
    "none but the default": (f"brin (n {MULTI} (values_per_range = 16))", _key("n", MULTI)),
    "another signature": ("gist (words tsvector_ops (siglen = 100))", _key("words")),
}


def _on_method(tail: str, key: dict[str, Any]) -> dict[str, Any]:
    return {"name": "x", "table": "t", "method": tail.split(maxsplit=1)[0], "columns": [key]}


@pytest.mark.parametrize(("tail", "key"), PARAMETERS_EQUAL.values(), ids=PARAMETERS_EQUAL)
def test_parameters_of_an_operator_class_are_compared_as_values(
    on_tables: Database, tail: str, key: dict[str, Any]
) -> None:
    on_tables.execute(f"SET ROLE owner; CREATE INDEX x ON t USING {tail}; RESET ROLE")
    _same(on_tables, indexes=[_on_method(tail, key)])


@pytest.mark.parametrize(("tail", "key"), PARAMETERS_DIFFERENT.values(), ids=PARAMETERS_DIFFERENT)
def test_another_parameter_of_an_operator_class_is_found(on_tables: Database, tail: str, key: dict[str, Any]) -> None:
    on_tables.execute(f"SET ROLE owner; CREATE INDEX x ON t USING {tail}; RESET ROLE")
    done = on_tables.settle(indexes=[_on_method(tail, key)])
    assert done.said == [("public.x", "replace")]


def test_only_what_differs_is_read_a_second_time(db15: Database) -> None:
    db15.execute("SET ROLE owner; CREATE TABLE t (a int, n int, active boolean); RESET ROLE")
    declared = {"indexes": [{"name": "x", "table": "t", "columns": ["a"], "where": "n BETWEEN 1 AND 5 AND active"}]}
    db15.settle(**declared)
    before = db15.optimise(**declared).result["query_count"]
    _remake(db15, "INDEX", "x", "pg_get_indexdef('x'::regclass)")
    assert before < db15.optimise(**declared).result["query_count"] <= before + 4
