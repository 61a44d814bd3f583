"""Measure, side by side on one server, what retention and a refresh cost and what a client feels of them.

  delete     rows past their limit: the job in batches, the guide's DELETE, and dropping their partition
  refresh    the dashboard's summary: reading it live, refreshing it, reading it materialized

Prints a table and writes JSON. Times move from machine to machine, so nothing is asserted; compare ratios of one run.

usage: bench_retention.py [--rows N] [--output FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

from job_host import Latencies, install
from servers import MAJORS, Server, running
from standbys import standby_of, wait_for_replay

COLUMNS = "id bigserial, at timestamptz NOT NULL, message text"
FILL = (
    "INSERT INTO logs (at, message)"
    " SELECT date_trunc('day', now()) + interval '1 day' - n * interval '60 days' / {rows}"
    ", repeat('m', 100) FROM generate_series(1, {rows}) AS n"
)
LIMIT = "date_trunc('day', now()) - interval '29 days'"
LAG = "SELECT coalesce(max(pg_current_wal_lsn() - replay_lsn), 0)::bigint FROM pg_stat_replication"
SUMMARY = """
SELECT symbol, count(*) AS bars, max(at) AS newest, avg(close) AS mean, stddev(close) AS spread,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY close) AS median
FROM bars WHERE at > now() - interval '90 days' GROUP BY symbol
"""
IDLE_SECONDS = 3
# What the tests' servers do without and production does not; and the standby, which has no slot, is not left behind.
PRODUCTION = {
    "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_wal_size": "1GB", "wal_keep_size": "8GB",
}  # fmt: skip


@dataclass
class Database:
    """A database of one measurement."""

    server: Server
    name: str
    connection: Any

    def rows(self, query: str, values: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
        """Run statements, and return the rows of the last one."""
        with self.connection.cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall()) if cursor.description else []

    def value(self, query: str) -> Any:
        """Return the one value of a query."""
        return self.rows(query)[0][0]

    def connect(self) -> Any:
        """Open another connection."""
        return self.server.connect(self.name)


def plain(db: Database, rows: int) -> None:
    """Make the table as the guide has it."""
    db.rows(f"CREATE TABLE logs ({COLUMNS}); CREATE INDEX ON logs (at); {FILL.format(rows=rows)}")


def partitioned(db: Database, rows: int) -> None:
    """Make the table in two partitions, of which one is past the limit."""
    db.rows(f"CREATE TABLE logs ({COLUMNS}) PARTITION BY RANGE (at); CREATE INDEX ON logs (at)")
    bounds = db.rows(f"SELECT (now() - interval '90 days')::text, ({LIMIT})::text, (now() + interval '9 days')::text")[
        0
    ]
    for n in range(2):
        db.rows(f"CREATE TABLE logs_{n} PARTITION OF logs FOR VALUES FROM (%s) TO (%s)", bounds[n : n + 2])
    db.rows(FILL.format(rows=rows))


def by_job(db: Database) -> None:
    """Delete as the job does."""
    with tempfile.TemporaryDirectory(prefix="bench-retention-") as folder:
        host = install("postgresql_retention", Path(folder) / "host", RETENTION_REPORTS=f"{folder}/host/reports")
        policy = {"table": "public.logs", "column": "at", "keep_days": 29}
        run = host.run(db, "run_retention", RETENTION_POLICIES=json.dumps([policy]), RETENTION_MOST_PERCENT="100")
        if run.code:
            raise RuntimeError(run.output)


def by_one_delete(db: Database) -> None:
    """Delete as the guide does."""
    db.rows("DELETE FROM logs WHERE at < now() - interval '29 days'")


WAYS: dict[str, tuple[Callable[[Database, int], None], Callable[[Database], None]]] = {
    "job, in batches": (plain, by_job),
    "the guide's DELETE": (plain, by_one_delete),
    "job, a partition": (partitioned, by_job),
}


@contextlib.contextmanager
def database(server: Server) -> Iterator[Database]:
    """Have a database for one measurement."""
    name = server.create_database()
    with contextlib.closing(server.connect(name)) as connection:
        yield Database(server, name, connection)
    server.drop_database(name)


def measure_removal(server: Server, standby: Server, rows: int, way: str) -> dict[str, Any]:
    """Remove half of the rows in one way, under a client that inserts; times of an insert in ms, lag and WAL in MB."""
    make, remove = WAYS[way]
    with database(server) as db:
        make(db, rows)
        db.rows("VACUUM ANALYZE logs")
        db.rows("CHECKPOINT")
        wait_for_replay(server, standby, 1800)
        insert = "INSERT INTO logs (at, message) VALUES (now(), 'a row of the application')"
        client = Latencies(db, lambda cursor: cursor.execute(insert))
        lags: list[int] = []
        watch = Latencies(db, lambda cursor: cursor.execute(LAG) or lags.append(cursor.fetchone()[0]))
        with client.working():
            time.sleep(IDLE_SECONDS)
            idle = client.percentiles()
            before, begin = db.value("SELECT pg_current_wal_lsn() - '0/0'"), time.monotonic()
            with watch.working():
                remove(db)
            seconds = time.monotonic() - begin
            under = client.percentiles()
        wal = db.value("SELECT pg_current_wal_lsn() - '0/0'") - before
        if client.errors:
            raise RuntimeError(client.errors[0])
        left = db.value("SELECT count(*) FROM logs WHERE at < now() - interval '29 days 1 hour'")
        if left > rows // 60:
            raise RuntimeError(f"{way}: {left} rows are left")
    return {
        "way": way, "rows": rows // 2, "seconds": round(seconds, 2), "rows_per_second": round(rows / 2 / seconds),
        "p99_idle_ms": round(idle[99], 2), "p99_ms": round(under[99], 2), "p99_ratio": round(under[99] / idle[99], 1),
        "lag_mb": round(max(lags, default=0) / 2**20, 1), "wal_mb": round(float(wal) / 2**20, 1),
    }  # fmt: skip


def measure_refresh(server: Server, rows: int) -> list[dict[str, Any]]:
    """Read the summary live, refresh it in both ways, and read it materialized; seconds of each."""
    with database(server) as db:
        db.rows(
            "CREATE TABLE bars (symbol text, at timestamptz, close float8);"
            "INSERT INTO bars SELECT 'S' || n %% 250, now() - n * interval '120 days' / %s, random()"
            " FROM generate_series(1, %s) AS n",
            (rows, rows),
        )
        db.rows("VACUUM ANALYZE bars")
        db.rows(f"CREATE MATERIALIZED VIEW summary AS {SUMMARY}; CREATE UNIQUE INDEX ON summary (symbol)")
        work = {
            "live query": SUMMARY,
            "refresh, plain": "REFRESH MATERIALIZED VIEW summary",
            "refresh, concurrently": "REFRESH MATERIALIZED VIEW CONCURRENTLY summary",
            "read materialized": "SELECT * FROM summary",
        }
        found = []
        for name, statement in work.items():
            taken = []
            for _ in range(5):
                begin = time.perf_counter()
                db.rows(statement)
                taken.append(time.perf_counter() - begin)
            found.append({"what": name, "seconds": round(sorted(taken)[2], 4)})
    return found


def show(rows: list[dict[str, Any]]) -> None:
    """Print rows as a table."""
    table = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        sys.stdout.write("  ".join(map(str.ljust, line, widths)).rstrip() + "\n")
    sys.stdout.write("\n")


def main() -> int:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of the table; half of them go")
    parser.add_argument("--output", type=Path, help="file for the result, as JSON")
    options = parser.parse_args()
    with running(MAJORS[0], **PRODUCTION) as server, standby_of(server) as standby:
        removal = [measure_removal(server, standby, options.rows, way) for way in WAYS]
        refresh = measure_refresh(server, options.rows)
    show(removal)
    show(refresh)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps({"removal": removal, "refresh": refresh}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
