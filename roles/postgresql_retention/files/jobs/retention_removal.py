"""One policy carried out: partitions dropped, rows deleted batch by batch, archived before where that is asked for."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import retention_partitions as partitions
from dbjob_session import JobError, Session, identifier
from psycopg2 import sql
from retention_archive import Archive, refuse_a_full_disk
from retention_audit import Audit
from retention_effects import TRIGGERED, Changes, beside, changed
from retention_policy import Policy
from retention_sight import Sight

COLUMNS = """
SELECT attname AS name FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
# How far the replicas and the WAL archive are behind. A replica that is not connected is not waited for: its slot
# keeps what it needs, up to max_slot_wal_keep_size.
BEHIND = """
SELECT
    coalesce((SELECT max(pg_current_wal_lsn() - replay_lsn) FROM pg_stat_replication), 0)::bigint AS lag,
    CASE
        WHEN current_setting('archive_mode') = 'off' THEN 0
        ELSE (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready')
    END AS backlog
"""
# The oldest rows, which are locked, so that the archive has these and no others. Those that the application has locked
# are left for the next run. A batch begins at the time that the last one ended at, and reads none of its dead entries.
CHOOSE = """
SELECT array_agg(b.ctid)::text AS ids, count(*) AS rows, max(b.{column})::text AS highest
FROM (
    SELECT ctid, {column} FROM ONLY {table}
    WHERE {column} >= %(lowest)s::{type} AND {column} < %(cutoff)s::{type}
    ORDER BY {column} LIMIT %(most)s FOR UPDATE SKIP LOCKED
) AS b
"""
DELETE = "WITH gone AS (DELETE FROM ONLY {table} WHERE {chosen} RETURNING 1) SELECT count(*) FROM gone"


def archive_name(session: Session, table: str) -> str:
    """Return how the names of a table's archives begin."""
    return f"{session.value('SELECT current_database()')}.{table}"


class Removal:
    """What one policy takes from its table in one run."""

    def __init__(self, session: Session, given: Any, audit: Audit, policy: Policy, sight: Sight, row: int) -> None:  # noqa: PLR0913, PLR0917 - what one removal consists of
        """Take the session, the settings, and the row of the audit."""
        self.session, self.given, self.audit = session, given, audit
        self.policy, self.sight, self.row = policy, sight, row
        # What went or changed with the rows, by foreign keys and triggers.
        self.others: Changes = Counter()

    def carry_out(self) -> str:
        """Remove what is past the limit, up to the cap, and return how far that got.

        Raises:
            JobError: it was not done, or rows past the limit stayed in this run and in the one before.
        """
        dropped, spared = self.drop_partitions() if self.policy.by_time else (0, [])
        deleted = 0
        with self.archive() as archive:
            for leaf in self.policy.leaves:
                deleted += self.delete_rows(leaf, archive, self.given.most_rows - deleted)
        parts = [f"{dropped} partitions dropped"] if self.policy.by_time else []
        parts += [f"{deleted} rows deleted"] if deleted or not parts else []
        parts += ["the cap of one run: the next one goes on"] if deleted >= self.given.most_rows else []
        parts += [f"{name} was detached by an earlier run and is kept longer now: attach it again" for name in spared]
        left = 0 if deleted >= self.given.most_rows else self.count_left()
        before = self.audit.note_left(self.policy, self.row, left)
        parts += [f"{left} rows past the limit stayed, locked or hidden by somebody"] if left else []
        if left and before:
            raise JobError(f"{', '.join(parts)}, and {before} did in the run before: look who keeps them (pg_locks)")
        return ", ".join(parts)

    def count_left(self) -> int:
        """Return how many rows past the limit are there still, where fewer went than were seen."""
        if self.audit.deleted(self.row) >= self.sight.expired:
            return 0
        names = {"table": self.policy.table, "column": self.policy.time, "type": sql.SQL(self.policy.type)}
        query = sql.SQL("SELECT count(*) FROM {table} WHERE {column} < %s::{type}").format(**names)
        return int(self.session.value(query, [self.sight.cutoff]))

    @property
    def effects(self) -> str:
        """Return what went or changed with the rows, in words."""
        return f"with them {told}" if (told := beside(self.others)) else ""

    @contextlib.contextmanager
    def archive(self) -> Iterator[Archive | None]:
        """Have an archive where the policy asks for one, finished also when something failed: its rows are gone."""
        if not self.policy.archive:
            yield None
            return
        columns = [str(column["name"]) for column in self.session.run(COLUMNS, [self.policy.oid])]
        name = archive_name(self.session, self.policy.name)
        if self.sight.expired:
            refuse_a_full_disk(self.given.archive, self.expected_bytes(), self.given.reserve)
        archive = Archive(
            self.given.archive, f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}", columns, self.given.reserve
        )
        try:
            yield archive
        finally:
            if path := archive.finish():
                self.audit.add_archive(self.row, str(path))

    def expected_bytes(self) -> int:
        """Return what the rows that go take in their table; an archive of them is smaller."""
        if not self.sight.rows:
            return 0
        size = self.session.value(
            "SELECT coalesce(sum(pg_table_size(t.relid)), pg_table_size(%s))::bigint FROM pg_partition_tree(%s) AS t",
            [self.policy.oid, self.policy.oid],
        )
        return int(size) * min(self.sight.expired, self.given.most_rows) // self.sight.rows

    def drop_partitions(self) -> tuple[int, list[str]]:
        """Detach and drop the partitions that are past the limit, and those that a killed run detached.

        Returns how many, and the names of detached ones that the policy keeps longer by now.
        """
        left = partitions.detached(self.session, self.audit, self.policy)
        gone = [partition for partition in left if partition["expired"]]
        gone += partitions.expired(self.session, self.policy, self.sight.cutoff)
        for partition in gone:
            self.audit.note_partition(partition, self.policy.name)
            partitions.detach(self.session, self.policy, partition, self.given.lock_wait)
            with self.archive() as archive:
                partitions.drop(self.session, self.audit, self.row, partition, archive)
        return len(gone), [partition["name"] for partition in left if not partition["expired"]]

    def delete_rows(self, leaf: str, archive: Archive | None, most: int) -> int:
        """Delete the rows of a table batch by batch, and return how many."""
        deleted, lowest = 0, "-infinity"
        while deleted < most:
            begin = time.monotonic()
            rows, lowest = self.delete_batch(leaf, archive, lowest, min(self.given.batch_rows, most - deleted))
            if not rows:
                break
            deleted += rows
            self.pace((time.monotonic() - begin) * self.given.rest)
        return deleted

    def delete_batch(self, leaf: str, archive: Archive | None, lowest: str, most: int) -> tuple[int, str]:
        """Delete the oldest rows from a time on; return how many, and the time of the last of them."""
        names = {"table": identifier(leaf), "column": self.policy.time, "type": sql.SQL(self.policy.type)}
        values = {"lowest": lowest, "cutoff": self.sight.cutoff, "most": most}
        with self.session.transaction():
            self.be(self.given.owner or "none")
            batch = self.session.run(sql.SQL(CHOOSE).format(**names), values)[0]
            if not batch["rows"]:
                return 0, lowest
            chosen = sql.SQL("ctid = ANY ({}::tid[])").format(sql.Literal(batch["ids"]))
            if archive is not None:
                rest = sql.SQL("FROM ONLY {table} WHERE {chosen} ORDER BY {column}").format(chosen=chosen, **names)
                archive.append(self.session, rest, batch["rows"])
            triggered = self.session.value(TRIGGERED, [leaf])
            before = changed(self.session) if triggered else Counter()
            gone = int(self.session.value(sql.SQL(DELETE).format(chosen=chosen, **names)))
            if gone != batch["rows"]:
                raise JobError(f"of {batch['rows']} rows {leaf} gave {gone}: a trigger or a rule keeps them")
            others: Changes = Counter()
            if triggered:
                # Deferred ones run now, as the owner and not as the login that commits.
                self.session.run("SET CONSTRAINTS ALL IMMEDIATE")
                others = changed(self.session) - before - Counter({(leaf, "deleted"): gone})
            self.be("none")
            self.audit.add_deleted(self.row, gone)
        self.others += others
        return gone, batch["highest"]

    def be(self, role: str) -> None:
        """Become another role until the end of the transaction, or `none` for the login."""
        self.session.run("SELECT set_config('role', %s, true)", [role])

    def pace(self, rest: float) -> None:
        """Rest, and then wait until replicas and the archive have followed.

        Raises:
            JobError: they do not.
        """
        self.session.sleep(rest)
        end = time.monotonic() + self.given.longest_wait
        while True:
            now = self.session.run(BEHIND)[0]
            if now["lag"] <= self.given.lag_bytes and now["backlog"] <= self.given.backlog_files:
                return
            if time.monotonic() >= end:
                raise JobError(
                    f"a replica is {now['lag'] >> 20} MB behind and {now['backlog']} WAL files wait to be archived, "
                    f"for {self.given.longest_wait:g} s: the next run goes on"
                )
            self.session.sleep(0.5)
