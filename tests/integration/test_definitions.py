"""Is the same definition found equal, however it is spelled, and another one found different?

Each case makes an index with plain SQL, as anybody would, and then asks the module about a declaration of that name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Database

TABLES = """
CREATE EXTENSION IF NOT EXISTS plpgsql;
SET ROLE owner;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE FUNCTION norm(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(trim($1))';
CREATE TABLE t (
    id bigserial PRIMARY KEY, a int, b int NOT NULL, c text, d varchar(20), e float8, f numeric(10, 4),
    ts timestamp, tz timestamptz, day date, doc jsonb, words tsvector, tags text[], flag boolean, m mood, addr inet,
    r int4range, p point, k char(3), ba bytea, u uuid, "Mixed Case" int, "select" int, "we""ird" text, é text,
    g int GENERATED ALWAYS AS (a * 2) STORED,
    CONSTRAINT t_ab UNIQUE (a, b)
);
CREATE SCHEMA "Other One";
CREATE TABLE "Other One"."My Table" ("Key" int, "Value" text);
RESET ROLE;
"""


@pytest.fixture(scope="module")
def tables(shared: Database) -> Database:
    shared.execute(TABLES)
    return shared


@pytest.fixture
def on_tables(tables: Database) -> Iterator[Database]:
    yield tables
    tables.execute('RESET ROLE; DROP INDEX IF EXISTS x; DROP INDEX IF EXISTS "Other One".x')


def index(*columns: Any, **options: Any) -> dict[str, Any]:
    return {"name": "x", "table": "t", "columns": list(columns), **options}


def expression(text: str, **options: Any) -> dict[str, Any]:
    return {"expression": text, **options}


def column(name: str, **options: Any) -> dict[str, Any]:
    return {"name": name, **options}


EQUAL = {
    "a column": ("(a)", index("a")),
    "a dict": ("(a)", index(column("a"))),
    "ascending said": ("(a)", index(column("a", order="asc"))),
    "ascending nulls last said": ("(a)", index(column("a", order="asc", nulls="last"))),
    "nulls last alone": ("(a)", index(column("a", nulls="last"))),
    "descending implies nulls first": ("(a DESC)", index(column("a", order="desc", nulls="first"))),
    "descending in upper case": ("(a DESC NULLS FIRST)", index(column("a", order="DESC"))),
    "descending nulls last": ("(a desc nulls last)", index(column("a", order="desc", nulls="last"))),
    "btree said": ("USING btree (a, b)", index("a", "b", method="BTREE")),
    "default operator class said": ("(c)", index(column("c", opclass="text_ops"))),
    "default operator class with its schema": ("(a)", index(column("a", opclass="pg_catalog.int4_ops"))),
    "default collation said": ("(c)", index(column("c", collation="default"))),
    "collation with its schema": ('(c COLLATE "C")', index(column("c", collation=["pg_catalog", "C"]))),
    "varchar with pattern ops": ("(d varchar_pattern_ops)", index(column("d", opclass="varchar_pattern_ops"))),
    "expression in other words": ("(lower(c))", index(expression("LOWER( c )"))),
    "expression with a cast said": ("(lower(d))", index(expression("lower(d::text)"))),
    "expression with cast() instead of ::": ("((a::numeric))", index(expression("CAST(a AS numeric)"))),
    "expression with needless parentheses": ("((a + b))", index(expression("((a) + (b))"))),
    "expression that is a column": ("(a)", index(expression("a"))),
    "expression with a comment": ("((a + b))", index(expression("a + b -- the sum"))),
    "expression with the table's name": ("((a + b))", index(expression("t.a + t.b"))),
    "expression with a function in the search path": ("(norm(c))", index(expression("public.norm(c)"))),
    "coalesce with a literal": ("(COALESCE(c, ''))", index(expression("coalesce(c, ''::text)"))),
    "json arrow": ("((doc ->> 'x'))", index(expression("doc->>'x'::text"))),
    "extract and its function": ("(date_part('hour', ts))", index(expression("date_part('hour'::text, ts)"))),
    "date_trunc": ("(date_trunc('day', ts))", index(expression("DATE_TRUNC('day', ts)"))),
    "predicate with a float": ("(a) WHERE e > 0", index("a", where="e > 0::double precision")),
    "predicate with parentheses": ("(a) WHERE a > 1 AND b < 2", index("a", where="((a > 1) and (b < 2))")),
    "predicate with other negation": ("(a) WHERE b <> 2", index("a", where="b != 2")),
    "predicate between": ("(a) WHERE a BETWEEN 1 AND 5", index("a", where="a >= 1 AND a <= 5")),
    "predicate in and any": ("(a) WHERE c IN ('x', 'y')", index("a", where="c = ANY (ARRAY['x'::text, 'y'::text])")),
    "predicate boolean": ("(a) WHERE flag", index("a", where='"flag"')),
    "predicate is true": ("(a) WHERE flag IS TRUE", index("a", where="(flag) is true")),
    "predicate timestamp literal": (
        "(a) WHERE ts > '2025-01-01'",
        index("a", where="ts > timestamp '2025-01-01 00:00:00'"),
    ),
    "predicate instant in another zone": (
        "(a) WHERE tz > '2025-01-01 02:00+02'",
        index("a", where="tz > timestamptz '2025-01-01 00:00:00Z'"),
    ),
    "predicate enum": ("(a) WHERE m = 'ok'", index("a", where="m = 'ok'::public.mood")),
    "predicate like": ("(a) WHERE c LIKE 'x%'", index("a", where="c ~~ 'x%'")),
    "include": ("(a) INCLUDE (c, e)", index("a", include=["c", "e"])),
    "unique": ("UNIQUE (a)", index("a", unique=True)),
    "unique nulls not distinct": ("UNIQUE (a) NULLS NOT DISTINCT", index("a", unique=True, nulls_not_distinct=True)),
    "fillfactor as a number": ("(a) WITH (fillfactor = 70)", index("a", storage_parameters={"fillfactor": 70})),
    "fillfactor as a text": ("(a) WITH (fillfactor = 70)", index("a", storage_parameters={"FillFactor": "70"})),
    "fillfactor that is the default": ("(a)", index("a", storage_parameters={"fillfactor": 90})),
    "parameters in another order": (
        "(a) WITH (deduplicate_items = off, fillfactor = 80)",
        index("a", storage_parameters={"fillfactor": 80, "deduplicate_items": False}),
    ),
    "boolean parameter in another word": (
        "USING gin (tags) WITH (fastupdate = off)",
        index("tags", method="gin", storage_parameters={"fastupdate": "false"}),
    ),
    "boolean parameter that is the default": (
        "USING gin (tags)",
        index("tags", method="gin", storage_parameters={"fastupdate": True}),
    ),
    "gin on json": ("USING gin (doc jsonb_path_ops)", index(column("doc", opclass="jsonb_path_ops"), method="gin")),
    "gin on words": (
        "USING gin (to_tsvector('english', c))",
        index(expression("to_tsvector('english', c)"), method="gin"),
    ),
    "hash": ("USING hash (c)", index("c", method="hash")),
    "brin with pages": (
        "USING brin (ts) WITH (pages_per_range = 32)",
        index("ts", method="brin", storage_parameters={"pages_per_range": 32}),
    ),
    "brin with operator class parameters": (
        "USING brin (ts timestamp_minmax_multi_ops(values_per_range = 16))",
        index(
            column("ts", opclass="timestamp_minmax_multi_ops", opclass_params={"values_per_range": 16}), method="brin"
        ),
    ),
    "gist on a range": ("USING gist (r)", index("r", method="gist")),
    "spgist on a point": ("USING spgist (p)", index("p", method="spgist")),
    "gist with operator class": (
        "USING gist (addr inet_ops)",
        index(column("addr", opclass="inet_ops"), method="gist"),
    ),
    "mixed-case column": ('("Mixed Case")', index("Mixed Case")),
    "column with a keyword's name": ('("select")', index("select")),
    "column with a quote": ('("we""ird")', index('we"ird')),
    "column beyond ASCII": ("(é)", index("é")),
    "generated column": ("(g)", index("g")),
    "schema and table that need quotes": (
        'ON "Other One"."My Table" ("Value", "Key" DESC)',
        {"name": "x", "schema": "Other One", "table": "My Table", "columns": ["Value", column("Key", order="desc")]},
    ),
    "tablespace said": ("(a)", index("a", tablespace="pg_default")),
    "comment said": ("(a); COMMENT ON INDEX x IS 'Why'", index("a", comment="Why")),
    "comment not said": ("(a); COMMENT ON INDEX x IS 'Why'", index("a")),
    "comment taken away where there is none": ("(a)", index("a", comment="")),
}

DIFFERENT = {
    "another column": ("(b)", index("a")),
    "another order of columns": ("(a, b)", index("b", "a")),
    "one column more": ("(a)", index("a", "b")),
    "one column less": ("(a, b)", index("a")),
    "descending": ("(a)", index(column("a", order="desc"))),
    "not descending": ("(a DESC)", index("a")),
    "nulls first": ("(a)", index(column("a", nulls="first"))),
    "descending with nulls last": ("(a DESC)", index(column("a", order="desc", nulls="last"))),
    "collation": ("(c)", index(column("c", collation="C"))),
    "another collation": ('(c COLLATE "C")', index(column("c", collation="POSIX"))),
    "operator class": ("(c)", index(column("c", opclass="text_pattern_ops"))),
    "operator class of varchar": ("(d)", index(column("d", opclass="varchar_pattern_ops"))),
    "no operator class": ("(c text_pattern_ops)", index("c")),
    "another json operator class": ("USING gin (doc)", index(column("doc", opclass="jsonb_path_ops"), method="gin")),
    "operator class parameters": (
        "USING brin (ts timestamp_minmax_multi_ops(values_per_range = 16))",
        index(
            column("ts", opclass="timestamp_minmax_multi_ops", opclass_params={"values_per_range": 32}), method="brin"
        ),
    ),
    "method hash": ("(c)", index("c", method="hash")),
    "method brin": ("(ts)", index("ts", method="brin")),
    "expression instead of column": ("(c)", index(expression("lower(c)"))),
    "column instead of expression": ("(lower(c))", index("c")),
    "another function": ("(lower(c))", index(expression("upper(c)"))),
    "another operator": ("((a + b))", index(expression("a - b"))),
    "operands exchanged": ("((a + b))", index(expression("b + a"))),
    "another cast": ("((a::numeric))", index(expression("a::bigint"))),
    "another json key": ("((doc ->> 'x'))", index(expression("doc ->> 'X'"))),
    "json as json": ("((doc ->> 'x'))", index(expression("doc -> 'x'"))),
    "predicate": ("(a)", index("a", where="a > 1")),
    "no predicate": ("(a) WHERE a > 1", index("a")),
    "another predicate": ("(a) WHERE a > 1", index("a", where="a > 2")),
    "predicate not strict": ("(a) WHERE a > 1", index("a", where="a >= 1")),
    "predicate is true and equals": ("(a) WHERE flag", index("a", where="flag IS TRUE")),
    "predicate or": ("(a) WHERE a > 1 AND b > 1", index("a", where="a > 1 OR b > 1")),
    "predicate not null": ("(a) WHERE c IS NULL", index("a", where="c IS NOT NULL")),
    "predicate another instant": (
        "(a) WHERE tz > '2025-01-01 00:00+02'",
        index("a", where="tz > timestamptz '2025-01-01 00:00:00Z'"),
    ),
    "predicate's letter case": ("(a) WHERE c = 'x'", index("a", where="c = 'X'")),
    "include": ("(a)", index("a", include=["b"])),
    "no include": ("(a) INCLUDE (b)", index("a")),
    "another include": ("(a) INCLUDE (b)", index("a", include=["c"])),
    "include in another order": ("(a) INCLUDE (b, c)", index("a", include=["c", "b"])),
    "key instead of include": ("(a) INCLUDE (b)", index("a", "b")),
    "unique": ("(a)", index("a", unique=True)),
    "not unique": ("UNIQUE (a)", index("a")),
    "nulls not distinct": ("UNIQUE (a)", index("a", unique=True, nulls_not_distinct=True)),
    "nulls distinct": ("UNIQUE (a) NULLS NOT DISTINCT", index("a", unique=True)),
    "fillfactor": ("(a)", index("a", storage_parameters={"fillfactor": 70})),
    "another fillfactor": ("(a) WITH (fillfactor = 70)", index("a", storage_parameters={"fillfactor": 80})),
    "no fillfactor": ("(a) WITH (fillfactor = 70)", index("a")),
    "pages per range": ("USING brin (ts)", index("ts", method="brin", storage_parameters={"pages_per_range": 16})),
    "fastupdate": ("USING gin (tags)", index("tags", method="gin", storage_parameters={"fastupdate": False})),
    "column whose name differs in case": ('("select")', index("Mixed Case")),
    "comment": ("(a); COMMENT ON INDEX x IS 'Why'", index("a", comment="Because")),
    "comment to be taken away": ("(a); COMMENT ON INDEX x IS 'Why'", index("a", comment="")),
    "comment to be made": ("(a)", index("a", comment="Why")),
}


def _create(db: Database, sql: str) -> None:
    unique = "UNIQUE " if sql.startswith("UNIQUE") else ""
    tail = sql.removeprefix("UNIQUE ")
    where = "" if tail.startswith("ON ") else "ON t "
    db.execute(f"SET ROLE owner; CREATE {unique}INDEX x {where}{tail}; RESET ROLE")


@pytest.mark.parametrize(("sql", "declared"), EQUAL.values(), ids=EQUAL)
def test_another_spelling_is_the_same_definition(on_tables: Database, sql: str, declared: dict[str, Any]) -> None:
    _create(on_tables, sql)
    before = on_tables.snapshot()
    done = on_tables.optimise(indexes=[declared])
    assert (done.failed, done.msg, done.actions) == (False, "", [])
    assert on_tables.snapshot() == before


@pytest.mark.parametrize(("sql", "declared"), DIFFERENT.values(), ids=DIFFERENT)
def test_another_definition_is_found(on_tables: Database, sql: str, declared: dict[str, Any]) -> None:
    _create(on_tables, sql)
    before = on_tables.snapshot()
    done = on_tables.optimise(check=True, indexes=[declared])
    assert (done.failed, [name for name, _ in done.said]) == (False, ["public.x"])
    assert done.changed
    assert on_tables.snapshot() == before


@pytest.mark.faults
@pytest.mark.parametrize(("sql", "declared"), DIFFERENT.values(), ids=DIFFERENT)
def test_another_definition_is_made_as_declared(on_tables: Database, sql: str, declared: dict[str, Any]) -> None:
    _create(on_tables, sql)
    done = on_tables.settle(indexes=[declared])
    assert [name for name, _ in done.said] == ["public.x"]


VIEWS_EQUAL = {
    "letters and space": "select  A, count( * ) as N from T group by A",
    "a semicolon": "SELECT a, count(*) AS n FROM t GROUP BY a;",
    "a comment": "SELECT a, count(*) AS n -- how many\nFROM t /* of all */ GROUP BY a -- each",
    "the schema said": "SELECT t.a, count(*) AS n FROM public.t GROUP BY t.a",
    "a position": "SELECT a, count(*) AS n FROM t GROUP BY 1",
    "an alias without AS": "SELECT a, count(*) n FROM t GROUP BY a",
}
VIEWS_DIFFERENT = {
    "another column": "SELECT b AS a, count(*) AS n FROM t GROUP BY b",
    "another name": "SELECT a, count(*) AS m FROM t GROUP BY a",
    "another function": "SELECT a, count(a) AS n FROM t GROUP BY a",
    "a predicate": "SELECT a, count(*) AS n FROM t WHERE a > 0 GROUP BY a",
    "one column more": "SELECT a, count(*) AS n, max(b) AS b FROM t GROUP BY a",
    "one column less": "SELECT a FROM t GROUP BY a",
    "another type": "SELECT a, count(*)::int AS n FROM t GROUP BY a",
    "another order": "SELECT a, count(*) AS n FROM t GROUP BY a ORDER BY a",
}


@pytest.fixture
def view(tables: Database) -> Iterator[Database]:
    tables.execute(
        "SET ROLE owner; CREATE MATERIALIZED VIEW v AS SELECT a, count(*) AS n FROM t GROUP BY a; RESET ROLE"
    )
    yield tables
    tables.execute("DROP MATERIALIZED VIEW v")


@pytest.mark.parametrize("query", VIEWS_EQUAL.values(), ids=VIEWS_EQUAL)
def test_another_spelling_is_the_same_query(view: Database, query: str) -> None:
    before = view.snapshot()
    done = view.optimise(materialized_views=[{"name": "v", "query": query}])
    assert (done.failed, done.msg, done.actions) == (False, "", [])
    assert view.snapshot() == before


@pytest.mark.parametrize("query", VIEWS_DIFFERENT.values(), ids=VIEWS_DIFFERENT)
def test_another_query_is_found_and_made(view: Database, query: str) -> None:
    done = view.settle(materialized_views=[{"name": "v", "query": query}])
    assert done.said == [("public.v", "replace")]


def test_there_are_enough_cases() -> None:
    assert len(EQUAL) >= 40
    assert len(DIFFERENT) >= 40
