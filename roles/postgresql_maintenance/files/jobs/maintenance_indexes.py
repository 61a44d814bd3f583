"""Indexes: leftovers dropped, bloat rebuilt while the table is written to, and those that nobody uses named."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import Any

import psycopg2
import psycopg2.extras
from dbjob_report import Step
from dbjob_session import JobError, identifier
from dbjob_watch import Watch
from maintenance_steps import QUERIES, Steps, title_of
from psycopg2 import sql

# A drop that waits is no build that is lost: the next run tries again.
FOR_DROP = {"lock_timeout": "0", "statement_timeout": "60s"}
# A rebuild that a timeout ends leaves an INVALID index. How long it waits for others is watched instead.
FOR_BUILD = {"lock_timeout": "0", "statement_timeout": "0"}
# Seconds after which an open transaction is not expected to end soon.
OLD = 60


class Indexes(Steps):
    """What the jobs do for indexes."""

    def clean(self) -> None:
        """Drop what a killed REINDEX CONCURRENTLY left: every write maintains it, and no query reads it.

        The drop waits for the same transactions as the build did. A minute, and then the next run.
        """
        for row in self.listed("reindex_leftovers"):
            statement = sql.SQL("DROP INDEX CONCURRENTLY {}").format(identifier(row["name"]))
            self.act(f"DROP INDEX {row['name']}, left by a killed REINDEX", statement, **FOR_DROP)

    def reindex(self) -> None:
        """Rebuild the indexes that have too much bloat, the largest gain first."""
        bloated: list[dict[str, Any]] = []
        title = title_of("index_bloat")

        def measure() -> Step:
            rows = self.query("index_bloat")
            bloated.extend(row for row in rows if row["bloat_percent"] >= self.given.bloat_percent)
            shown = [{key: value for key, value in row.items() if key != "bytes"} for row in rows[:20]]
            return Step(title, "done", f"{len(bloated)} of {len(rows)} are to be rebuilt", rows=shown)

        self.step(title, measure)
        for row in bloated:
            name = f"REINDEX {row['name']}"
            self.step(name, lambda row=row, name=name: self.reindex_one(name, row))

    def reindex_one(self, title: str, row: dict[str, Any]) -> Step:
        """Rebuild one index while its table is written to; it stands beside the old one until the end."""
        free = shutil.disk_usage(self.session.value("SELECT current_setting('data_directory')")).free
        if free < 2 * row["bytes"]:
            raise JobError(f"{free >> 20} MB are free, less than twice the index's {row['size']}: not begun")
        # It would hold the lock, for which deployments wait, as long as one of these goes on.
        if old := [who for who in self.query("long_transactions") if who["seconds"] > OLD]:
            who = "; ".join(f"{found['who']} for {found['seconds']} s: {found['what']}" for found in old)
            raise JobError(f"not begun, as it would wait for transactions that are open for more than {OLD} s: {who}")
        with self.session.lock(self.given.lock_wait), self.session.settings(**FOR_BUILD):
            watch = Watch(self.session, self.given.build_wait)
            try:
                with watch:
                    self.session.run(sql.SQL("REINDEX INDEX CONCURRENTLY {}").format(identifier(row["name"])))
            except JobError as error:
                if not watch.blockers:
                    raise
                wait = f"given up, as for {self.given.build_wait:g} s it did nothing but wait for {watch.blockers}"
                raise JobError(f"{wait}. What it leaves the next run drops") from error
        after = self.session.value("SELECT pg_size_pretty(pg_relation_size(%s::regclass))", [row["name"]])
        return Step(title, "done", f"{row['size']} became {after}")

    def keep_bloat(self) -> None:
        """Measure what is left, and keep it for the check `bloat` of `health`."""
        title = title_of("table_bloat")

        def measure() -> Step:
            tables = self.query("table_bloat")
            measured = [("table", row) for row in tables] + [("index", row) for row in self.query("index_bloat")]
            kept = [
                {"name": row["name"], "kind": kind, "bytes": row["bytes"], "percent": float(row["bloat_percent"])}
                for kind, row in measured
            ]
            file = self.given.reports / "bloat.measured"
            partial = file.with_suffix(".partial")
            text = {"time": time.time(), "database": self.report.database, "measured": kept}
            partial.write_text(json.dumps(text) + "\n", encoding="utf-8")
            partial.replace(file)
            return Step(title, "done", f"{len(tables)} of at least 10 MB", rows=tables[:20])

        self.step(title, measure)

    def unused(self) -> None:
        """Report the indexes that no node uses: one that is idle on the primary may serve a replica."""
        title = title_of("unused_indexes")

        def ask() -> Step:
            answers = {"here": {row["name"]: row for row in self.query("unused_indexes")}}
            for node, conninfo in self.given.nodes.items():
                answers[node] = {row["name"]: row for row in ask_node(node, conninfo)}
            rows = [
                {
                    **{key: value for key, value in row.items() if key not in {"bytes", "attention"}},
                    "scans": "  ".join(f"{node} {answer[name]['scans']}" for node, answer in answers.items()),
                    "counted_for": min(answer[name]["counted_for"] for answer in answers.values()),
                    "attention": all(answer[name]["attention"] for answer in answers.values()),
                }
                for name, row in answers["here"].items()
                if all(name in answer for answer in answers.values())
            ]
            return Step(title, "done", f"counted on {', '.join(answers)}", rows=rows)

        self.step(title, ask)


def ask_node(node: str, conninfo: str) -> list[dict[str, Any]]:
    """Return the unused indexes of another node of the cluster.

    Raises:
        JobError: it does not answer, and then nothing is known of any index.
    """
    query = (QUERIES / "unused_indexes.sql").read_text(encoding="utf-8")
    database = os.environ.get("PGDATABASE", "")
    try:
        named = {"application_name": "maintenance", "client_encoding": "UTF8"}
        connection = psycopg2.connect(conninfo, dbname=database, connect_timeout=10, **named)
    except psycopg2.Error as error:
        raise JobError(f"{node} does not answer, and an index may serve it: {' '.join(str(error).split())}") from error
    try:
        with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute("SET statement_timeout = '60s'")
            cursor.execute(query)
            return [dict(row) for row in cursor.fetchall()]
    finally:
        connection.close()
