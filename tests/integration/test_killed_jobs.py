# ruff: noqa: S608 - tests make their own SQL
"""A job is killed before each of its steps, and the next run brings everything to where an undisturbed one does.

A step is a statement that changes something, or a call that makes, names or removes a file. Statements that are cut off
in their middle are in the tests of each job.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Database
from job_host import JobHost, install, until
from partitions import partition
from servers import MAJORS, Server, running

pytestmark = pytest.mark.faults

# Put behind the session that a job's script imports: counts the steps, and ends the process before one of them.
KILLER = """
import os
import signal


def counted(function, is_step=lambda *_: True):
    def count(*given, **named):
        if is_step(*given):
            counted.steps += 1
            if counted.steps == int(os.environ.get("KILLED_BEFORE", "0")):
                os.kill(os.getpid(), signal.SIGKILL)
            with open(os.environ["STEPS"], "w") as file:
                file.write(str(counted.steps))
        return function(*given, **named)

    return count


def changes(session, statement, *_):
    text = statement if isinstance(statement, str) else statement.as_string(session.connection)
    return not text.lstrip().startswith(("SELECT", "RESET", "WITH", "--"))


counted.steps = 0
Session.run = counted(Session.run, changes)
for name in ("link", "unlink", "replace", "truncate", "fsync"):
    setattr(os, name, counted(getattr(os, name)))
"""


class Steps:
    """The steps of a script, and its runs that are killed before one of them."""

    def __init__(self, host: JobHost, *arguments: str) -> None:
        """Have the script counted; `arguments` are the script and its own."""
        self.host, self.arguments = host, arguments
        self.file = host.folder / "steps"
        session = host.folder / "dbjob_session.py"
        session.write_text(session.read_text() + KILLER)

    def run(self, db: Database, before: int = 0) -> int:
        """Run it, killed before a step or, with 0, to its end; return the exit code."""
        self.file.write_text("0")
        done = self.host.run(db, *self.arguments, KILLED_BEFORE=str(before), STEPS=str(self.file))
        # The server has noticed, and what the run held is free.
        until(lambda: not db.value("SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^(ret|main|part)'"))
        assert before or done.code == 0, done.output
        return done.code

    def each(self, db: Database, again: Callable[[], None], state: Callable[[], Any]) -> int:
        """Kill it before each step; `again` makes what it works on, `state` says how that is. Return how many."""
        again()
        self.run(db)
        steps, wanted = int(self.file.read_text()), state()
        wrong = {}
        for number in range(1, steps + 1):
            again()
            assert self.run(db, before=number) == -9, number
            self.run(db)
            if (found := state()) != wanted:
                wrong[number] = found
        assert wrong == {}, f"wanted {wanted}"
        return steps


def left_behind(*folders: Path) -> list[str]:
    """Return the files that are only half of something."""
    return [path.name for folder in folders for path in folder.iterdir() if path.name.endswith(".partial")]


# --- maintenance

TABLES = """
CREATE TABLE bars (symbol text NOT NULL, day date NOT NULL);
INSERT INTO bars SELECT 'S' || s, date '2026-01-01' + d FROM generate_series(1, 20) s, generate_series(1, 50) d;
CREATE MATERIALIZED VIEW summary AS SELECT symbol, count(*) AS bars FROM bars GROUP BY symbol WITH NO DATA;
CREATE UNIQUE INDEX summary_symbol ON summary (symbol);
CREATE STATISTICS bars_statistics (dependencies) ON symbol, day FROM bars;
CREATE TABLE bloated (n int);
CREATE INDEX bloated_n ON bloated (n);
INSERT INTO bloated SELECT n FROM generate_series(1, 90000) n;
DELETE FROM bloated WHERE n % 20 <> 0;
VACUUM bloated;
"""
# Whether the view is full, what VACUUM and ANALYZE have written down, the bloated index's size, and INVALID indexes.
HEALTHY = """
SELECT (SELECT relispopulated FROM pg_class WHERE relname = 'summary'), (SELECT count(*) FROM pg_statistic_ext_data),
    (SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE reltuples > 0 AND relkind IN ('r', 'm')
     AND relnamespace = 'public'::regnamespace), pg_relation_size('bloated_n') < 1000000,
    (SELECT count(*) FROM pg_index WHERE NOT indisvalid)
"""


@pytest.mark.parametrize("job", ["daily", "weekly", "monthly"])
def test_maintenance_is_killed_before_each_of_its_steps(tmp_path: Path, job: str) -> None:
    host = install(
        "postgresql_maintenance",
        tmp_path / "host",
        MAINTENANCE_VACUUM_TABLES="public.bars",
        MAINTENANCE_VIEWS="public.summary",
        MAINTENANCE_REPORTS=str(tmp_path / "host/reports"),
        MAINTENANCE_REPORTS_KEPT="2",
    )
    with running(MAJORS[0], shared_preload_libraries="pg_stat_statements") as server:
        name = server.create_database()
        with contextlib.closing(server.connect(name)) as connection:
            db = Database(server, name, connection)
            db.execute("CREATE EXTENSION pgstattuple; CREATE EXTENSION pg_stat_statements")

            def again() -> None:
                db.execute("DROP TABLE IF EXISTS bars, bloated CASCADE")
                for statement in TABLES.split(";\n"):
                    db.execute(statement or "SELECT 1")

            def state() -> Any:
                return db.rows(HEALTHY), left_behind(host.folder / "reports")

            assert Steps(host, "run_maintenance", job).each(db, again, state) >= 3


# --- retention

LOGS = """
DROP SCHEMA IF EXISTS retention CASCADE;
DROP TABLE IF EXISTS logs, events CASCADE;
CREATE TABLE logs (id bigint PRIMARY KEY, at timestamptz NOT NULL);
CREATE INDEX ON logs (at);
INSERT INTO logs SELECT n, now() - make_interval(days => n) FROM generate_series(0, 50) n;
CREATE TABLE events (id bigint, at timestamptz NOT NULL) PARTITION BY RANGE (at);
CREATE INDEX ON events (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2000-01-01') TO ('2001-01-01');
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2001-01-01') TO ('2002-01-01');
CREATE TABLE events_3 PARTITION OF events FOR VALUES FROM ('2002-01-01') TO ('2999-01-01');
INSERT INTO events VALUES (1, '2000-05-05'), (2, '2001-05-05'), (3, now());
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Return the folder of the archives."""
    return tmp_path / "archive"


def archived(folder: Path) -> set[str]:
    """Return the ids in all archives."""
    ids = set()
    for path in folder.glob("*.csv.gz"):
        with gzip.open(path, "rt", newline="") as lines:
            ids |= {row[0] for row in list(csv.reader(lines))[1:]}
    return ids


@pytest.mark.parametrize("table", ["logs", "events"])
@pytest.mark.parametrize("with_archive", [False, True], ids=["without an archive", "with an archive"])
def test_retention_is_killed_before_each_of_its_steps(
    db15: Database, tmp_path: Path, archive: Path, table: str, with_archive: bool
) -> None:
    policy = {"table": f"public.{table}", "column": "at", "keep_days": 30, "archive": with_archive}
    host = install(
        "postgresql_retention",
        tmp_path / "host",
        RETENTION_ARCHIVE=str(archive),
        RETENTION_REPORTS=str(tmp_path / "host/reports"),
        RETENTION_BATCH_ROWS="10",
        RETENTION_REST="0",
        RETENTION_MOST_PERCENT="100",
        RETENTION_POLICIES=json.dumps([policy]),
    )

    def again() -> None:
        db15.execute(LOGS)
        shutil.rmtree(archive, ignore_errors=True)
        archive.mkdir()

    def state() -> Any:
        kept = db15.rows(f"SELECT id FROM {table} ORDER BY id")
        counted = db15.value("SELECT sum(rows_deleted) FROM retention.retention_run")
        unfinished = db15.value("SELECT count(*) FROM retention.retention_run WHERE state = 'running'")
        tables = db15.value("SELECT count(*) FROM pg_class WHERE relname ~ '^events_[0-9]$'")
        half = left_behind(archive, host.folder / "reports")
        return kept, counted, unfinished, tables, archived(archive), half

    assert Steps(host, "run_retention").each(db15, again, state) >= 8


# --- partitions


def test_the_making_of_months_is_killed_before_each_of_its_steps(
    servers: Callable[[int], Server], tmp_path: Path
) -> None:
    server = servers(MAJORS[0])
    name = server.create_database()
    table = {"table": "public.bars", "column": "ts", "premake": 5, "keep_months": 2}
    host = install("postgresql_partitioning", tmp_path / "host", PARTITIONS_TABLES=json.dumps([table]))
    with contextlib.closing(server.connect(name)) as connection:
        db = Database(server, name, connection)

        def again() -> None:
            db.execute(
                "DROP SCHEMA IF EXISTS partman CASCADE; DROP TABLE IF EXISTS bars_old; DROP TABLE IF EXISTS bars"
            )
            db.execute("CREATE SCHEMA partman; CREATE EXTENSION pg_partman SCHEMA partman")
            db.execute("SET ROLE owner; CREATE TABLE bars (ts timestamp NOT NULL, n int); RESET ROLE")
            assert not partition(db).failed
            # A month that is past what the table keeps, beside the history of before it.
            db.execute(
                "SET ROLE owner; ALTER TABLE bars DETACH PARTITION bars_history; DROP TABLE bars_history;"
                "CREATE TABLE bars_old PARTITION OF bars FOR VALUES FROM ('2000-01-01') TO ('2000-02-01');"
                "ALTER TABLE bars_old SET (fillfactor = 70); INSERT INTO bars VALUES ('2000-01-05', 1); RESET ROLE;"
                "DO $$ BEGIN EXECUTE format('CREATE TABLE bars_now PARTITION OF bars FOR VALUES FROM (%L) TO (%L)',"
                " date_trunc('month', now()), (SELECT min(substring(pg_get_expr(relpartbound, oid) FROM '20[^'']+'))"
                " FROM pg_class WHERE relname ~ '^bars_p2')); END $$; ALTER TABLE bars_now OWNER TO owner"
            )

        def state() -> Any:
            parts = (
                "SELECT relname, reloptions::text, pg_get_userbyid(relowner), relispartition FROM pg_class"
                " WHERE relname ~ '^bars' AND relkind = 'r' ORDER BY 1"
            )
            return (
                db.rows(parts),
                db.rows("SELECT n FROM bars_old"),
                db.rows("SELECT parent_table FROM partman.part_config"),
            )

        assert Steps(host, "maintain_partitions").each(db, again, state) >= 5
    server.drop_database(name)
