#!/usr/bin/env python3
"""Measure what the declared indexes and the materialized view are worth: the same reads on the same data, side by side.

Three states of one database, in one run:

  primary_key  feature_engineered_data with its primary key alone, the summary read live
  undeclared   with what the table carries from its creation, the declared indexes away, the summary read live
  declared     as it is

Of each state the reads are measured, then what the indexes cost: rows a second and WAL a row of an insert, a refresh of
the summary, and the build of each index.

The first two exist only inside a transaction that drops the indexes and is rolled back, so nothing is copied and
nothing lost. It holds ACCESS EXCLUSIVE on the table all the while, so the script refuses a database that is not sample
data from end to end, and waits for the lock no longer than a few seconds.

Reads the request from standard input as JSON: {"declared": [index], "catalogue": [query], "sql": {name: text}}. A query
has name, title, claim (the part of the guide's claims that it stands for) and, where a state takes another query to
answer the same, instead: {state: name}. Queries without a claim are not measured. Writes the result to standard output
as JSON. Runs on the database host as OS user postgres, with Debian's Python 3 and python3-psycopg2.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from contextlib import closing

import lab_database
import psycopg2
from lab_database import NotSampleDataError
from psycopg2 import sql

TABLE = "public.feature_engineered_data"
SUMMARY = "public.mv_features_dashboard_summary"
STATES = ("declared", "undeclared", "primary_key")
# Rows of a batch. The first one after a checkpoint writes whole pages to WAL and is not counted.
BATCH = 5000
# One run to warm the caches, then as many as fit into the seconds of a query and state, at least three.
RUNS, LEAST_RUNS, SECONDS = 9, 3, 2.0


def sample_data(cursor: psycopg2.extensions.cursor) -> dict:
    """Return what the database says of its sample data, or raise NotSampleDataError where it is not that alone."""
    data = lab_database.loaded(cursor)
    if not data.get("complete"):
        raise NotSampleDataError("this is no lab: the database has no complete sample data, and nothing was measured")
    query = "SELECT EXISTS (SELECT FROM {} WHERE source IS NULL OR source NOT IN ('bokeh_sampledata', 'generated'))"
    cursor.execute(sql.SQL(query).format(sql.SQL(TABLE)))
    if cursor.fetchone()[0]:
        raise NotSampleDataError(f"{TABLE} holds rows that are not sample data, and nothing was measured")
    return data


def indexes(cursor: psycopg2.extensions.cursor) -> list[dict]:
    """Return the table's indexes, largest first: {"name", "bytes", "constraint" (primary, unique or null), "key"}.

    The key is that of the constraint, without columns that its index carries for reads.
    """
    cursor.execute(
        "SELECT c.relname, pg_relation_size(c.oid), CASE k.contype WHEN 'p' THEN 'primary' WHEN 'u' THEN 'unique' END,"
        " split_part(pg_get_constraintdef(k.oid), ' INCLUDE ', 1)"
        " FROM pg_index AS i INNER JOIN pg_class AS c ON c.oid = i.indexrelid"
        " LEFT JOIN pg_constraint AS k ON k.conindid = c.oid AND k.contype IN ('p', 'u')"
        " WHERE i.indrelid = %s::regclass ORDER BY 2 DESC, 1",
        [TABLE],
    )
    return [{"name": name, "bytes": size, "constraint": kind, "key": key} for name, size, kind, key in cursor]


def drop(cursor: psycopg2.extensions.cursor, found: list[dict], names: set[str], *, keys: bool) -> None:
    """Drop indexes of the table by their names; of those that back a constraint the plain key stays, with `keys`."""
    for index in found:
        if index["name"] in names and index["constraint"]:
            table, name = sql.SQL(TABLE), sql.Identifier(index["name"])
            statement = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(table, name)
            if keys:
                statement += sql.SQL(", ADD CONSTRAINT {} {}").format(name, sql.SQL(index["key"]))
            cursor.execute(statement)
        elif index["name"] in names:
            cursor.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier("public", index["name"])))


def nodes(plan: dict) -> list[dict]:
    """Return a plan's nodes, the root first."""
    return [plan] + [node for child in plan.get("Plans", []) for node in nodes(child)]


def measure(cursor: psycopg2.extensions.cursor, query: str) -> dict:
    """Return the medians of a warm query's execution and planning in ms, and the pages and the plan of its last run."""
    runs: list[dict] = []
    deadline = time.monotonic() + SECONDS
    while len(runs) <= LEAST_RUNS or (len(runs) <= RUNS and time.monotonic() < deadline):
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {query}")
        runs.append(cursor.fetchone()[0][0])
    warm, plan = runs[1:], nodes(runs[-1]["Plan"])
    return {
        "ms": round(statistics.median(run["Execution Time"] for run in warm), 3),
        "planning_ms": round(statistics.median(run["Planning Time"] for run in warm), 3),
        "runs": len(warm),
        "rows": plan[0]["Actual Rows"],
        "buffers": plan[0]["Shared Hit Blocks"] + plan[0]["Shared Read Blocks"],
        "heap_fetches": sum(node.get("Heap Fetches", 0) for node in plan),
        "tables": sorted({node["Relation Name"] for node in plan if "Relation Name" in node}),
        "scans": sorted({node["Node Type"] for node in plan if "Scan" in node["Node Type"]}),
        "indexes": sorted({node["Index Name"] for node in plan if "Index Name" in node}),
    }


def insert(cursor: psycopg2.extensions.cursor, batch: int) -> tuple[float, float]:
    """Insert a batch of copies of rows, centuries on; return the rows a second and the bytes of WAL a row."""
    cursor.execute(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attname NOT IN ('id', 'timestamp')",
        [TABLE],
    )
    columns = sql.SQL(cursor.fetchone()[0])
    statement = sql.SQL(
        "INSERT INTO {table} (id, timestamp, {columns}) SELECT id + 1000000000 + {batch} * 100000000,"
        " timestamp + {batch} * interval '100 years', {columns}"
        " FROM {table} WHERE id < 1000000000 ORDER BY id LIMIT {rows}"
    ).format(table=sql.SQL(TABLE), columns=columns, batch=sql.Literal(batch), rows=sql.Literal(BATCH))
    cursor.execute("SELECT pg_current_wal_insert_lsn()")
    (start,) = cursor.fetchone()
    began = time.monotonic()
    cursor.execute(statement)
    seconds, rows = time.monotonic() - began, cursor.rowcount
    cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)::bigint", [start])
    return rows / seconds, cursor.fetchone()[0] / rows


def timed(cursor: psycopg2.extensions.cursor, statement: object) -> float:
    """Return the milliseconds of a statement."""
    began = time.monotonic()
    cursor.execute(statement)
    return round((time.monotonic() - began) * 1000, 1)


def costs(cursor: psycopg2.extensions.cursor) -> dict:
    """Return what the state costs whoever writes and refreshes."""
    refresh = timed(cursor, f"REFRESH MATERIALIZED VIEW {SUMMARY}")
    insert(cursor, 1)
    rate, wal = insert(cursor, 2)
    return {"refresh_ms": refresh, "rows_per_second": round(rate), "wal_bytes_a_row": round(wal)}


def builds(cursor: psycopg2.extensions.cursor, found: list[dict]) -> dict[str, float]:
    """Return the milliseconds that each index but the primary key's takes to be built as it is, beside itself."""
    taken = {}
    for index in found:
        if index["constraint"] != "primary":
            cursor.execute("SELECT pg_get_indexdef(%s::regclass)", [f'public."{index["name"]}"'])
            head, tail = cursor.fetchone()[0].split(" ON ", 1)
            unique = "UNIQUE " if head.startswith("CREATE UNIQUE") else ""
            taken[index["name"]] = timed(cursor, f"CREATE {unique}INDEX measured ON {tail}")
            cursor.execute("DROP INDEX public.measured")
    return taken


def measure_all(connection: psycopg2.extensions.connection, request: dict) -> dict:
    """Measure every query in every state and roll back whatever that took."""
    measured = [query for query in request["catalogue"] if "claim" in query]
    with connection.cursor() as cursor:
        data, found = sample_data(cursor), indexes(cursor)
        connection.rollback()
        declared = {index["name"] for index in found} & set(request["declared"])
        if declared != set(request["declared"]):
            missing = ", ".join(sorted(set(request["declared"]) - declared))
            raise NotSampleDataError(f"{TABLE} does not have {missing}: apply the declaration first")
        gone = {
            "declared": set(),
            "undeclared": declared,
            "primary_key": {index["name"] for index in found if index["constraint"] != "primary"},
        }
        cursor.execute("SELECT current_setting('server_version'), pg_table_size(%s::regclass)", [TABLE])
        version, table_bytes = cursor.fetchone()
        results = {query["name"]: {} for query in measured}
        written: dict[str, dict] = {}
        for state in STATES:
            drop(cursor, found, gone[state], keys=state == "undeclared")
            for query in measured:
                name = query.get("instead", {}).get(state, query["name"])
                results[query["name"]][state] = measure(cursor, request["sql"][name])
            written[state] = costs(cursor)
            connection.rollback()
        built = builds(cursor, found)
        connection.rollback()
    vacuum(connection)
    return {
        "data": data,
        "server": version.split()[0],
        "table_bytes": table_bytes,
        "indexes": [
            {key: index[key] for key in ("name", "bytes", "constraint")}
            | {"declared": index["name"] in declared, "build_ms": built.get(index["name"])}
            for index in found
        ],
        "costs": written,
        "queries": [
            {key: query[key] for key in ("name", "title", "claim")} | {"states": results[query["name"]]}
            for query in measured
        ],
    }


def vacuum(connection: psycopg2.extensions.connection) -> None:
    """Take away the room that the rows took which were rolled back."""
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM {TABLE}")


def main() -> None:
    """Measure, and print the result; a refusal is one sentence and exit code 1."""
    options = lab_database.parser(__doc__.splitlines()[0]).parse_args()
    # Nothing waits longer than a few seconds for a lock.
    settings = {"lock_timeout": "5s", "statement_timeout": "300s"}
    try:
        with closing(lab_database.connect(options, "measure_benefit", **settings)) as connection:
            sys.stdout.write(json.dumps(measure_all(connection, json.load(sys.stdin)), sort_keys=True) + "\n")
    except (NotSampleDataError, psycopg2.Error) as error:
        sys.exit(f"measure_benefit: {error}")


if __name__ == "__main__":
    main()
