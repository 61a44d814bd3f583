"""A run is cut off in every way there is, and one more run ends in the declared state."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.pg_optimization import apply, connection
from conftest import Database, Outcome
from servers import MAJORS, Server, running

pytestmark = pytest.mark.faults

TABLE = """
SET ROLE owner;
CREATE TABLE t (id serial PRIMARY KEY, a int NOT NULL, b int, c text, CONSTRAINT t_ab UNIQUE (a, b));
INSERT INTO t (a, b, c) SELECT n, n % 10, 'c' || n FROM generate_series(1, 2000) n;
CREATE TABLE elsewhere (a int);
ANALYZE;
RESET ROLE;
"""
NEW = {"indexes": [{"name": "x", "table": "t", "columns": ["b", "c"], "comment": "New"}]}
Interrupt = Callable[[Database, int], None]


@pytest.fixture
def table(db: Database) -> Database:
    db.execute(TABLE)
    return db


class Run(threading.Thread):
    """The module's work in a thread."""

    def __init__(self, db: Database, **declared: Any) -> None:
        """Take what is declared; start() begins."""
        super().__init__(daemon=True)
        self.db = db
        self.declared = declared
        self.outcome: Outcome | None = None

    def run(self) -> None:
        """Work."""
        self.outcome = self.db.optimise(**self.declared)

    def end(self) -> Outcome:
        """Wait for the end."""
        self.join(60)
        assert self.outcome is not None
        return self.outcome


def until(condition: Callable[[], Any], seconds: float = 300.0) -> Any:
    """Wait for something to become true, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def building(db: Database, phase: str) -> int:
    """Wait until a build waits in a phase, and return its process."""
    query = "SELECT pid FROM pg_stat_progress_create_index WHERE datname = current_database() AND phase LIKE %s"
    return int(until(lambda: db.rows(query, (phase,)))[0][0])


def invalid(db: Database) -> int:
    return int(db.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid"))


def settled(db: Database, **declared: Any) -> None:
    """Hold the database to the declared state, with nothing left over."""
    db.settle(**declared)
    assert invalid(db) == 0
    assert db.rows(r"SELECT relname FROM pg_class WHERE relname ~ '__pgopt_(new|old)|_cc(new|old)'") == []


# What keeps a build waiting, and the phase it waits in: in the first nobody writes its index, in the second everybody.
WAITS = {
    "before the build": ("INSERT INTO t (a, b) VALUES (-1, -1)", "waiting for writers before build"),
    "before validation": ("SELECT 1 FROM elsewhere", "waiting for old snapshots"),
}


@contextlib.contextmanager
def blocked(db: Database, statement: str) -> Iterator[None]:
    """Keep builds waiting by an open transaction with a snapshot."""
    with contextlib.closing(db.connect()) as other, other.cursor() as cursor:
        cursor.execute("SET application_name = 'the blocker'; BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.execute(statement)
        yield
        cursor.execute("ROLLBACK")


def cancel(db: Database, pid: int) -> None:
    db.execute("SELECT pg_cancel_backend(%s)", (pid,))


def terminate(db: Database, pid: int) -> None:
    db.execute("SELECT pg_terminate_backend(%s)", (pid,))


@pytest.mark.parametrize(("statement", "phase"), WAITS.values(), ids=WAITS)
@pytest.mark.parametrize("interrupt", [cancel, terminate])
def test_a_build_is_interrupted_by_the_server(
    table: Database, interrupt: Interrupt, statement: str, phase: str
) -> None:
    with blocked(table, statement):
        run = Run(table, **NEW)
        run.start()
        interrupt(table, building(table, phase))
        done = run.end()
    assert done.failed
    assert done.result["sqlstate"] in {"57014", "57P01", "08006"}
    assert "CREATE INDEX CONCURRENTLY" in done.result["statement"]
    assert done.actions[0]["state"] == "failed"
    assert invalid(table) == 1
    settled(table, **NEW)


@pytest.mark.parametrize(("statement", "phase"), WAITS.values(), ids=WAITS)
@pytest.mark.parametrize("interrupt", [cancel, terminate])
def test_a_reindex_of_a_constraint_is_interrupted(
    table: Database, interrupt: Interrupt, statement: str, phase: str
) -> None:
    table.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_ab'::regclass")
    declared = {"indexes": [{"name": "t_ab", "table": "t", "columns": ["a", "b"], "unique": True}]}
    with blocked(table, statement):
        run = Run(table, **declared)
        run.start()
        interrupt(table, building(table, phase))
        done = run.end()
    assert done.failed
    assert "REINDEX INDEX CONCURRENTLY" in done.result["statement"]
    assert invalid(table) == 2
    settled(table, **declared)


@pytest.mark.parametrize("interrupt", [cancel, terminate])
def test_the_filling_of_a_view_is_interrupted(table: Database, interrupt: Interrupt) -> None:
    view = {"name": "v", "query": "SELECT a FROM t", "indexes": [{"name": "v_a", "columns": ["a"], "unique": True}]}
    table.settle(materialized_views=[view])
    query = "SELECT a, b FROM t, (SELECT pg_advisory_xact_lock_shared(77)) waits"
    changed = {"materialized_views": [{**view, "query": query}]}
    filling = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'REFRESH%' AND wait_event = 'advisory'"
    with contextlib.closing(table.connect()) as other:
        other.cursor().execute("SELECT pg_advisory_lock(77)")
        run = Run(table, **changed)
        run.start()
        interrupt(table, until(lambda: table.rows(filling))[0][0])
        done = run.end()
    assert done.failed
    assert "REFRESH MATERIALIZED VIEW" in done.result["statement"]
    assert table.value("SELECT count(*) FROM v") == 2000
    settled(table, **changed)


def test_a_build_that_blocks_writers_gets_no_lock_and_changes_nothing(table: Database) -> None:
    with blocked(table, "INSERT INTO t (a, b) VALUES (-1, -1)"):
        done = table.optimise(concurrently=False, lock_budget=0.7, lock_timeout=0.2, **NEW)
    assert (done.failed, done.changed, done.result["sqlstate"]) == (True, False, "55P03")
    assert "CREATE INDEX" in done.result["statement"]
    assert "CONCURRENTLY" not in done.result["statement"]
    assert [row["application"] for row in done.result["blockers"]] == ["the blocker"]
    settled(table, concurrently=False, **NEW)


@pytest.mark.parametrize(("statement", "phase"), WAITS.values(), ids=WAITS)
def test_a_build_gives_up_and_names_who_it_waited_for(table: Database, statement: str, phase: str) -> None:
    with blocked(table, statement):
        run = Run(table, build_wait=1.0, **NEW)
        run.start()
        building(table, phase)
        done = run.end()
    assert done.failed
    assert "nothing but wait for other sessions" in done.msg
    assert "the blocker" in done.msg
    assert [row["application"] for row in done.result["blockers"]] == ["the blocker"]
    settled(table, **NEW)


def test_what_a_build_will_wait_for_is_warned_of(table: Database) -> None:
    with blocked(table, WAITS["before the build"][0]):
        run = Run(table, build_wait=0.5, **NEW)
        run.start()
        done = run.end()
    assert [text for text in done.result["warnings"] if "builds will wait for" in text and "the blocker" in text]


@pytest.mark.parametrize(("statement", "phase"), WAITS.values(), ids=WAITS)
def test_the_client_is_killed(table: Database, statement: str, phase: str) -> None:
    driver = Path(__file__).with_name("driver.py")
    with blocked(table, statement):
        with subprocess.Popen([sys.executable, str(driver), json.dumps(table.params(**NEW))]) as client:
            pid = building(table, phase)
            client.kill()
        # The server looks every two seconds whether the client is there; until then nobody can have the lock.
        until(lambda: not table.rows("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)))
    assert invalid(table) == 1
    settled(table, **NEW)


def test_a_client_is_killed_and_the_next_run_starts_at_once(table: Database) -> None:
    driver = Path(__file__).with_name("driver.py")
    with blocked(table, WAITS["before the build"][0]):
        with subprocess.Popen([sys.executable, str(driver), json.dumps(table.params(**NEW))]) as client:
            building(table, WAITS["before the build"][1])
            client.kill()
        run = Run(table, **NEW)
        run.start()
        until(
            lambda: table.value("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'postgresql_opt%%'")
        )
        time.sleep(3)
    assert not run.end().failed
    settled(table, **NEW)


@pytest.mark.parametrize("major", MAJORS)
def test_the_server_is_killed(major: int) -> None:
    # What was committed is on the disk, as on a server that keeps its promises.
    with running(major, synchronous_commit="on") as server:
        name = server.create_database()
        with contextlib.closing(server.connect(name)) as session:
            db = Database(server, name, session)
            db.execute(TABLE)
            blocker = server.connect(name)
            blocker.cursor().execute("BEGIN; INSERT INTO t (a, b) VALUES (-1, -1)")
            run = Run(db, **NEW)
            run.start()
            building(db, WAITS["before the build"][1])
            server.kill()
            done = run.end()
            assert done.failed
            blocker.close()
        server.start()
        with contextlib.closing(server.connect(name)) as session:
            db = Database(server, name, session)
            assert invalid(db) == 1
            settled(db, **NEW)


def test_duplicate_keys_stop_a_unique_build(table: Database) -> None:
    declared = {"indexes": [{"name": "x", "table": "t", "columns": ["b"], "unique": True}]}
    done = table.optimise(**declared)
    assert (done.failed, done.result["sqlstate"]) == (True, "23505")
    assert "DETAIL: Key (b)=(" in done.msg
    table.execute("UPDATE t SET b = a")
    settled(table, **declared)


@pytest.fixture
def small_disk(server: Server) -> Iterator[Path]:
    """Mount a file system of 3 MB, which needs root, and give it to the server."""
    folder = Path(tempfile.mkdtemp(prefix="pgopt-disk-", dir="/tmp"))
    options = "size=3m,mode=0700"
    if server.user is not None:
        options += f",uid={server.user.pw_uid},gid={server.user.pw_gid}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


@pytest.fixture
def full(table: Database, small_disk: Path) -> Iterator[Database]:
    """Make a tablespace on the small disk, and a table whose index does not fit."""
    table.execute(f"CREATE TABLESPACE small OWNER owner LOCATION '{small_disk}'")
    table.execute("INSERT INTO t (a, b, c) SELECT n, n, repeat(md5(n::text), 4) FROM generate_series(3000, 40000) n")
    yield table
    table.execute("DROP TABLE t")
    table.execute("DROP TABLESPACE small")


def test_the_disk_is_full_when_a_view_is_filled(full: Database, small_disk: Path) -> None:
    view = {"name": "v", "query": "SELECT a FROM t WHERE a < 100", "tablespace": "small"}
    full.settle(materialized_views=[view])
    changed = {"materialized_views": [{**view, "query": "SELECT a, c || c AS c FROM t"}], "space_check": "off"}
    done = full.optimise(**changed)
    assert (done.failed, done.result["sqlstate"]) == (True, "53100")
    assert full.value("SELECT count(*) FROM v") > 0
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    settled(full, **changed)
    full.execute("DROP MATERIALIZED VIEW v")


def test_the_disk_is_full(full: Database, small_disk: Path) -> None:
    declared = {"indexes": [{"name": "x", "table": "t", "columns": ["c", "a"], "tablespace": "small"}]}
    done = full.optimise(**declared, space_check="off")
    assert (done.failed, done.result["sqlstate"]) == (True, "53100")
    assert invalid(full) == 1
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    settled(full, **declared)


def test_a_disk_that_is_known_to_be_too_small_is_refused_before(full: Database) -> None:
    full.execute("ANALYZE t")
    before = full.snapshot()
    done = full.optimise(indexes=[{"name": "x", "table": "t", "columns": ["c", "a"], "tablespace": "small"}])
    assert done.failed
    assert "tablespace small: the builds need about" in done.msg
    assert full.snapshot() == before


def test_a_swap_that_gets_no_lock_names_who_has_it(table: Database) -> None:
    view = {"name": "v", "query": "SELECT a FROM t"}
    table.settle(materialized_views=[view])
    changed = {"materialized_views": [{**view, "query": "SELECT a, b FROM t"}]}
    with blocked(table, "SELECT 1 FROM v"):
        begin = time.monotonic()
        done = table.optimise(lock_budget=1.5, lock_timeout=0.3, **changed)
        assert time.monotonic() - begin > 1.5
    assert (done.failed, done.changed, done.result["sqlstate"]) == (True, True, "55P03")
    assert "In the way: pid" in done.msg
    assert [(row["application"], row["holds"]) for row in done.result["blockers"]] == [
        ("the blocker", "AccessShareLock on v")
    ]
    settled(table, **changed)


def test_a_run_that_gets_no_lock_has_changed_nothing(table: Database) -> None:
    declared = {"table_parameters": [{"table": "t", "parameters": {"fillfactor": 70}}]}
    with contextlib.closing(table.connect()) as other, other.cursor() as cursor:
        cursor.execute("SET application_name = 'the blocker'; BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE")
        done = table.optimise(lock_budget=0.5, **declared)
        assert (done.failed, done.changed, done.result["sqlstate"]) == (True, False, "55P03")
        assert "the blocker" in done.msg
    settled(table, **declared)


def test_autovacuum_yields() -> None:
    with running(MAJORS[0], autovacuum="on", autovacuum_naptime="1s", log_autovacuum_min_duration="0") as server:
        name = server.create_database()
        with contextlib.closing(server.connect(name)) as session:
            db = Database(server, name, session)
            db.execute(TABLE)
            db.execute("ALTER TABLE t SET (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)")
            db.execute(
                "DELETE FROM t WHERE id % 2 = 0; INSERT INTO t (a, b) SELECT n, 0 FROM generate_series(5000, 9000) n"
            )
            query = (
                "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND query LIKE '%public.t%'"
            )
            until(lambda: db.rows(query), 60)
            declared = {"table_parameters": [{"table": "t", "parameters": {"fillfactor": 70}}]}
            assert db.optimise(lock_budget=6.0, **declared).msg == ""


def test_a_swap_waits_until_it_gets_its_lock(table: Database) -> None:
    view = {"name": "v", "query": "SELECT a FROM t"}
    table.settle(materialized_views=[view])
    changed = {"materialized_views": [{**view, "query": "SELECT a, b FROM t"}]}
    with blocked(table, "SELECT 1 FROM v"):
        run = Run(table, lock_budget=30.0, lock_timeout=0.3, **changed)
        run.start()
        until(lambda: table.value("SELECT count(*) FROM pg_locks WHERE NOT granted"))
    assert not run.end().failed
    settled(table, **changed)


def test_somebodys_running_build_is_left_alone(table: Database) -> None:
    # The build is a superuser's, of whose progress the owner sees nothing but that it runs.
    with blocked(table, WAITS["before the build"][0]):
        build = threading.Thread(
            target=lambda: table.connect().cursor().execute("CREATE INDEX CONCURRENTLY x ON t (b, c)")
        )
        build.start()
        building(table, WAITS["before the build"][1])
        before = table.snapshot()
        done = table.optimise(**NEW)
        assert (done.failed, done.changed, done.actions) == (False, False, [])
        assert "index public.x is being built by another session and was left alone" in done.result["warnings"]
        assert table.snapshot() == before
    build.join(30)
    assert table.settle(**NEW).said == [("public.x", "alter")]


def test_two_runs_at_once_do_the_work_once(table: Database) -> None:
    declared = {
        "indexes": [
            {"name": f"x{n}", "table": "t", "columns": ["b", "c", {"expression": f"a + {n}"}]} for n in range(5)
        ],
        "materialized_views": [{"name": "v", "query": "SELECT a FROM t"}],
    }
    runs = [Run(table, **declared) for _ in range(3)]
    for run in runs:
        run.start()
    outcomes = [run.end() for run in runs]
    assert [done.msg for done in outcomes if done.failed] == []
    assert sorted(done.changed for done in outcomes) == [False, False, True]
    settled(table, **declared)


def test_a_run_waits_for_a_maintenance_job_only_so_long(table: Database) -> None:
    with contextlib.closing(table.connect()) as other, other.cursor() as cursor:
        cursor.execute("SET application_name = 'nightly vacuum'; SELECT pg_advisory_lock(1885826928, 1)")
        done = table.optimise(run_wait=0.5, **NEW)
        assert done.failed
        assert "nightly vacuum" in done.msg
        assert not done.changed
    settled(table, **NEW)


BEFORE = """
CREATE INDEX replaced ON t (b);
CREATE INDEX "Invalid" ON t (c);
CREATE MATERIALIZED VIEW changed AS SELECT a FROM t;
CREATE UNIQUE INDEX changed_key ON changed (a);
CREATE VIEW on_changed AS SELECT a FROM changed;
CREATE MATERIALIZED VIEW on_top AS SELECT a FROM changed;
CREATE VIEW on_top_of_all AS SELECT t.a FROM on_top t JOIN changed c USING (a);
CREATE STATISTICS stats ON a, b FROM t;
CREATE TABLE p (ts date NOT NULL, a int, CONSTRAINT p_key UNIQUE (ts)) PARTITION BY RANGE (ts);
CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM ('2025-01-01') TO ('2025-02-01');
CREATE TABLE p_2 PARTITION OF p FOR VALUES FROM ('2025-02-01') TO ('2025-03-01');
CREATE INDEX p_a ON p (a);
"""
EVERYTHING: dict[str, Any] = {
    "indexes": [
        {"name": "fresh", "table": "t", "columns": ["b", "c"], "comment": "Fresh"},
        {"name": "replaced", "table": "t", "columns": ["b"], "include": ["c"], "comment": "Other"},
        {"name": "Invalid", "table": "t", "columns": ["c"]},
        {"name": "t_ab", "table": "t", "columns": ["a", "b"], "unique": True, "include": ["c"]},
        {"name": "t_pkey", "table": "t", "columns": ["id"], "unique": True},
        {"name": "lowered", "table": "t", "columns": [{"expression": "lower(c)"}]},
        {"name": "p_a", "table": "p", "columns": ["a", "ts"]},
        {"name": "p_key", "table": "p", "columns": ["ts"], "unique": True, "include": ["a"], "comment": "Key"},
    ],
    "materialized_views": [
        {
            "name": "changed",
            "query": "SELECT a, b FROM t",
            "indexes": [{"name": "changed_key", "columns": ["a"], "unique": True}],
            "refresh": {"policy": "concurrently"},
        },
        {"name": "on_top", "query": "SELECT a FROM changed"},
        {"name": "fresh_view", "query": "SELECT c FROM t", "indexes": [{"name": "fresh_c", "columns": ["c"]}]},
    ],
    "statistics": [{"name": "stats", "table": "t", "columns": ["b", "c"]}],
    "column_statistics": [{"table": "t", "column": "a", "target": 300}],
    "table_parameters": [{"table": "t", "parameters": {"fillfactor": 80}}],
}
# The name of a partition's part carries a checksum of what it stood beside, which differs from database to database.
STATE = r"""
SELECT 'relation', regexp_replace(c.relname, '_part_[0-9a-f]{8}', '_part'), c.relkind::text, c.reloptions::text,
       obj_description(c.oid, 'pg_class'),
       regexp_replace(pg_get_indexdef(i.indexrelid), '_part_[0-9a-f]{8}', '_part'), i.indisvalid::text,
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END
FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'constraint', regexp_replace(conname, '_part_[0-9a-f]{8}', '_part'), pg_get_constraintdef(oid), NULL, NULL, NULL,
       NULL, NULL FROM pg_constraint
UNION ALL
SELECT 'statistics', stxname, pg_get_statisticsobjdef(oid), NULL, obj_description(oid), NULL, NULL, NULL
FROM pg_statistic_ext
UNION ALL
SELECT 'target', attname, attstattarget::text, NULL, NULL, NULL, NULL, NULL FROM pg_attribute WHERE attstattarget > 0
ORDER BY 1, 2, 3
"""


def prepare(db: Database) -> None:
    """Make the state before, with an INVALID index in it."""
    db.execute(TABLE + "SET ROLE owner;" + BEFORE + "RESET ROLE")
    db.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ('\"Invalid\"'::regclass, 't_pkey'::regclass)"
    )


class Killer:
    """Ends the session of a run before its statement of a given number."""

    def __init__(self, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        """Count, and kill at `limit`."""
        self.count = 0
        self.limit = sys.maxsize
        self.armed = False
        execute = connection.Session.execute
        step = apply.run_step

        def counted(session: connection.Session, query: Any) -> None:
            if self.armed:
                self.count += 1
                if self.count == self.limit:
                    db.execute("SELECT pg_terminate_backend(%s)", (session.server.pid,))
                    time.sleep(0.01)
            execute(session, query)

        def armed(session: connection.Session, *rest: Any) -> None:
            self.armed = True
            try:
                step(session, *rest)
            finally:
                self.armed = False

        monkeypatch.setattr(connection.Session, "execute", counted)
        monkeypatch.setattr(apply, "run_step", armed)


@contextlib.contextmanager
def prepared(server: Server, template: str) -> Iterator[Database]:
    """Copy the database with the state before."""
    name = f"{template}_copy"
    with contextlib.closing(server.connect("postgres")) as session:
        session.cursor().execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER owner")
    with contextlib.closing(server.connect(name)) as session:
        yield Database(server, name, session)
    server.drop_database(name)


def state(db: Database) -> list[str]:
    return sorted(map(repr, db.rows(STATE)))


# Of each statement on the oldest and the newest, and of every third, from another first one, on those between.
KILLED = {15: (1, 1), 16: (1, 3), 17: (2, 3), 18: (1, 1)}


@pytest.mark.parametrize("major", MAJORS)
def test_a_run_is_killed_before_each_of_its_statements(
    servers: Callable[[int], Server], monkeypatch: pytest.MonkeyPatch, major: int
) -> None:
    server = servers(major)
    template = server.create_database()
    with contextlib.closing(server.connect(template)) as session:
        prepare(Database(server, template, session))
    with prepared(server, template) as db, monkeypatch.context() as patch:
        killer = Killer(db, patch)
        assert not db.optimise(**EVERYTHING).failed
        total, wanted = killer.count, state(db)
    assert total > 50
    first, every = KILLED[major]
    wrong = []
    for number in range(first, total + 1, every):
        with prepared(server, template) as db:
            with monkeypatch.context() as patch:
                killer = Killer(db, patch)
                killer.limit = number
                assert db.optimise(**EVERYTHING).failed, number
            # The run looks again at its end, and fails where anything is left to do.
            again = db.optimise(**EVERYTHING)
            if again.failed or state(db) != wanted:
                wrong.append((number, again.msg, set(state(db)) ^ set(wanted)))
    assert wrong == []
    server.drop_database(template)
