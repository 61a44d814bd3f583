"""What a month's leaving costs: a DELETE beside the detaching and dropping of its partition, on the same rows.

A table in the shape of the trading database's, in small, filled twice on one server: whole, and partitioned by month.
Prints times and WAL; the numbers are kept as JSON. Compare the ratios, as times move from machine to machine.

    python tests/bench/bench_partitions.py [--rows 1000000] [--output .lab/results/bench_partitions.json]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT / "tests/integration"))
FILL = """
CREATE TABLE {name} (id bigserial, symbol varchar(10) NOT NULL, timestamp timestamp NOT NULL, close float8,
                     volume float8, PRIMARY KEY (id, timestamp), UNIQUE (symbol, timestamp)) {how};
{partitions}
INSERT INTO {name} (symbol, timestamp, close, volume)
SELECT 'S' || s, timestamp '2025-01-01' + t * interval '90 days' / {each}, t, s
FROM generate_series(0, {each} - 1) t, generate_series(1, 100) s;
CREATE INDEX ON {name} (timestamp);
VACUUM ANALYZE {name};
"""
MONTHS = ("2025-01-01", "2025-02-01", "2025-03-01", "2025-04-01")
LEAVE = {
    "DELETE": ["DELETE FROM whole WHERE timestamp < '2025-02-01'"],
    "VACUUM behind it": ["VACUUM whole"],
    "DETACH CONCURRENTLY, then DROP": ["ALTER TABLE parts DETACH PARTITION parts_1 CONCURRENTLY", "DROP TABLE parts_1"],
}


def statement(name: str, rows: int, *, partitioned: bool) -> str:
    """Return what makes and fills one table."""
    parts = "".join(
        f"CREATE TABLE {name}_{number} PARTITION OF {name} FOR VALUES FROM ('{low}') TO ('{high}');\n"
        for number, (low, high) in enumerate(itertools.pairwise(MONTHS), 1)
    )
    how = "PARTITION BY RANGE (timestamp)" if partitioned else ""
    return FILL.format(name=name, how=how, partitions=parts if partitioned else "", each=rows // 100)


def measured(cursor: Any, statements: list[str]) -> dict[str, float]:
    """Run statements; return seconds and megabytes of WAL."""
    cursor.execute("CHECKPOINT")
    cursor.execute("SELECT pg_current_wal_insert_lsn()")
    before = cursor.fetchone()[0]
    began = time.perf_counter()
    for text in statements:
        cursor.execute(text)
    seconds = time.perf_counter() - began
    cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)::float8 / 1048576", (before,))
    return {"seconds": round(seconds, 3), "wal_mb": round(cursor.fetchone()[0], 1)}


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of each table")
    parser.add_argument("--major", type=int, default=15, help="major of the server")
    parser.add_argument("--output", type=Path, default=PROJECT / ".lab/results/bench_partitions.json")
    options = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    servers = importlib.import_module("servers")
    with servers.running(options.major, fsync="on", synchronous_commit="on", full_page_writes="on") as server:
        name = server.create_database()
        with contextlib.closing(server.connect(name)) as connection, connection.cursor() as cursor:
            for table, partitioned in (("whole", False), ("parts", True)):
                for text in statement(table, options.rows, partitioned=partitioned).split(";\n"):
                    if text.strip():
                        cursor.execute(text)
            for what, statements in LEAVE.items():
                results[what] = measured(cursor, statements)
            cursor.execute("SELECT (SELECT count(*) FROM whole), (SELECT count(*) FROM parts)")
            left = cursor.fetchone()
            if left[0] != left[1]:
                raise SystemExit(f"the two tables differ: {left}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"rows": options.rows, **results}, indent=2) + "\n", encoding="utf-8")
    table_shown = Table("a month leaves", "seconds", "WAL in MB", box=None)
    for what, figures in results.items():
        table_shown.add_row(what, f"{figures['seconds']:.3f}", f"{figures['wal_mb']:.1f}")
    Console().print(table_shown)


if __name__ == "__main__":
    main()
