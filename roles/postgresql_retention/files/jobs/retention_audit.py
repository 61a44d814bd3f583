"""What retention did: a row for each policy and run, and one for each partition, in tables of their own."""

from __future__ import annotations

import socket
from typing import Any

from dbjob_session import Session
from psycopg2 import sql

# `running` is also what a killed run leaves; the next run calls it killed.
TABLES = """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {schema}.retention_run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    host text NOT NULL,
    table_name text NOT NULL,
    column_name text NOT NULL,
    keep_days integer NOT NULL,
    cutoff text NOT NULL,
    confirmed boolean NOT NULL,
    rows_found bigint NOT NULL,
    rows_expired bigint NOT NULL,
    rows_deleted bigint NOT NULL DEFAULT 0,
    oldest_kept text,
    archives text[] NOT NULL DEFAULT ARRAY[]::text[],
    state text NOT NULL DEFAULT 'running'
        CHECK (state IN ('running', 'done', 'refused', 'failed', 'stopped', 'killed')),
    message text NOT NULL DEFAULT '',
    rows_left bigint
);
CREATE TABLE IF NOT EXISTS {schema}.retention_partition (
    partition_oid oid PRIMARY KEY,
    partition_name text NOT NULL,
    table_name text NOT NULL,
    bounds text NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    dropped_at timestamptz,
    rows_dropped bigint,
    archive text
);
"""
# A table of before the column has none.
HAS_LEFT = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = 'rows_left')"


class Audit:
    """The tables in their schema."""

    def __init__(self, session: Session, schema: str) -> None:
        """Make them where they are missing."""
        self.session, self.schema = session, schema
        if session.value("SELECT to_regclass(%s) IS NULL", [f'"{schema}".retention_partition']):
            session.run(self.sql(TABLES))
        if not session.value(HAS_LEFT, [f'"{schema}".retention_run']):
            session.run(self.sql("ALTER TABLE {schema}.retention_run ADD COLUMN rows_left bigint"))

    def sql(self, text: str, **names: sql.Composable) -> sql.Composed:
        """Return a statement with the schema's name in it."""
        return sql.SQL(text).format(schema=sql.Identifier(self.schema), **names)

    def call_killed(self) -> None:
        """Call what runs no more by its name."""
        self.session.run(self.sql("UPDATE {schema}.retention_run SET state = 'killed' WHERE state = 'running'"))

    def refuse_all(self, message: str) -> None:
        """Write that settings were wrong, and nothing of any policy was done."""
        statement = (
            "INSERT INTO {schema}.retention_run (ended_at, host, table_name, column_name, keep_days, cutoff, confirmed,"
            " rows_found, rows_expired, state, message)"
            " VALUES (clock_timestamp(), %s, '', '', 0, '', false, 0, 0, 'refused', %s)"
        )
        self.session.run(self.sql(statement), [socket.gethostname(), message])

    def add_salvaged(self, table: str, path: str) -> None:
        """Name an archive that a killed run left with that run, the last one of its table."""
        statement = (
            "UPDATE {schema}.retention_run SET archives = archives || %s::text WHERE id ="
            " (SELECT max(id) FROM {schema}.retention_run WHERE state = 'killed' AND table_name = %s)"
        )
        self.session.run(self.sql(statement), [path, table])

    def begin(self, policy: Any, sight: Any, confirmed: bool) -> int:
        """Write that a policy is being carried out, and return the row's id."""
        return int(
            self.session.value(
                self.sql(
                    "INSERT INTO {schema}.retention_run (host, table_name, column_name, keep_days, cutoff, confirmed,"
                    " rows_found, rows_expired, oldest_kept) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id"
                ),
                [
                    socket.gethostname(), policy.name, policy.column, policy.keep_days, sight.cutoff, confirmed,
                    sight.rows, sight.expired, sight.oldest_kept,
                ],
            )
        )  # fmt: skip

    def add_deleted(self, row: int, rows: int) -> None:
        """Count rows, in the transaction that deletes them."""
        statement = "UPDATE {schema}.retention_run SET rows_deleted = rows_deleted + %s WHERE id = %s"
        self.session.run(self.sql(statement), [rows, row])

    def deleted(self, row: int) -> int:
        """Return how many rows were counted."""
        return int(self.session.value(self.sql("SELECT rows_deleted FROM {schema}.retention_run WHERE id = %s"), [row]))

    def note_left(self, policy: Any, row: int, left: int) -> int:
        """Note how many rows past the limit stayed; return how many did in the run before."""
        self.session.run(self.sql("UPDATE {schema}.retention_run SET rows_left = %s WHERE id = %s"), [left, row])
        before = self.session.run(
            self.sql(
                "SELECT rows_left FROM {schema}.retention_run WHERE (table_name, column_name) = (%s, %s) AND id < %s"
                " AND state IN ('done', 'failed') ORDER BY id DESC LIMIT 1"
            ),
            [policy.name, policy.column, row],
        )
        return int(before[0]["rows_left"] or 0) if before else 0

    def add_archive(self, row: int, path: str) -> None:
        """Name an archive."""
        statement = "UPDATE {schema}.retention_run SET archives = archives || %s::text WHERE id = %s"
        self.session.try_once(self.sql(statement), [path, row])

    def end(self, row: int, state: str, message: str) -> None:
        """Write how it ended."""
        statement = (
            "UPDATE {schema}.retention_run SET state = %s, message = %s, ended_at = clock_timestamp() WHERE id = %s"
        )
        self.session.run(self.sql(statement), [state, message, row])

    def confirmed_until(self, policy: Any) -> str | None:
        """Return the last limit that a person confirmed: what is past it goes unasked, also after a kill."""
        rows = self.session.run(
            self.sql(
                "SELECT cutoff FROM {schema}.retention_run WHERE confirmed AND (table_name, column_name, keep_days)"
                " = (%s, %s, %s) ORDER BY id DESC LIMIT 1"
            ),
            [policy.name, policy.column, policy.keep_days],
        )
        return str(rows[0]["cutoff"]) if rows else None

    def note_partition(self, partition: dict[str, Any], table: str) -> None:
        """Note a partition before it is detached: from then on nothing else tells that it is to be dropped."""
        self.session.run(
            self.sql(
                "INSERT INTO {schema}.retention_partition AS p (partition_oid, partition_name, table_name, bounds)"
                " VALUES (%s, %s, %s, %s) ON CONFLICT (partition_oid) DO UPDATE SET"
                " (partition_name, table_name, bounds, begun_at, dropped_at)"
                " = (EXCLUDED.partition_name, EXCLUDED.table_name, EXCLUDED.bounds, now(), NULL)"
            ),
            [partition["oid"], partition["name"], table, partition["bounds"]],
        )

    def note_dropped(self, oid: int, rows: int, archive: str | None) -> None:
        """Note that it is gone, in the transaction that drops it."""
        statement = (
            "UPDATE {schema}.retention_partition SET dropped_at = clock_timestamp(), rows_dropped = %s, archive = %s"
            " WHERE partition_oid = %s"
        )
        self.session.run(self.sql(statement), [rows, archive, oid])
