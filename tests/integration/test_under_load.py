# ruff: noqa: S311, S608 - tests make their own SQL, and no secrets
"""Objects are exchanged while they are used: nobody sees an error, and how long anybody waits is measured and reported.

The figures are kept in .lab/results/stalls.json and never asserted: they depend on the machine.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Database

pytestmark = pytest.mark.faults
RESULTS = Path(__file__).resolve().parents[2] / ".lab" / "results" / "stalls.json"

TABLE = """
SET ROLE owner;
CREATE TABLE bars (id bigserial PRIMARY KEY, symbol varchar(10) NOT NULL, ts timestamp NOT NULL, source text NOT NULL,
                   close float8, CONSTRAINT bars_key UNIQUE (symbol, ts, source));
INSERT INTO bars (symbol, ts, source, close)
SELECT 'S' || s, timestamp '2025-01-01' + t * interval '1 hour', 'yahoo', t
FROM generate_series(1, 50) s, generate_series(1, 1000) t;
CREATE INDEX bars_time ON bars (ts);
ANALYZE bars;
GRANT ALL ON bars TO writer; GRANT USAGE ON SEQUENCE bars_id_seq TO writer;
RESET ROLE;
"""
UPSERT = """
INSERT INTO bars (symbol, ts, source, close) VALUES (%s, %s, 'yahoo', %s)
ON CONFLICT (symbol, ts, source) DO UPDATE SET close = excluded.close
"""


class Client(threading.Thread):
    """A client that does one thing over and over, and keeps count, errors and the longest time of one."""

    def __init__(self, db: Database, work: Callable[[Any], None]) -> None:
        """Take the work, which is given a cursor."""
        super().__init__(daemon=True)
        self.db = db
        self.work = work
        self.stop = threading.Event()
        self.errors: list[str] = []
        self.count = 0
        self.longest = 0.0

    def run(self) -> None:
        """Work until the stop."""
        with contextlib.closing(self.db.connect()) as connection, connection.cursor() as cursor:
            while not self.stop.is_set():
                begin = time.perf_counter()
                try:
                    self.work(cursor)
                except Exception as error:
                    self.errors.append(f"{type(error).__name__}: {error}")
                self.longest = max(self.longest, time.perf_counter() - begin)
                self.count += 1


@contextlib.contextmanager
def working(clients: list[Client]) -> Iterator[None]:
    """Let clients work around a block: some before it, some after it."""
    for client in clients:
        client.start()
    time.sleep(0.3)
    try:
        yield
        time.sleep(0.3)
    finally:
        for client in clients:
            client.stop.set()
        for client in clients:
            client.join(30)


def report(db: Database, what: str, clients: list[Client]) -> None:
    """Keep what was measured, and hold the clients to have seen no error."""
    stall = max(client.longest for client in clients) * 1000
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept.setdefault(what, {})[str(db.server.major)] = {
        "longest_stall_ms": round(stall, 1),
        "statements": sum(client.count for client in clients),
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    assert [error for client in clients for error in client.errors] == []
    assert min(client.count for client in clients) > 20


def write(cursor: Any) -> None:
    symbol = f"S{random.randint(1, 60)}"
    cursor.execute(UPSERT, (symbol, f"2025-01-{random.randint(1, 28):02} {random.randint(0, 23)}:00", random.random()))


def read_by_time(cursor: Any) -> None:
    cursor.execute("SET enable_seqscan = off; EXPLAIN SELECT close FROM bars WHERE ts = '2025-01-05 03:00'")
    plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "Seq Scan" not in plan, plan


@pytest.fixture
def bars(db: Database) -> Database:
    db.execute(TABLE)
    return db


def test_an_index_is_replaced_under_writers_and_never_missing(bars: Database) -> None:
    clients = [Client(bars, write), Client(bars, write), Client(bars, read_by_time)]
    with working(clients):
        done = bars.optimise(indexes=[{"name": "bars_time", "table": "bars", "columns": ["ts"], "include": ["close"]}])
    assert done.said == [("public.bars_time", "replace")], done.msg
    report(bars, "an index replaced", clients)
    assert bars.definition("bars_time") == "CREATE INDEX bars_time ON public.bars USING btree (ts) INCLUDE (close)"


def test_a_unique_constraint_is_exchanged_under_writers_that_need_it(bars: Database) -> None:
    clients = [Client(bars, write) for _ in range(3)]
    declared = {"name": "bars_key", "table": "bars", "columns": ["symbol", "ts", "source"], "unique": True}
    with working(clients):
        done = bars.optimise(indexes=[{**declared, "include": ["close"]}])
    assert done.said == [("public.bars_key", "replace")], done.msg
    report(bars, "a unique constraint exchanged", clients)
    assert bars.value("SELECT count(*) - count(DISTINCT (symbol, ts, source)) FROM bars") == 0
    assert bars.value("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'bars_key'") == (
        "UNIQUE (symbol, ts, source) INCLUDE (close)"
    )


def test_a_primary_key_is_exchanged_under_writers(bars: Database) -> None:
    clients = [Client(bars, write) for _ in range(3)]
    with working(clients):
        done = bars.optimise(indexes=[{"name": "bars_pkey", "table": "bars", "columns": ["id", "ts"], "unique": True}])
    assert done.said == [("public.bars_pkey", "replace")], done.msg
    report(bars, "a primary key exchanged", clients)


def test_a_view_is_redefined_under_readers(bars: Database) -> None:
    view = {
        "name": "summary",
        "query": "SELECT symbol, count(*) AS bars, max(ts) AS newest FROM bars GROUP BY symbol",
        "indexes": [{"name": "summary_symbol", "columns": ["symbol"], "unique": True}],
        "refresh": {"policy": "concurrently"},
    }
    bars.settle(materialized_views=[view])
    bars.execute("SET ROLE owner; CREATE VIEW on_summary AS SELECT symbol, bars FROM summary; RESET ROLE")

    def read(relation: str) -> Callable[[Any], None]:
        def work(cursor: Any) -> None:
            cursor.execute(f"SELECT count(*), sum(bars) FROM {relation}")
            assert cursor.fetchone()[0] >= 50

        return work

    clients = [Client(bars, read("summary")), Client(bars, read("on_summary")), Client(bars, read("summary"))]
    changed = {
        **view,
        "query": "SELECT symbol, count(*) AS bars, max(ts) AS newest, avg(close) FROM bars GROUP BY symbol",
    }
    with working(clients):
        first = bars.optimise(materialized_views=[changed])
        second = bars.optimise(materialized_views=[view])
        third = bars.optimise(materialized_views=[changed])
    assert [done.said for done in (first, second, third)] == [[("public.summary", "replace")]] * 3
    report(bars, "a materialized view redefined", clients)
    assert bars.value("SELECT count(avg) FROM summary") == 50


def test_partitions_get_an_index_under_writers(db: Database) -> None:
    db.execute(
        """
        SET ROLE owner;
        CREATE TABLE bars (symbol text, ts timestamp, source text, close float8, PRIMARY KEY (symbol, ts, source))
            PARTITION BY RANGE (ts);
        CREATE TABLE bars_1 PARTITION OF bars FOR VALUES FROM ('2025-01-01') TO ('2025-01-15');
        CREATE TABLE bars_2 PARTITION OF bars FOR VALUES FROM ('2025-01-15') TO ('2025-02-01');
        INSERT INTO bars SELECT 'S' || s, timestamp '2025-01-01' + t * interval '1 hour', 'yahoo', t
        FROM generate_series(1, 50) s, generate_series(1, 700) t;
        ANALYZE bars; RESET ROLE;
        """
    )
    clients = [Client(db, write) for _ in range(3)]
    with working(clients):
        done = db.optimise(indexes=[{"name": "bars_close", "table": "bars", "columns": ["close"]}])
        again = db.optimise(indexes=[{"name": "bars_close", "table": "bars", "columns": ["close", "symbol"]}])
    assert [done.said, again.said] == [[("public.bars_close", "create")], [("public.bars_close", "replace")]]
    report(db, "a partitioned index built and replaced", clients)
