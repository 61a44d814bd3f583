# ruff: noqa: S608 - a benchmark makes its own SQL, and no secrets
"""What each set of indexes costs and is worth: reads, writes, refreshes and sizes, side by side on the same rows.

Every step is done in all variants before the next begins, so that what else the machine does falls on all of them.
"""

from __future__ import annotations

import io
import statistics
import sys
import time
from typing import Any

import yaml
from bench_server import ROOT, SQL, TABLE, open_all, say
from trading_database import DEFAULTS

sys.path.insert(0, str(ROOT / "roles" / "mltrading" / "files"))

from measure_benefit import measure as explained

QUERIES = SQL / "queries"
CATALOGUE = yaml.safe_load((QUERIES / "catalogue.yml").read_text())
(VIEW,) = DEFAULTS["mltrading_materialized_views"]
# What the catalogue calls the state of a variant that the declaration is not applied to.
STATES = {"primary_key": "primary_key", "unique": "undeclared", "carried": "undeclared"}
# Rows of one COPY, about, and how often each variant takes one: once to warm up and to write the images of the pages
# that follow a checkpoint, then for the median.
CHUNK_ROWS, ROUNDS = 20_000, 10
MOVED = ("timestamp", "created_at", "updated_at")
REFRESHES = 3


def text_of(query: dict[str, Any], variant: str) -> str | None:
    """The query that a variant answers with, or none where the view that it reads is not there."""
    if variant in STATES and query["name"] == "guide_summary_view":
        return None
    name = query.get("instead", {}).get(STATES.get(variant, ""), query["name"])
    return (QUERIES / f"{name}.sql").read_text()


def reads(connections: dict[str, Any]) -> list[dict[str, Any]]:
    """Measure every query of the catalogue in every variant, warm."""
    results = []
    for query in CATALOGUE:
        say(f"read: {query['title']}")
        group = query["name"].partition("_")[0]
        result = {key: query.get(key, "") for key in ("name", "title", "claim")} | {"group": group, "variants": {}}
        for variant, connection in connections.items():
            text = text_of(query, variant)
            if text is not None:
                with connection.cursor() as cursor:
                    result["variants"][variant] = explained(cursor, text)
        results.append(result)
    return results


def refreshes(connections: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Time the refreshes of the dashboard's view: the first into an empty one, plain ones, concurrent ones."""
    query = (SQL / "materialized_views" / f"{VIEW['name']}.sql").read_text()
    results: dict[str, dict[str, Any]] = {variant: {"plain": [], "concurrently": []} for variant in connections}
    for connection in connections.values():
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE MATERIALIZED VIEW bench_summary AS {query} WITH NO DATA")
            cursor.execute("CREATE UNIQUE INDEX bench_summary_symbol ON bench_summary (symbol)")

    def refresh(variant: str, how: str) -> float:
        with connections[variant].cursor() as cursor:
            began = time.monotonic()
            cursor.execute(f"REFRESH MATERIALIZED VIEW {how} bench_summary")
            return round(1000 * (time.monotonic() - began), 1)

    for variant in connections:
        results[variant]["first_ms"] = refresh(variant, "")
    for kind in ("plain", "concurrently"):
        say(f"refresh: {kind}")
        for _ in range(REFRESHES):
            for variant in connections:
                results[variant][kind].append(refresh(variant, kind.upper() if kind == "concurrently" else ""))
    for connection in connections.values():
        with connection.cursor() as cursor:
            cursor.execute("DROP MATERIALIZED VIEW bench_summary")
    for result in results.values():
        for kind in ("plain", "concurrently"):
            result[f"{kind}_ms"] = statistics.median(result.pop(kind))
    return results


def keep_newest(cursor: Any, bars: int) -> list[str]:
    """Put the newest bars of all symbols aside, which the chunks are made from; return the columns that are written."""
    cursor.execute(
        f"CREATE TEMP TABLE newest AS SELECT * FROM {TABLE} WHERE source = 'generated' AND timestamp IN"
        f" (SELECT DISTINCT timestamp FROM {TABLE} WHERE source = 'generated' ORDER BY 1 DESC LIMIT {bars})"
    )
    cursor.execute("ALTER TABLE newest DROP COLUMN id")
    cursor.execute(
        "SELECT array_agg(attname ORDER BY attnum) FROM pg_attribute"
        " WHERE attrelid = 'newest'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    columns: list[str] = cursor.fetchone()[0]
    return columns


def chunk(cursor: Any, columns: list[str], weeks: int) -> bytes:
    """The newest bars moved into the future by some weeks, as COPY reads them, in the order of arrival."""
    moved = [f"{name} + interval '{weeks} weeks'" if name in MOVED else name for name in columns]
    buffer = io.BytesIO()
    cursor.copy_expert(f"COPY (SELECT {', '.join(moved)} FROM newest ORDER BY timestamp, symbol) TO STDOUT", buffer)
    return buffer.getvalue()


def copy_rows(connection: Any, columns: list[str], rows: bytes) -> dict[str, float]:
    """Append rows in one transaction; return rows/s, and bytes of WAL a row."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_insert_lsn()")
        before = cursor.fetchone()[0]
        began = time.monotonic()
        cursor.copy_expert(f"COPY {TABLE} ({', '.join(columns)}) FROM STDIN", io.BytesIO(rows))
        seconds = time.monotonic() - began
        count = cursor.rowcount
        cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)::float8", [before])
        wal = cursor.fetchone()[0]
    return {"rows": count, "rows_per_second": round(count / seconds), "wal_bytes_per_row": round(wal / count, 1)}


def ingest(connections: dict[str, Any], symbols: int) -> dict[str, Any]:
    """Append the same rows to every variant, chunk by chunk, by turns."""
    names = list(connections)
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with connections[names[0]].cursor() as cursor:
        bars = -(-CHUNK_ROWS // symbols)
        columns = keep_newest(cursor, bars)
        # Weeks that the bars of a chunk fit into, at 35 bars a week.
        span = bars // 35 + 2
        cursor.execute("CHECKPOINT")
        for number in range(ROUNDS + 1):
            say(f"write: round {number + 1} of {ROUNDS + 1}")
            rows = chunk(cursor, columns, weeks=(number + 1) * span)
            # Round about and to and fro, so that none always follows the same one.
            turn = number % len(names)
            for name in (names[turn:] + names[:turn])[:: 1 if number % 2 else -1]:
                rounds[name].append(copy_rows(connections[name], columns, rows))
    return {
        "rows_of_a_chunk": rounds[names[0]][0]["rows"],
        "rounds": ROUNDS,
        "variants": {name: medians(taken, rounds["unique"]) for name, taken in rounds.items()},
    }


def medians(taken: list[dict[str, float]], unique: list[dict[str, float]]) -> dict[str, float]:
    """The medians of a variant's rounds but the first, and of its share of what the unique constraint gave in each."""
    warm = list(zip(taken, unique, strict=True))[1:]
    return {
        "rows_per_second": statistics.median(one["rows_per_second"] for one, _ in warm),
        "share_of_unique": round(
            statistics.median(one["rows_per_second"] / other["rows_per_second"] for one, other in warm), 3
        ),
        "wal_bytes_per_row": statistics.median(one["wal_bytes_per_row"] for one, _ in warm),
        "wal_bytes_per_row_after_checkpoint": taken[0]["wal_bytes_per_row"],
    }


def after_append(connections: dict[str, Any]) -> dict[str, Any]:
    """What an append does to the guide's query until VACUUM has run, and how long that takes."""
    query = next(query for query in CATALOGUE if query.get("claim") == "symbol_date")
    results: dict[str, Any] = {}
    for variant in ("guide", "lean"):
        say(f"VACUUM after the append: {variant}")
        with connections[variant].cursor() as cursor:
            text = text_of(query, variant)
            before = explained(cursor, text)
            began = time.monotonic()
            cursor.execute(f"VACUUM {TABLE}")
            seconds = round(time.monotonic() - began, 2)
            results[variant] = {"before": before, "after": explained(cursor, text), "vacuum_seconds": seconds}
    return results


def measure(server: Any, symbols: int) -> dict[str, Any]:
    """Measure everything."""
    connections = open_all(server)
    try:
        return {
            "reads": reads(connections),
            "refresh": refreshes(connections),
            "ingest": ingest(connections, symbols),
            "after_append": after_append(connections),
        }
    finally:
        for connection in connections.values():
            connection.close()
