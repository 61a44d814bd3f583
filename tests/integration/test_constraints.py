"""Indexes of constraints: what stands on them, and how they are built again where they cannot be exchanged."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from ansible.module_utils.pg_optimization.naming import PENDING
from conftest import Database

TABLES = """
SET ROLE owner;
CREATE TABLE t (id int PRIMARY KEY, a text, b int);
CREATE TABLE u (id int CONSTRAINT u_k UNIQUE, a text);
CREATE TABLE p (id int, a int, CONSTRAINT p_k UNIQUE (id)) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
CREATE TABLE booking (room int, during daterange,
                      CONSTRAINT no_overlap EXCLUDE USING gist (during WITH &&));
RESET ROLE;
"""
PRIMARY = {"name": "t_pkey", "table": "t", "columns": ["id"], "unique": True, "include": ["b"]}
UNIQUE = {"name": "u_k", "table": "u", "columns": ["id"], "unique": True, "include": ["a"]}
PARTITIONED = {"name": "p_k", "table": "p", "columns": ["id"], "unique": True, "include": ["a"]}
UPSERT = "INSERT INTO {} VALUES (1) ON CONFLICT ON CONSTRAINT {} DO NOTHING"

# What stands on a constraint, the declaration that would exchange it, and what is named.
STANDING = {
    "a view": ("CREATE VIEW v AS SELECT id, a, max(b) FROM t GROUP BY id", PRIMARY, "view public.v"),
    "a materialized view": (
        "CREATE MATERIALIZED VIEW v AS SELECT id, a, max(b) FROM t GROUP BY id", PRIMARY, "materialized view public.v",
    ),
    "a view in another schema": (
        'CREATE SCHEMA "S"; CREATE VIEW "S"."V" AS SELECT a FROM t GROUP BY id', PRIMARY, 'view "S"."V"',
    ),
    "a function": (
        f"CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC {UPSERT.format('u', 'u_k')}; END", UNIQUE,
        "function f()",
    ),
    "a function that groups": (
        "CREATE FUNCTION f() RETURNS SETOF text LANGUAGE sql BEGIN ATOMIC SELECT a FROM t GROUP BY id; END", PRIMARY,
        "function f()",
    ),
    "a rule": (
        f"CREATE TABLE w (); CREATE RULE r AS ON INSERT TO w DO INSTEAD {UPSERT.format('u', 'u_k')}", UNIQUE,
        "rule r on table w",
    ),
    "a policy": (
        "CREATE TABLE w (); CREATE POLICY y ON w USING (EXISTS (SELECT a FROM t GROUP BY id))", PRIMARY,
        "policy y on table w",
    ),
    "a function on a partitioned table": (
        f"CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC {UPSERT.format('p', 'p_k')}; END", PARTITIONED,
        "function f()",
    ),
    "a function on a partition": (
        f"CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC {UPSERT.format('p1', 'p1_id_key')}; END",
        PARTITIONED, "of public.p1 these stand on it, and are to be dropped first: function f()",
    ),
    "a foreign key to a partition": (
        "CREATE TABLE w (id int CONSTRAINT w_fk REFERENCES p1 (id))", PARTITIONED,
        "of public.p1 foreign keys refer to it: w_fk on w",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("made", "declared", "piece"), STANDING.values(), ids=STANDING)
def test_what_stands_on_a_constraint_is_named_before_the_first_change(
    db: Database, made: str, declared: dict[str, Any], piece: str
) -> None:
    db.execute(TABLES + f"SET ROLE owner; {made}; RESET ROLE")
    before = db.snapshot()
    for check in (True, False):
        done = db.optimise(check=check, indexes=[declared])
        assert done.failed
        assert piece in done.msg, done.msg
        assert "nothing was changed" in done.msg
        assert db.snapshot() == before


def test_a_constraint_that_something_stands_on_is_built_again_with_other_parameters(db: Database) -> None:
    db.execute(TABLES)
    db.execute("SET ROLE owner; CREATE VIEW v AS SELECT a FROM t GROUP BY id; RESET ROLE")
    declared = {**PRIMARY, "include": [], "storage_parameters": {"fillfactor": 70}}
    assert db.settle(indexes=[declared]).said == [("public.t_pkey", "rebuild")]


def test_new_parameters_are_built_by_the_next_run_where_one_is_cut_off(db: Database) -> None:
    db.execute(TABLES)
    db.execute("INSERT INTO t SELECT n, 'x' FROM generate_series(1, 50000) n; COMMENT ON INDEX t_pkey IS 'Why'")
    declared = {**PRIMARY, "include": [], "storage_parameters": {"fillfactor": 50}}
    size = "SELECT pg_relation_size('t_pkey')"
    before = db.value(size)
    with contextlib.closing(db.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; INSERT INTO t VALUES (-1)")
        given_up = db.optimise(build_wait=0.5, indexes=[declared])
    assert given_up.failed
    assert db.value("SELECT obj_description('t_pkey'::regclass)") == f"Why {PENDING}"
    assert db.value(size) == before
    done = db.settle(indexes=[declared])
    assert done.said == [("public.t_pkey", "rebuild")]
    assert db.value(size) > before * 1.5
    assert db.value("SELECT obj_description('t_pkey'::regclass)") == "Why"


def test_parameters_that_are_taken_back_after_a_cut_off_build_are_built_too(db15: Database) -> None:
    db15.execute(TABLES)
    declared = {**PRIMARY, "include": []}
    db15.execute(f"ALTER INDEX t_pkey SET (fillfactor = 50); COMMENT ON INDEX t_pkey IS '{PENDING}'")
    assert db15.settle(indexes=[declared]).said == [("public.t_pkey", "rebuild")]
    assert db15.value("SELECT obj_description('t_pkey'::regclass)") is None


def test_a_comment_is_written_where_the_index_is_built_again(db15: Database) -> None:
    db15.execute(TABLES)
    declared = {**PRIMARY, "include": [], "storage_parameters": {"fillfactor": 50}, "comment": "Why"}
    db15.settle(indexes=[declared])
    assert db15.value("SELECT obj_description('t_pkey'::regclass)") == "Why"


EXCLUSION = {"name": "no_overlap", "table": "booking", "method": "gist", "columns": ["during"]}


def test_an_exclusion_constraint_is_not_built_again_beside_writers(db: Database) -> None:
    db.execute(TABLES)
    assert not db.settle(indexes=[EXCLUSION]).changed
    before = db.snapshot()
    declared = {**EXCLUSION, "storage_parameters": {"fillfactor": 70}}
    for check in (True, False, False):
        done = db.optimise(check=check, indexes=[declared])
        assert done.failed
        assert "backs the constraint no_overlap" in done.msg
        assert "concurrently: false" in done.msg
        assert db.snapshot() == before


def test_an_exclusion_constraint_is_built_again_where_nobody_writes(db: Database) -> None:
    db.execute(TABLES)
    file = "SELECT pg_relation_filenode('no_overlap')"
    before = db.value(file)
    declared = {**EXCLUSION, "storage_parameters": {"fillfactor": 20}}
    done = db.settle(concurrently=False, indexes=[declared])
    assert done.said == [("public.no_overlap", "rebuild")]
    assert db.value(file) != before
    assert not db.optimise(indexes=[declared]).changed
