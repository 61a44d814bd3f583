"""Tables with columns of types that their owner may not use: what the server lets it do, the module does."""

from __future__ import annotations

from typing import Any

import psycopg2
import pytest
from conftest import Database

TABLES = """
CREATE SCHEMA types; GRANT USAGE ON SCHEMA types TO owner;
CREATE TYPE kind AS ENUM ('a', 'b', 'c');
CREATE TYPE types."Kind" AS ENUM ('x', 'y');
CREATE DOMAIN types.positive AS int CHECK (VALUE > 0);
CREATE DOMAIN types.word AS varchar(20) COLLATE "C";
CREATE DOMAIN types.kinds AS kind;
CREATE TYPE types.pair AS (k kind, n int);
CREATE TYPE types.span AS RANGE (SUBTYPE = int);
CREATE TABLE t (
    id int PRIMARY KEY, plain text, k kind NOT NULL, other types."Kind", n types.positive, w types.word, d types.kinds,
    p types.pair, s types.span, many kind[], b xid8, g text GENERATED ALWAYS AS (plain || 'x') STORED
);
CREATE TABLE parted (id int, k kind) PARTITION BY LIST (k);
CREATE TABLE parted_a PARTITION OF parted FOR VALUES IN ('a');
CREATE MATERIALIZED VIEW m AS SELECT id, k FROM t;
ALTER TABLE t OWNER TO owner; ALTER TABLE parted OWNER TO owner; ALTER TABLE parted_a OWNER TO owner;
ALTER MATERIALIZED VIEW m OWNER TO owner;
"""
REVOKE = """
REVOKE USAGE ON TYPE kind, types."Kind", types.positive, types.word, types.kinds, types.pair, types.span, xid8
    FROM PUBLIC;
"""


@pytest.fixture
def tables(db: Database) -> Database:
    db.execute(TABLES)
    db.execute(REVOKE)
    return db


def index(*columns: Any, **options: Any) -> dict[str, Any]:
    return {"name": "x", "table": "t", "columns": list(columns), **options}


INDEXES = {
    "another column": index("plain"),
    "an enum": index("k", "id"),
    "an enum of another schema": index("other"),
    "a domain": index("n"),
    "a domain of text": index({"expression": "lower(w)"}, where="w > 'a'"),
    "a domain of an enum": index("d"),
    "a range": index("s", method="gist"),
    "an array": index("many", method="gin"),
    "a part of a composite": index({"expression": "(p).n"}),
    "a generated column": index("g"),
    "a predicate": index("id", where="k IS NOT NULL AND n > 3"),
    "included": index("id", include=["k", "p"]),
    "a partitioned table": index("id", "k", table="parted"),
    "a materialized view": index("id", table="m"),
}


# A constant of such a type: newer releases want USAGE for it, older ones do not.
CONSTANTS = {
    "a predicate": index("id", where="k = 'a'"),
    "a predicate with casts": index("id", where="k IN ('a'::kind, CAST('b' AS public.kind))"),
    "a predicate with a cast of another schema": index("id", where="""other = 'x'::types."Kind" AND n > 3"""),
    "an expression": index({"expression": "(k > 'a')"}),
}


@pytest.mark.parametrize("declared", CONSTANTS.values(), ids=CONSTANTS)
def test_a_constant_is_taken_where_the_server_takes_it(db: Database, declared: dict[str, Any]) -> None:
    db.execute(TABLES)
    db.settle(indexes=[declared])
    db.execute(REVOKE)
    assert not db.optimise(indexes=[declared]).changed
    definition = db.definition("x")
    db.execute("SET ROLE owner; DROP INDEX x; RESET ROLE")
    try:
        db.execute(f"SET ROLE owner; {definition}; DROP INDEX x")
        taken = True
    except psycopg2.errors.InsufficientPrivilege:
        taken = False
    db.execute("RESET ROLE")
    done = db.optimise(check=True, indexes=[declared])
    assert done.failed is not taken, done.msg
    if done.failed:
        assert "index public.x: permission denied for type" in done.msg
    else:
        db.settle(indexes=[declared])


@pytest.mark.parametrize("declared", INDEXES.values(), ids=INDEXES)
def test_an_index_is_made_and_found_again(tables: Database, declared: dict[str, Any]) -> None:
    done = tables.settle(indexes=[declared])
    assert done.said == [("public.x", "create")]


@pytest.mark.parametrize("declared", INDEXES.values(), ids=INDEXES)
def test_an_index_of_before_is_left_alone_and_another_one_is_replaced(db: Database, declared: dict[str, Any]) -> None:
    db.execute(TABLES)
    db.settle(indexes=[declared])
    db.execute(REVOKE)
    assert not db.optimise(indexes=[declared]).changed
    again = {**declared, "columns": [*declared["columns"], "id"], "include": [], "method": "btree"}
    if declared.get("method", "btree") == "btree":
        assert db.settle(indexes=[again]).said == [("public.x", "replace")]


def test_statistics_and_parameters_are_made(tables: Database) -> None:
    done = tables.settle(
        statistics=[{"name": "s", "table": "t", "columns": ["k", "n"], "expressions": ["lower(w)"]}],
        table_parameters=[
            {"table": "t", "parameters": {"fillfactor": 80}}, {"table": "parted", "parameters": {"fillfactor": 70}}
        ],
        column_statistics=[{"table": "t", "column": "k", "target": 200}],
    )  # fmt: skip
    assert len(done.said) == 4


NEEDED = {
    "a key": index("b"),
    "included": index("id", include=["b"]),
    "an expression": index({"expression": "b::text"}),
    "a predicate": index("id", where='"b" IS NULL'),
}


@pytest.mark.parametrize("declared", NEEDED.values(), ids=NEEDED)
def test_what_cannot_be_compared_is_refused_with_the_way_out(tables: Database, declared: dict[str, Any]) -> None:
    before = tables.snapshot()
    done = tables.optimise(indexes=[declared, index("id", name="y")])
    assert done.failed
    assert 'column "b" is of type xid8, which owner may not use: GRANT USAGE ON TYPE xid8 TO owner' in done.msg
    assert "index public.y" not in done.msg
    assert tables.snapshot() == before
    tables.execute("GRANT USAGE ON TYPE xid8 TO owner")
    assert not tables.optimise(check=True, indexes=[index("b")]).failed


def view(query: str, **more: Any) -> dict[str, Any]:
    return {"name": "v", "query": query, "indexes": [{"name": "v_id", "columns": ["id", "k"]}], **more}


def test_a_view_with_such_a_column_is_left_alone_and_another_one_is_refused(db: Database) -> None:
    db.execute(TABLES)
    db.settle(materialized_views=[view("SELECT id, k FROM t WHERE id BETWEEN 1 AND 9")])
    db.execute(REVOKE)
    done = db.optimise(materialized_views=[view("SELECT id, t.k FROM public.t WHERE (id >= 1) AND (id <= 9)")])
    assert not done.failed, done.msg
    assert not done.changed
    indexed = view("SELECT id, k FROM t WHERE id BETWEEN 1 AND 9", storage_parameters={"fillfactor": 70})
    indexed["indexes"] += [{"name": "v_k", "columns": ["k"]}]
    assert {name for name, _ in db.settle(materialized_views=[indexed]).said} == {"public.v", "public.v_k"}
    before = db.snapshot()
    done = db.optimise(materialized_views=[view("SELECT id, k FROM t WHERE id > 1")])
    assert done.failed
    assert "materialized view public.v: permission denied for type kind" in done.msg
    assert db.snapshot() == before
