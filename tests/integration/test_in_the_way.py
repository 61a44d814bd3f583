"""Who keeps a run from looking, building and swapping is named: a session, a worker, or nobody any more."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Database
from servers import MAJORS, running

TABLE = """
SET ROLE owner;
CREATE TABLE t (a int NOT NULL, b int);
INSERT INTO t SELECT n, n FROM generate_series(1, 2000) n;
CREATE INDEX x ON t (b);
CREATE TABLE p (a int) PARTITION BY LIST (a);
CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1);
CREATE MATERIALIZED VIEW v AS SELECT a FROM t;
ANALYZE;
RESET ROLE;
"""
NEW = {"indexes": [{"name": "fresh", "table": "t", "columns": ["b", "a"]}]}


@pytest.fixture
def table(db: Database) -> Database:
    db.execute(TABLE)
    return db


@contextlib.contextmanager
def open_transaction(db: Database, *statements: str) -> Iterator[Any]:
    with contextlib.closing(db.connect()) as other, other.cursor() as cursor:
        cursor.execute("SET application_name = 'the blocker'; BEGIN")
        for statement in statements:
            cursor.execute(statement)
        yield cursor
        cursor.execute("ROLLBACK")


@contextlib.contextmanager
def prepared(db: Database, statement: str) -> Iterator[None]:
    """Leave a prepared transaction of nobody's."""
    with contextlib.closing(db.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(statement)
        cursor.execute("PREPARE TRANSACTION 'forgotten'")
    yield
    db.execute("ROLLBACK PREPARED 'forgotten'")


# What is locked by others, and what is declared on it.
LOOKED_AT: dict[str, tuple[str, dict[str, Any]]] = {
    "a table": ("LOCK TABLE t IN ACCESS EXCLUSIVE MODE", NEW),
    "a partition": ("LOCK TABLE p_1", {"indexes": [{"name": "fresh", "table": "p", "columns": ["a"]}]}),
    "a view": ("REFRESH MATERIALIZED VIEW v", {"materialized_views": [{"name": "v", "query": "SELECT a FROM t"}]}),
}


@pytest.mark.parametrize(("statement", "declared"), LOOKED_AT.values(), ids=LOOKED_AT)
def test_what_cannot_be_looked_at_ends_the_run_and_names_who_has_it(
    table: Database, statement: str, declared: dict[str, Any]
) -> None:
    with open_transaction(table, statement):
        # It ends while the other transaction is still open.
        done = table.optimise(check=True, lock_budget=0.5, lock_timeout=0.2, **declared)
    assert (done.failed, done.changed, done.result["sqlstate"]) == (True, False, "55P03")
    assert "could not be looked at" in done.msg
    assert "the blocker" in done.msg
    assert {row["application"] for row in done.result["blockers"]} == {"the blocker"}
    assert not table.settle(**declared).failed


def test_a_look_is_tried_again_until_the_lock_is_gone(table: Database) -> None:
    with open_transaction(table, "LOCK TABLE t") as cursor:
        end = threading.Timer(0.8, lambda: cursor.execute("ROLLBACK"))
        end.start()
        done = table.optimise(check=True, lock_budget=20.0, lock_timeout=0.2, **NEW)
        end.join()
    assert done.said == [("public.fresh", "create")], done.msg


def test_a_check_warns_of_what_a_build_will_wait_for(table: Database) -> None:
    with open_transaction(table, "INSERT INTO t VALUES (-1, -1)"):
        done = table.optimise(check=True, **NEW)
    assert [text for text in done.result["warnings"] if "builds will wait for" in text and "the blocker" in text]
    assert not [text for text in table.optimise(check=True, **NEW).result["warnings"] if "will wait" in text]


def test_a_build_that_a_prepared_transaction_keeps_waiting_names_it(table: Database) -> None:
    with prepared(table, "INSERT INTO t VALUES (-1, -1)"):
        warned = table.optimise(check=True, **NEW)
        done = table.optimise(build_wait=0.6, **NEW)
    said = r"prepared transaction forgotten \(postgres, prepared for \d+ s\): a prepared transaction"
    assert [text for text in warned.result["warnings"] if re.search(said, text)]
    assert done.failed
    assert "prepared transaction forgotten (postgres, prepared" in done.msg
    assert "None" not in done.msg
    table.settle(**NEW)


def test_a_swap_that_a_prepared_transaction_keeps_waiting_names_it(table: Database) -> None:
    with prepared(table, "SELECT count(*) FROM v"):
        changed = {"materialized_views": [{"name": "v", "query": "SELECT a, b FROM t"}]}
        done = table.optimise(lock_budget=0.5, lock_timeout=0.2, **changed)
    assert done.failed
    said = r"In the way: prepared transaction forgotten \(postgres, prepared for \d+ s\): AccessShareLock on v"
    assert re.search(said, done.msg), done.msg
    table.settle(**changed)


def test_a_worker_that_does_not_yield_ends_a_build_and_is_named() -> None:
    # A worker yields to who has waited for longer than this; one that prevents a wraparound never does.
    settings = {"autovacuum": "on", "autovacuum_naptime": "1s", "deadlock_timeout": "300s"}
    with running(MAJORS[0], **settings) as server:
        name = server.create_database()
        with contextlib.closing(server.connect(name)) as session:
            db = Database(server, name, session)
            db.execute(TABLE)
            db.execute("ALTER TABLE t SET (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)")
            db.execute("INSERT INTO t SELECT n, n FROM generate_series(1, 20000) n; DELETE FROM t WHERE a % 2 = 0")
            query = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'autovacuum: VACUUM%public.t%'"
            end = time.monotonic() + 300
            while not db.rows(query):
                assert time.monotonic() < end
                time.sleep(0.05)
            done = db.optimise(build_wait=1.5, **NEW)
            assert done.failed
            assert "nothing but wait" in done.msg
            assert "autovacuum" in done.msg
