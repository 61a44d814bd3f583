"""A wrong declaration is refused before the first change, with all of its problems, each naming its object."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Database

TABLES = """
CREATE SCHEMA closed;
CREATE TABLE closed.t (a int);
CREATE TABLE strangers (a int);
ALTER TABLE strangers OWNER TO stranger;
SET ROLE owner;
CREATE TABLE t (id serial PRIMARY KEY, a int, b int, c text, ts timestamp, CONSTRAINT t_ab UNIQUE (a, b));
CREATE TABLE other (a int, t_id int REFERENCES t (id));
CREATE INDEX on_other ON other (a);
CREATE VIEW plain_view AS SELECT * FROM t;
CREATE MATERIALIZED VIEW mv AS SELECT a, count(*) AS n FROM t GROUP BY a;
CREATE MATERIALIZED VIEW mv_on_mv AS SELECT a FROM mv;
CREATE VIEW on_mv AS SELECT a, n + 1 AS m FROM mv;
CREATE SEQUENCE a_sequence;
RESET ROLE;
"""
GOOD = {"name": "good", "table": "t", "columns": ["a"]}


def index(*columns: Any, **options: Any) -> dict[str, Any]:
    return {"indexes": [GOOD, {"name": "x", "table": "t", "columns": list(columns), **options}]}


def view(query: str | None = "SELECT a FROM t", **options: Any) -> dict[str, Any]:
    return {"indexes": [GOOD], "materialized_views": [{"name": "v", "query": query, **options}]}


# What is declared, which object is named, and a piece of what is said about it.
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown table": (index("a", table="nothing"), "index public.x", "table public.nothing does not exist"),
    "unknown schema": (index("a", schema="nowhere"), "index nowhere.x", "schema nowhere does not exist"),
    "unknown column": (index("zz"), "index public.x", 'column "zz" does not exist'),
    "column in another case": (index("A"), "index public.x", 'column "A" does not exist'),
    "expression given as a column": (index("lower(c)"), "index public.x", "write {expression: …}"),
    "unknown included column": (index("a", include=["zz"]), "index public.x", 'included column "zz"'),
    "column in an expression": (index({"expression": "lower(zz)"}), "index public.x", "zz"),
    "predicate that is not immutable": (index("a", where="ts > now()"), "index public.x", "IMMUTABLE"),
    "expression that is not immutable": (index({"expression": "c || now()"}), "index public.x", "IMMUTABLE"),
    "predicate of another type": (index("a", where="a + 1"), "index public.x", "boolean"),
    "predicate with a subquery": (index("a", where="a IN (SELECT 1)"), "index public.x", "subquery"),
    "predicate with an aggregate": (index("a", where="max(a) > 1"), "index public.x", "aggregate"),
    "syntax error": (index("a", where="a >"), "index public.x", "syntax error"),
    "unknown function": (index({"expression": "nothing(a)"}), "index public.x", "does not exist"),
    "unknown method": (index("a", method="tree"), "index public.x", "does not exist"),
    "unknown operator class": (index({"name": "a", "opclass": "nothing_ops"}), "index public.x", "nothing_ops"),
    "operator class of another type": (index({"name": "a", "opclass": "text_ops"}), "index public.x", "text_ops"),
    "unknown collation": (index({"name": "c", "collation": "nothing"}), "index public.x", "nothing"),
    "collation of a number": (index({"name": "a", "collation": "C"}), "index public.x", "collation"),
    "unknown parameter": (index("a", storage_parameters={"nothing": 1}), "index public.x", "nothing"),
    "parameter out of bounds": (index("a", storage_parameters={"fillfactor": 5}), "index public.x", "fillfactor"),
    "parameter of another method": (
        index("a", storage_parameters={"fastupdate": True}),
        "index public.x",
        "fastupdate",
    ),
    "parameter without a value": (index("a", storage_parameters={"fillfactor": None}), "index public.x", "no value"),
    "unknown tablespace": (index("a", tablespace="nowhere"), "index public.x", "tablespace nowhere does not exist"),
    "tablespace of others": (index("a", tablespace="pg_global"), "index public.x", "may not create in tablespace"),
    "unique hash": (index("a", method="hash", unique=True), "index public.x", "unique"),
    "include in a hash": (index("a", method="hash", include=["b"]), "index public.x", "included columns"),
    "order in a hash": (index({"name": "a", "order": "desc"}, method="hash"), "index public.x", "ASC/DESC"),
    "nulls not distinct without unique": (index("a", nulls_not_distinct=True), "index public.x", "needs unique"),
    "no columns": (index(), "index public.x", "columns is empty"),
    "too many columns": (index(*["a"] * 33), "index public.x", "32"),
    "a number for a column": (index(1), "index public.x", "quote it"),
    "neither name nor expression": (index({"order": "asc"}), "index public.x", "either name or expression"),
    "both name and expression": (
        index({"name": "a", "expression": "a"}),
        "index public.x",
        "either name or expression",
    ),
    "unknown option of a column": (index({"name": "a", "sort": "asc"}), "index public.x", "unknown options: sort"),
    "unknown order": (index({"name": "a", "order": "up"}), "index public.x", "order is 'up'"),
    "name of 64 bytes": (index("a", name="x" * 64), f"index public.{'x' * 64}", "64 bytes"),
    "name of 32 characters and 64 bytes": (index("a", name="é" * 32), f'index public."{"é" * 32}"', "64 bytes"),
    "empty name": (index("a", name=""), 'index public.""', "empty"),
    "a name of the module's own": (
        index("a", name="x__pgopt_new_0123abcd"),
        "index public.x__pgopt_new_0123abcd",
        "gives",
    ),
    "the mark in a comment": (index("a", comment="[managed by postgresql_optimization]"), "index public.x", "mark"),
    "two of one name": (index("a", name="good"), "public.good", "declared 2 times"),
    "the name of its table": (index("a", name="t"), "index public.t", "name of a table"),
    "the name of another table": (index("a", name="other"), "index public.other", "another relation"),
    "the name of a sequence": (index("a", name="a_sequence"), "index public.a_sequence", "another relation"),
    "the name of an index on another table": (index("a", name="on_other"), "index public.on_other", "exists on table"),
    "on a view": (index("a", table="plain_view"), "index public.x", "neither a table nor"),
    "on a sequence": (index("last_value", table="a_sequence"), "index public.x", "neither a table nor"),
    "on a stranger's table": (index("a", table="strangers"), "index public.x", "belongs to stranger"),
    "in a schema where nothing may be created": (index("a", schema="closed"), "index closed.x", "belongs to postgres"),
    "constraint referred to by another table": (
        index("b", name="t_pkey", unique=True),
        "index public.t_pkey",
        "foreign keys refer to it",
    ),
    "constraint that would not be unique": (index("a", name="t_ab"), "index public.t_ab", "not a unique btree index"),
    "constraint to be absent": (index(name="t_ab", state="absent"), "index public.t_ab", "backs the constraint t_ab"),
    "view without a query": (view(None), "materialized view public.v", "query is missing"),
    "view with a syntax error": (view("SELEC 1"), "materialized view public.v", "syntax error"),
    "view of an unknown table": (view("SELECT * FROM nothing"), "materialized view public.v", "nothing"),
    "view of an unknown column": (view("SELECT zz FROM t"), "materialized view public.v", "zz"),
    "view that is two statements": (view("SELECT 1; SELECT 2"), "materialized view public.v", "semicolon"),
    "view that writes": (view("DELETE FROM t RETURNING a"), "materialized view public.v", "syntax error"),
    "view that writes inside": (
        view("WITH d AS (DELETE FROM t RETURNING a) SELECT * FROM d"),
        "materialized view public.v",
        "data-modifying",
    ),
    "view with two columns of one name": (
        view("SELECT a, b AS a FROM t"),
        "materialized view public.v",
        "more than once",
    ),
    "view without a unique index": (view(refresh={"policy": "concurrently"}), "materialized view public.v", "unique"),
    "view with a partial unique index": (
        view(
            refresh={"policy": "concurrently"},
            indexes=[{"name": "x", "columns": ["a"], "unique": True, "where": "a > 0"}],
        ),
        "materialized view public.v",
        "unique",
    ),
    "view with a unique index on an expression": (
        view(
            refresh={"policy": "concurrently"},
            indexes=[{"name": "x", "columns": [{"expression": "a + 1"}], "unique": True}],
        ),
        "materialized view public.v",
        "unique",
    ),
    "index on a column that the view has not": (
        view(indexes=[{"name": "x", "columns": ["b"]}]),
        "index public.x",
        'column "b" does not exist',
    ),
    "view with the name of a table": (view(name="other"), "materialized view public.other", "no materialized view"),
    "view that another one stands on": (
        view("SELECT a, count(*) AS n FROM t WHERE a > 1 GROUP BY a", name="mv"),
        "materialized view public.mv",
        "mv_on_mv; a materialized view that is declared too",
    ),
    "view that a view stands on, without its column": (
        view("SELECT a FROM t", name="mv"),
        "materialized view public.mv",
        "on_mv",
    ),
    "view to be absent that a view stands on": (
        view(None, name="mv", state="absent"),
        "materialized view public.mv",
        "on_mv",
    ),
    "statistics on one column": (
        {"indexes": [GOOD], "statistics": [{"name": "s", "table": "t", "columns": ["a"]}]},
        "statistics public.s",
        "at least 2 columns",
    ),
    "statistics on nothing": (
        {"indexes": [GOOD], "statistics": [{"name": "s", "table": "t"}]},
        "statistics public.s",
        "needs columns or expressions",
    ),
    "statistics on an unknown column": (
        {"indexes": [GOOD], "statistics": [{"name": "s", "table": "t", "columns": ["a", "zz"]}]},
        "statistics public.s",
        'column "zz" does not exist',
    ),
    "target of an unknown column": (
        {"indexes": [GOOD], "column_statistics": [{"table": "t", "column": "zz", "target": 10}]},
        "column public.t.zz",
        "does not exist",
    ),
    "target too high": (
        {"indexes": [GOOD], "column_statistics": [{"table": "t", "column": "a", "target": 10001}]},
        "column public.t",
        "10000",
    ),
    "two targets of one column": (
        {"indexes": [GOOD], "column_statistics": [{"table": "t", "column": "a", "target": n} for n in (1, 2)]},
        "column public.t.a",
        "2 times",
    ),
    "parameter of no table": (
        {"indexes": [GOOD], "table_parameters": [{"table": "t", "parameters": {"nothing": 1}}]},
        "table public.t",
        "nothing",
    ),
    "toast parameter without a toast table": (
        {
            "indexes": [GOOD],
            "table_parameters": [{"table": "other", "parameters": {"toast.autovacuum_enabled": False}}],
        },
        "table public.other",
        "no TOAST table",
    ),
    "parameters of an unknown table": (
        {"indexes": [GOOD], "table_parameters": [{"table": "nothing", "parameters": {"fillfactor": 90}}]},
        "table public.nothing",
        "does not exist",
    ),
    "tablespace without room": (
        {**index("a"), "free_space": {"pg_default": 1000}},
        "tablespace pg_default",
        "are free",
    ),
    "space that must be known": (
        {**index("a"), "space_check": "required"},
        "tablespace pg_default",
        "not known",
    ),
}


@pytest.fixture(scope="module")
def tables(shared: Database) -> Database:
    shared.execute(TABLES)
    shared.execute("INSERT INTO t (a, b) SELECT n, n FROM generate_series(1, 1000) n; ANALYZE t")
    return shared


@pytest.mark.parametrize(("declared", "name", "piece"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_and_nothing_changes(tables: Database, declared: dict[str, Any], name: str, piece: str) -> None:
    before = tables.snapshot()
    done = tables.optimise(**declared)
    assert done.failed
    assert not done.changed
    about = [problem["problem"] for problem in done.result["problems"] if problem["object"] == name]
    assert [text for text in about if piece in text], done.msg
    assert f"{name}: " in done.msg
    assert tables.snapshot() == before
    check = tables.optimise(check=True, **declared)
    assert (check.msg, check.result["problems"]) == (done.msg, done.result["problems"])


def test_all_problems_are_reported_together(tables: Database) -> None:
    declared = {
        "indexes": [
            {"name": "y" * 70, "table": "t", "columns": ["a"]},
            {"name": "unknown_column", "table": "t", "columns": ["zz"]},
            {"name": "not_immutable", "table": "t", "columns": ["a"], "where": "ts > now()"},
            {"name": "breaks_out", "table": "t", "columns": [{"expression": "a); DROP TABLE t; --"}]},
        ],
        "materialized_views": [{"name": "v", "query": "SELECT nothing", "refresh": {"policy": "concurrently"}}],
        "statistics": [{"name": "s", "table": "t", "columns": ["a"]}],
    }
    done = tables.optimise(**declared)
    named = {problem["object"] for problem in done.result["problems"]}
    assert named == {
        f"index public.{'y' * 70}",
        "index public.unknown_column",
        "index public.not_immutable",
        "index public.breaks_out",
        "materialized view public.v",
        "statistics public.s",
    }


def test_without_a_server_what_is_wrong_is_still_said(db15: Database) -> None:
    done = db15.optimise(login_port=1, indexes=[{"name": "x", "table": "t", "columns": [1]}])
    assert done.failed
    assert "index public.x: column is 1" in done.msg
    assert "connection: " in done.msg
