#!/usr/bin/env python3
"""Fill the trading database of a lab with real daily bars and with hourly bars made from them, features included.

Runs on the database host as OS user postgres, with Debian's Python 3 and python3-psycopg2. Everything is computed by
the server; this script cuts the work into batches of symbols and keeps the account of them, so that memory is bounded
and a load that was killed goes on where it stopped.

What is loaded is written in the comment of the schema mltrading_lab, as JSON: the version of this data, its seed, rows,
symbols and end time, and whether it is complete. The same request again changes nothing. Another request replaces what
is there, but only where every row is known as sample data; a row from anywhere else stops the load before its first
change.

Prints one JSON object on standard output, {"changed", "rows", "seconds", "data"}, and progress on standard error.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import lab_database
import psycopg2
from lab_database import NotSampleDataError
from psycopg2 import sql

# The version of the data: raised whenever a change of the SQL changes a row.
VERSION = 1
# Lines of the busiest logs, at most: half as many as there are rows.
LOG_LINES = 40_000
# AAPL, MSFT, IBM, GOOG and FB.
REAL_SYMBOLS = 5
# Who made a row. Tables with a source are sample data by it, the others by a mark in a JSON column.
SOURCES = ("bokeh_sampledata", "generated")
MARKED = {
    "predictions": "features",
    "models": "parameters",
    "system_logs": "metadata",
    "performance_logs": "metadata",
    "error_logs": "metadata",
    "user_action_logs": "metadata",
}
TABLES = ("market_data", "feature_engineered_data", *MARKED)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = lab_database.parser(__doc__.splitlines()[0])
    parser.add_argument("--bars", type=Path, required=True, help="stocks.csv.gz of bokeh_sampledata")
    parser.add_argument("--sql", type=Path, required=True, help="directory of the SQL files")
    parser.add_argument("--rows", type=int, default=500_000, help="hourly rows of all symbols")
    parser.add_argument("--symbols", type=int, default=250, help="symbols, of which five are real")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--end-time", default="", help="UTC, as 2026-01-31T15:00; empty: the current minute")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--batch-rows", type=int, default=50_000, help="rows of one transaction, about, which it sorts")
    found = parser.parse_args()
    if not REAL_SYMBOLS <= found.symbols <= found.rows:
        parser.error("there are at least five symbols, and a row for each")
    return found


def connect(options: argparse.Namespace) -> psycopg2.extensions.connection:
    """Connect as the owner of the tables.

    Commits are synchronous: VACUUM does not mark a page as visible to all while a commit on it may still be lost.
    """
    settings = {"work_mem": "64MB", "jit": "off", "synchronous_commit": "on", "search_path": "pg_catalog,public"}
    return lab_database.connect(options, "load_sample_data", **settings)


def remark(cursor: psycopg2.extensions.cursor, data: dict) -> None:
    """Write down what is in the database."""
    cursor.execute("COMMENT ON SCHEMA mltrading_lab IS %s", [json.dumps(data, sort_keys=True)])


def run_file(cursor: psycopg2.extensions.cursor, options: argparse.Namespace, name: str) -> int:
    """Run one SQL file and return the rows of its last statement."""
    cursor.execute((options.sql / name).read_text(encoding="utf-8"))
    return cursor.rowcount


def write_request(cursor: psycopg2.extensions.cursor, data: dict, first: int = 0, last: int = 0) -> None:
    """Write the one row that the SQL files read their parameters from, for the length of the transaction."""
    cursor.execute(
        "CREATE TEMP TABLE request ON COMMIT DROP AS SELECT %(rows)s::integer AS rows, %(symbols)s::integer AS symbols,"
        " %(seed)s::bigint AS seed, %(end_time)s::timestamp AS end_time,"
        " %(first)s::integer AS first_symbol, %(last)s::integer AS last_symbol, %(lines)s::integer AS log_lines",
        data | {"first": first, "last": last, "lines": min(data["rows"] // 2, LOG_LINES)},
    )


def refuse_other_rows(cursor: psycopg2.extensions.cursor) -> None:
    """Raise NotSampleDataError if a table holds a row that is not sample data."""
    ours = {table: sql.SQL("coalesce(source = ANY(%(sources)s), false)") for table in TABLES[:2]}
    ours |= {
        table: sql.SQL("""coalesce({} @> '{{"sample": true}}', false)""").format(sql.Identifier(column))
        for table, column in MARKED.items()
    }
    for table, condition in ours.items():
        query = sql.SQL("SELECT EXISTS (SELECT FROM public.{} WHERE NOT {})")
        cursor.execute(query.format(sql.Identifier(table), condition), {"sources": list(SOURCES)})
        if cursor.fetchone()[0]:
            raise NotSampleDataError(f"{table} holds rows that are not sample data: nothing was changed")


def copy_real_bars(cursor: psycopg2.extensions.cursor, path: Path) -> None:
    """Copy the package's file (Ticker, Date, Open, High, Low, Close, Volume, Adj Close) as it is."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as source:
        buffer = io.StringIO()
        csv.writer(buffer).writerows(csv.reader(source))
    buffer.seek(0)
    cursor.copy_expert("COPY mltrading_lab.real_bars FROM STDIN (FORMAT csv, HEADER)", buffer)


def begin(connection: psycopg2.extensions.connection, options: argparse.Namespace, data: dict) -> None:
    """Empty the tables, in one transaction that first makes sure that they hold nothing else."""
    tables = sql.SQL(", ").join(sql.Identifier("public", table) for table in TABLES)
    with connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '10s'")
        cursor.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(tables))
        refuse_other_rows(cursor)
        cursor.execute("RESET ROLE")
        cursor.execute("DROP SCHEMA IF EXISTS mltrading_lab CASCADE")
        cursor.execute(sql.SQL("CREATE SCHEMA mltrading_lab AUTHORIZATION {}").format(sql.Identifier(options.owner)))
        cursor.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(options.owner)))
        cursor.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY").format(tables))
        run_file(cursor, options, "schema.sql")
        copy_real_bars(cursor, options.bars)
        write_request(cursor, data)
        run_file(cursor, options, "calendar.sql")
        remark(cursor, data | {"complete": False})


def load_batch(options: argparse.Namespace, data: dict, batch: int, first: int, last: int) -> int:
    """Load symbols first to last - 1 in one transaction, or the real daily bars where there are none; return rows."""
    with closing(connect(options)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE bars (symbol text, timestamp timestamp, open float8, high float8, low float8,"
            " close float8, volume float8, source text) ON COMMIT DROP"
        )
        if first == last:
            run_file(cursor, options, "real_bars.sql")
        else:
            write_request(cursor, data, first, last)
            run_file(cursor, options, "generated_bars.sql")
            cursor.execute(
                "INSERT INTO public.market_data"
                " (symbol, timestamp, open, high, low, close, volume, source, created_at)"
                " SELECT symbol, timestamp, open, high, low, close, volume, source,"
                " (timestamp + interval '61 minutes') AT TIME ZONE 'UTC' FROM bars ORDER BY timestamp, symbol"
            )
        cursor.execute("ANALYZE bars")
        rows = run_file(cursor, options, "features.sql")
        cursor.execute("INSERT INTO mltrading_lab.finished_batches (batch, rows) VALUES (%s, %s)", [batch, rows])
    return rows


def load_batches(connection: psycopg2.extensions.connection, options: argparse.Namespace, data: dict) -> int:
    """Load the batches that are missing, several at a time; return the rows of this run."""
    size = max(1, options.batch_rows * data["symbols"] // data["rows"])
    starts = range(0, data["symbols"], size)
    batches = [(0, 0, 0)] + [(n, s, min(s + size, data["symbols"])) for n, s in enumerate(starts, start=1)]
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT batch FROM mltrading_lab.finished_batches")
        finished = {row[0] for row in cursor}
    total, began = 0, time.monotonic()
    with ThreadPoolExecutor(options.workers) as pool:
        running = [pool.submit(load_batch, options, data, *batch) for batch in batches if batch[0] not in finished]
        for count, future in enumerate(as_completed(running), start=1):
            total += future.result()
            rate = total / (time.monotonic() - began)
            sys.stderr.write(f"{count} of {len(running)} batches, {total:,} rows, {rate:,.0f} rows/s\n")
    return total


def vacuum(cursor: psycopg2.extensions.cursor, name: sql.Identifier) -> None:
    """Vacuum and analyse until every page is visible to all, which index-only scans need.

    A snapshot that is older than the load keeps pages from that, such as one of autovacuum, which passes. After a
    while it is left to autovacuum.
    """
    cursor.execute(sql.SQL("VACUUM (ANALYZE) {}").format(name))
    for _ in range(20):
        # Pages at the end that no connection came to use stay new.
        query = "SELECT relallvisible >= 0.99 * relpages - 64 FROM pg_class WHERE oid = %s::regclass"
        cursor.execute(query, [name.as_string(cursor)])
        if cursor.fetchone()[0]:
            return
        time.sleep(0.5)
        cursor.execute(sql.SQL("VACUUM {}").format(name))


def finish(connection: psycopg2.extensions.connection, options: argparse.Namespace, data: dict) -> None:
    """Load the logs, declare the data complete, and leave tables as autovacuum would: vacuumed, and views fresh."""
    with connection, connection.cursor() as cursor:
        write_request(cursor, data)
        run_file(cursor, options, "logs.sql")
        remark(cursor, data | {"complete": True})
    connection.autocommit = True
    with connection.cursor() as cursor:
        for table in TABLES:
            vacuum(cursor, sql.Identifier("public", table))
        query = "SELECT matviewname FROM pg_matviews WHERE schemaname = 'public' AND matviewowner = current_role"
        cursor.execute(query)
        for (view,) in cursor.fetchall():
            cursor.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(sql.Identifier("public", view)))
            vacuum(cursor, sql.Identifier("public", view))


def load(options: argparse.Namespace) -> dict:
    """Load what the options ask for, unless it is there."""
    began = time.monotonic()
    wanted = {"version": VERSION, "seed": options.seed, "rows": options.rows, "symbols": options.symbols}
    if options.end_time:
        wanted["end_time"] = datetime.fromisoformat(options.end_time).isoformat(timespec="minutes")
    with closing(connect(options)) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(hashtext('load_sample_data'), 0)")
            if not cursor.fetchone()[0]:
                raise BlockingIOError("another load is running in this database")
            found = lab_database.loaded(cursor)
        same = found | wanted == found
        if same and found["complete"]:
            return {"changed": False, "rows": 0, "seconds": 0, "data": found}
        now = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="minutes")
        data = found if same else {"end_time": now} | wanted
        if not same:
            begin(connection, options, data)
        rows = load_batches(connection, options, data)
        finish(connection, options, data)
    seconds = round(time.monotonic() - began, 1)
    return {"changed": True, "rows": rows, "seconds": seconds, "data": data | {"complete": True}}


def main() -> None:
    """Load, and say what was done; a refusal is one sentence and exit code 1."""
    try:
        sys.stdout.write(json.dumps(load(arguments()), sort_keys=True) + "\n")
    except (NotSampleDataError, BlockingIOError, psycopg2.Error, OSError) as error:
        sys.exit(f"load_sample_data: {error}")


if __name__ == "__main__":
    main()
