# ruff: noqa: S608 - tests make their own SQL, and no secrets
"""What is hostile or only strange: refused with the catalog unchanged or, where it is a name, taken as that name."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from conftest import Database

pytestmark = pytest.mark.faults

TABLES = """
SET ROLE owner;
CREATE TABLE t (a int, b int, c text);
INSERT INTO t SELECT n, n, 'x' FROM generate_series(1, 100) n;
CREATE MATERIALIZED VIEW mv AS SELECT a FROM t;
ANALYZE t;
RESET ROLE;
"""
# Each is a piece that leaves its place, in one way or another; none is valid SQL where it is put.
PAYLOADS = [
    "a; DROP TABLE t",
    "a); DROP TABLE t; --",
    "a) ; COMMIT; DROP TABLE t; BEGIN; SELECT (1",
    "'; DROP TABLE t; --",
    '"; DROP TABLE t; --',
    "a $$; DROP TABLE t; --",
    "a /* ; DROP TABLE t; ",
    "a */ ; DROP TABLE t; /*",
    "E'x'\n'\\''; DROP TABLE t; --'",
    "a\0; DROP TABLE t",
    "a) INCLUDE (b",
    "a) TABLESPACE pg_default --",
    "%(a)s; DROP TABLE t",
    "\ud800",
    "x" * 64,
    "$1",
]
IN_AN_INDEX: dict[str, Any] = {
    "table": lambda text: {"table": text, "columns": ["a"]},
    "schema": lambda text: {"schema": text, "table": "t", "columns": ["a"]},
    "column": lambda text: {"table": "t", "columns": [text]},
    "included column": lambda text: {"table": "t", "columns": ["a"], "include": [text]},
    "expression": lambda text: {"table": "t", "columns": [{"expression": text}]},
    "predicate": lambda text: {"table": "t", "columns": ["a"], "where": text},
    "method": lambda text: {"table": "t", "columns": ["a"], "method": text},
    "operator class": lambda text: {"table": "t", "columns": [{"name": "a", "opclass": text}]},
    "collation": lambda text: {"table": "t", "columns": [{"name": "c", "collation": text}]},
    "tablespace": lambda text: {"table": "t", "columns": ["a"], "tablespace": text},
    "parameter": lambda text: {"table": "t", "columns": ["a"], "storage_parameters": {text: "1"}},
    "value of a parameter": lambda text: {"table": "t", "columns": ["a"], "storage_parameters": {"fillfactor": text}},
    "order": lambda text: {"table": "t", "columns": [{"name": "a", "order": text}]},
}
ELSEWHERE: dict[str, Any] = {
    "query": lambda text: {"materialized_views": [{"name": "v", "query": f"SELECT {text} FROM t"}]},
    "whole query": lambda text: {"materialized_views": [{"name": "v", "query": text}]},
    "statistics expression": lambda text: {"statistics": [{"name": "s", "table": "t", "expressions": [text]}]},
    "statistics column": lambda text: {"statistics": [{"name": "s", "table": "t", "columns": ["a", text]}]},
    "column with a target": lambda text: {"column_statistics": [{"table": "t", "column": text, "target": 5}]},
    "table parameter": lambda text: {"table_parameters": [{"table": "t", "parameters": {text: 5}}]},
    "value of a table parameter": lambda text: {
        "table_parameters": [{"table": "t", "parameters": {"fillfactor": text}}]
    },
}
DECLARATIONS = [
    pytest.param({"indexes": [{"name": "x", **make(text)}]}, id=f"{place}-{number}")
    for (place, make), (number, text) in itertools.product(IN_AN_INDEX.items(), enumerate(PAYLOADS))
] + [
    pytest.param(make(text), id=f"{place}-{number}")
    for (place, make), (number, text) in itertools.product(ELSEWHERE.items(), enumerate(PAYLOADS))
]


@pytest.fixture(scope="module")
def tables(shared: Database) -> Database:
    shared.execute(TABLES)
    return shared


@pytest.mark.faults
@pytest.mark.parametrize("declared", DECLARATIONS)
def test_a_piece_that_leaves_its_place_is_refused(tables: Database, declared: dict[str, Any]) -> None:
    before = tables.snapshot()
    done = tables.optimise(**declared)
    assert done.failed
    assert done.result["problems"], done.msg
    assert tables.snapshot() == before


def test_there_are_enough_of_them() -> None:
    assert len(DECLARATIONS) >= 200


NAMES = [
    'x"; DROP TABLE t; --',
    "x'; DROP TABLE t; --",
    "x); DROP TABLE t; --",
    "ON t USING btree (a)",
    ' t USING btree (a) WITH (fillfactor=10) "',
    "%s %% %(a)s",
    "{} {0} {{",
    "$$ $1",
    "\\",
    "a.b",
    "select",
    "ÄÖ 🐘 日本",
    "new\nline",
    "tab\t",
    " ",
    "UPPER",
    "-- comment",
    "/* comment */",
    "pg_temp",
    "x" * 63,
    "é" * 31,
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_strange_name_is_that_name(db15: Database, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    db15.execute("CREATE SCHEMA other; ALTER SCHEMA other OWNER TO owner; SET ROLE owner")
    db15.execute(f"CREATE TABLE other.{quoted} ({quoted} int, b int)")
    db15.execute(f"INSERT INTO other.{quoted} VALUES (1, 1)")
    declared: dict[str, Any] = {
        "indexes": [
            {"schema": "other", "name": f"{name}i"[-63:] if len(name.encode()) < 63 else "i" + name[2:],
             "table": name, "columns": [name, {"expression": "b + 1"}], "include": ["b"], "comment": name},
        ],
        "materialized_views": [
            {"schema": "other", "name": f"v{name[1:]}", "query": f"SELECT {quoted} FROM other.{quoted}",
             "indexes": [{"name": f"k{name[1:]}", "columns": [name], "unique": True}], "comment": name,
             "refresh": {"policy": "concurrently"}},
        ],
        "statistics": [{"schema": "other", "name": name, "table": name, "columns": [name, "b"]}],
        "column_statistics": [{"schema": "other", "table": name, "column": name, "target": 7}],
        "table_parameters": [{"schema": "other", "table": name, "parameters": {"fillfactor": 70}}],
    }  # fmt: skip
    db15.settle(**declared)
    declared["indexes"][0]["include"] = []
    declared["materialized_views"][0]["query"] = f"SELECT {quoted}, b FROM other.{quoted}"
    declared["statistics"][0]["kinds"] = ["mcv"]
    done = db15.settle(**declared)
    assert {action for _, action in done.said} == {"replace"}
    assert len(done.said) == 3
    assert db15.value("SELECT count(*) FROM pg_class WHERE relname ~ '__pgopt_'") == 0
    assert db15.value("SELECT count(*) FROM pg_class WHERE relname = 't'") == (1 if name == "t" else 0)
