"""Databases that are not in UTF-8."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Database
from partitions import partition
from servers import Server

Make = Callable[[str], Database]


@pytest.fixture
def make(server: Server) -> Iterator[Make]:
    with contextlib.ExitStack() as stack:

        def made(encoding: str) -> Database:
            name = f"encoded_{encoding.lower()}"
            with contextlib.closing(server.connect("postgres")) as admin, admin.cursor() as cursor:
                cursor.execute(
                    f"CREATE DATABASE {name} TEMPLATE template0 OWNER owner ENCODING '{encoding}' "
                    "LC_COLLATE 'C' LC_CTYPE 'C'"
                )
            stack.callback(server.drop_database, name)
            connection = stack.enter_context(contextlib.closing(server.connect(name)))
            if encoding == "SQL_ASCII":
                connection.set_client_encoding("LATIN1")
            return Database(server, name, connection)

        yield made


def index(**more: Any) -> dict[str, Any]:
    return {"name": "t_a", "table": "t", "columns": ["a"], **more}


BYTES = {
    "a comment": ("COMMENT ON INDEX t_a IS E'caf\\xe9'", {}),
    "a predicate": (
        "DROP INDEX t_a; CREATE INDEX t_a ON t (a) WHERE b <> E'caf\\xe9'",
        {"where": "b <> E'caf\\\\xe9'"},
    ),
    "another column": ("""ALTER TABLE t ADD "caf\xe9" int; CREATE INDEX other ON t ("caf\xe9")""", {}),
    "another index": ('CREATE INDEX "\xe9" ON t (b)', {}),
    "statistics": ('CREATE STATISTICS "\xe9" ON a, b FROM t', {}),
    "a view": ("CREATE MATERIALIZED VIEW v AS SELECT a, E'caf\\xe9'::text AS c FROM t", {}),
}


@pytest.mark.parametrize(("statement", "more"), BYTES.values(), ids=BYTES)
def test_bytes_of_no_encoding_are_left_alone(make: Make, statement: str, more: dict[str, Any]) -> None:
    db = make("SQL_ASCII")
    db.execute("SET ROLE owner; CREATE TABLE t (a int, b text); CREATE INDEX t_a ON t (a)")
    db.execute(f"{statement}; RESET ROLE")
    done = db.optimise(indexes=[index(**{key: value.replace("\\\\", "\\") for key, value in more.items()})])
    assert not done.failed, done.msg
    assert not done.changed, done.actions
    assert db.settle(indexes=[index(columns=["a", "b"])]).said == [("public.t_a", "replace")]


def test_what_is_declared_of_bytes_is_meant_in_utf8(make: Make) -> None:
    db = make("SQL_ASCII")
    column = "café→à".encode().decode("latin-1")
    db.execute(f'SET ROLE owner; CREATE SCHEMA "{column}"; CREATE TABLE "{column}".t ("{column}" int); RESET ROLE')
    declared = {
        "search_path": ["café→à"],
        "indexes": [
            {
                "name": "Ü", "schema": "café→à", "table": "t", "columns": ["café→à"], "where": '"café→à" > 1',
                "comment": "déjà",
            },
        ],
        "materialized_views": [
            {"name": "é", "query": "SELECT \"café→à\" AS n, 'à' AS c FROM t"},
            {"name": "è", "query": "SELECT n FROM é"},
        ],
    }  # fmt: skip
    with pytest.raises(AssertionError, match='relation "é" does not exist'):
        db.settle(**declared)
    declared["materialized_views"][1]["query"] = "SELECT n FROM public.é"
    done = db.settle(**declared)
    assert [action["name"] for action in done.actions] == ['"café→à"."Ü"', 'public."é"', 'public."è"']
    assert "comment: déjà" in done.actions[0]["after"]
    said = db.value(f'SELECT obj_description(\'"{column}"."{"Ü".encode().decode("latin-1")}"\'::regclass)')
    assert said.encode("latin-1").decode().startswith("déjà [managed")
    refused = db.optimise(indexes=[index(columns=["née"], table="è")])
    assert 'column "née" does not exist in public."è"' in refused.msg
    assert refused.result["problems"][0]["problem"] in refused.msg
    assert partition(db, table="né", column="ü").failed


TEXTS = {
    "a comment": {"comment": "a → b"},
    "a name": {"name": "→"},
    "a predicate": {"where": "b <> '→'"},
    "an expression": {"columns": [{"expression": "b || '→'"}]},
}


@pytest.mark.parametrize("more", TEXTS.values(), ids=TEXTS)
def test_what_the_encoding_does_not_have_is_refused_before(make: Make, more: dict[str, Any]) -> None:
    db = make("LATIN1")
    db.execute("SET ROLE owner; CREATE TABLE t (a int, b text); RESET ROLE")
    before = db.snapshot()
    done = db.optimise(indexes=[index(**more), index(name="other")])
    assert done.failed
    assert "has the character → (U+2192), which LATIN1, the encoding of the database, does not have" in done.msg
    assert "nothing was changed" in done.msg
    assert db.snapshot() == before


@pytest.mark.parametrize("encoding", ["LATIN1", "WIN1252", "LATIN9"])
def test_a_name_has_the_bytes_that_the_database_has_of_it(make: Make, encoding: str) -> None:
    db = make(encoding)
    db.execute("SET ROLE owner; CREATE TABLE t (a int, b text); RESET ROLE")
    declared = [index(name="é" * 40, comment="déjà vu"), index(name="é" * 63, columns=["b", "a"])]
    assert len(db.settle(indexes=declared).said) == 2
    assert db.settle(indexes=[index(name="é" * 40, columns=["a", "b"]), declared[1]]).said
    done = db.optimise(indexes=[index(name="é" * 64)])
    assert "has 64 bytes, PostgreSQL keeps 63" in done.msg
