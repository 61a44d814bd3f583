"""What a run would fail at is refused by the check, though no twin shows it."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Database

TABLES = """
CREATE TABLE parted (id int, k int) PARTITION BY RANGE (k);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (k);
CREATE TABLE parted_2 PARTITION OF parted_1 FOR VALUES FROM (0) TO (10);
CREATE TABLE t (id int, a text);
INSERT INTO t VALUES (1, 'x');
CREATE FUNCTION f(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END';
CREATE FUNCTION same(text, text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 = $2; END';
CREATE OPERATOR === (FUNCTION = same, LEFTARG = text, RIGHTARG = text);
REVOKE EXECUTE ON FUNCTION f(text), same(text, text) FROM PUBLIC;
CREATE DOMAIN dm AS int; CREATE TYPE en AS ENUM ('a'); CREATE TYPE "Odd Range" AS RANGE (SUBTYPE = int);
CREATE TYPE comp AS (a int);
CREATE SCHEMA other; CREATE DOMAIN other.dm AS int; GRANT ALL ON SCHEMA other TO owner;
ALTER TABLE parted OWNER TO owner; ALTER TABLE parted_1 OWNER TO owner; ALTER TABLE t OWNER TO owner;
"""


@pytest.fixture
def tables(db: Database) -> Database:
    db.execute(TABLES)
    return db


def index(**more: Any) -> dict[str, Any]:
    return {"indexes": [{"name": "x", "table": "t", "columns": ["id"], **more}]}


def view(name: str, **more: Any) -> dict[str, Any]:
    return {"materialized_views": [{"name": name, "query": "SELECT id, a FROM t", **more}]}


REFUSED = {
    "an index of a partition of others": (
        index(table="parted"), "index public.x: has partitions that belong to roles of which owner is not a member: "
        "public.parted_2 of postgres; ALTER TABLE … OWNER TO",
    ),
    "parameters of a partition of others": (
        {"table_parameters": [{"table": "parted", "parameters": {"fillfactor": 70}}]}, "public.parted_2 of postgres",
    ),
    "an expression": (
        index(columns=[{"expression": "f(a)"}]),
        "index public.x: owner may not execute f(text): GRANT EXECUTE ON FUNCTION f(text) TO owner",
    ),
    "a predicate": (index(where="f(a) = 'x'"), "permission denied for function f"),
    "an operator": (index(columns=[{"expression": "(a === 'x')"}]), "owner may not execute same(text,text)"),
    "statistics": (
        {"statistics": [{"name": "s", "table": "t", "columns": ["id"], "expressions": ["f(a)"]}]},
        "statistics public.s: owner may not execute f(text)",
    ),
    "an index of a new view": (
        view("v", indexes=[{"name": "x", "columns": [{"expression": "f(a)"}]}]), "owner may not execute f(text)",
    ),
    "a query": (view("v", query="SELECT f(a) AS a FROM t"), "permission denied for function f"),
    "a view like a domain": (view("dm"), "materialized view public.dm: a type of this name exists"),
    "a view like an enum": (view("en"), "materialized view public.en: a type of this name exists"),
    "a view like a range": (view("Odd Range"), 'materialized view public."Odd Range": a type of this name exists'),
    "a view like a composite": (view("comp"), "materialized view public.comp: a relation of this name exists"),
    "a view like a type of another schema": (view("dm", schema="other"), "materialized view other.dm: a type of this"),
}  # fmt: skip


@pytest.mark.parametrize(("declared", "problem"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_by_the_check_as_by_the_run(tables: Database, declared: dict[str, Any], problem: str) -> None:
    before = tables.snapshot()
    for check in (True, False):
        done = tables.optimise(check=check, **declared)
        assert done.failed
        assert problem in done.msg
        assert "nothing was changed" in done.msg
        assert tables.snapshot() == before


def test_an_index_with_such_a_function_that_is_there_is_left_alone(tables: Database) -> None:
    declared = index(columns=[{"expression": "f(a)"}])
    tables.execute("GRANT EXECUTE ON FUNCTION f(text) TO owner")
    tables.settle(**declared)
    tables.execute("REVOKE EXECUTE ON FUNCTION f(text) FROM owner")
    done = tables.optimise(**declared)
    assert not done.failed, done.msg
    assert not done.changed


def test_a_view_may_have_the_name_of_the_type_of_an_array(tables: Database) -> None:
    assert tables.settle(**view("_en")).said == [("public._en", "create")]


def test_a_virtual_column_has_no_statistics(tables: Database) -> None:
    if tables.server.major < 18:
        tables.execute("ALTER TABLE t ADD v int GENERATED ALWAYS AS (id * 2) STORED")
        tables.settle(column_statistics=[{"table": "t", "column": "v", "target": 50}])
        return
    tables.execute("ALTER TABLE t ADD v int GENERATED ALWAYS AS (id * 2) VIRTUAL")
    done = tables.optimise(check=True, column_statistics=[{"table": "t", "column": "v", "target": 50}])
    assert done.failed
    assert "column public.t.v: is a virtual generated column, of which the server has no statistics" in done.msg
    assert not tables.optimise(check=True, column_statistics=[{"table": "t", "column": "v", "target": -1}]).failed


PATHS = {
    "an index": index(columns=[{"expression": "norm(a)"}]),
    "a view": view("v", query="SELECT norm(a) AS n FROM t"),
    "statistics": {"statistics": [{"name": "s", "table": "t", "columns": ["id"], "expressions": ["norm(a)"]}]},
}


@pytest.mark.parametrize("declared", PATHS.values(), ids=PATHS)
def test_a_function_that_needs_a_search_path_is_named_with_the_way_out(
    tables: Database, declared: dict[str, Any]
) -> None:
    tables.execute(
        "SET ROLE owner; CREATE SCHEMA app;"
        "CREATE FUNCTION app.helper(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';"
        "CREATE FUNCTION norm(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN helper($1); END';"
        "RESET ROLE"
    )
    done = tables.optimise(**declared)
    assert done.failed
    assert "function helper(text) does not exist" in done.msg
    assert "norm(text) does not find what it names" in done.msg
    tables.execute("ALTER FUNCTION norm(text) SET search_path = app")
    tables.settle(**declared)
