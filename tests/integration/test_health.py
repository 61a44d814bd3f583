"""`health` on real servers: every check OK, in warning and critical, and UNKNOWN where it cannot run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from servers import Server, running
from standbys import standby_of, wait_for_replay

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles" / "postgresql_health" / "files"
ENGINE = yaml.safe_load((ROLE / "checks.yml").read_text())
QUERIES = sorted((ROLE / "jobs" / "sql" / "health").glob("*.sql"))
TRADING = ROOT / "roles" / "mltrading"
TRADING_CHECKS = [
    check | {"query": str(TRADING / "files" / "sql" / "health" / f"{check['name']}.sql")}
    for check in yaml.safe_load((TRADING / "defaults/main/health.yml").read_text())["mltrading_health_checks"]
    if "queries" not in check
]
FROM_FILES = {
    "backups",
    "drills",
    "bloat",
    "damaged_backups",
    "disk",
    "certificates",
    "pooler",
    "backup_age",
    "dump_age",
    "drill_age",
    "job_failures",
    "job_overdue",
}
OPTIONS = {
    "shared_preload_libraries": "pg_stat_statements", "archive_mode": "on", "archive_command": "true",
    "max_wal_senders": "10",
}  # fmt: skip
# Settings that take effect at a start.
AT_START = (
    "max_worker_processes", "max_replication_slots", "max_locks_per_transaction", "max_files_per_process",
    "max_pred_locks_per_transaction", "autovacuum_max_workers", "max_logical_replication_workers",
    "port", "wal_buffers", "superuser_reserved_connections", "old_snapshot_threshold",
)  # fmt: skip
Fake = Callable[["Host"], Any]


@dataclass
class Host:
    """A host with a server, and the files that `health` looks at in a folder of its own."""

    server: Server
    root: Path
    settings: dict[str, Any] = field(default_factory=dict)
    # For how long the server runs, as the ratios take it.
    up: str = "1 day"

    def write(self, path: str, text: str, age: float = 0) -> None:
        """Write a file below the root, as old as said."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        os.utime(file, (time.time() - age, time.time() - age))

    def configure(self, levels: dict[str, Any] | None = None, checks: list[dict[str, Any]] | None = None) -> None:
        """Write the fragments, as the role does."""
        settings = {
            "host": str(self.server.home),
            "port": self.server.port,
            "data": str(self.server.data),
            **self.settings,
        }
        engine = {"settings": settings, "levels": levels or {}, "checks": self.engine() + (checks or [])}
        self.write("etc/mltrading-db/health.d/postgresql_health.json", json.dumps(engine))
        trading = {"database": "app", "role": "reading", "checks": TRADING_CHECKS}
        self.write("etc/mltrading-db/health.d/mltrading.json", json.dumps(trading))
        for folder in ("health", "metrics_health"):
            (self.root / "var/lib/mltrading-db" / folder).mkdir(parents=True, exist_ok=True)

    def engine(self) -> list[dict[str, Any]]:
        """The engine's checks, for which the server was started a day ago."""
        found = []
        for check in ENGINE:
            text = (ROLE / f"jobs/sql/health/{check['name']}.sql").read_text() if "probe" not in check else ""
            if "pg_postmaster_start_time()" in text and check["name"].endswith("_hit_ratio"):
                self.write(
                    f"{check['name']}.sql",
                    text.replace("pg_postmaster_start_time()", f"(now() - '{self.up}'::interval)"),
                )
                found.append(check | {"query": str(self.root / f"{check['name']}.sql")})
            else:
                found.append(check)
        return found

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command."""
        command = [sys.executable, str(ROLE / "jobs" / "health"), *arguments]
        environment = {**os.environ, "HEALTH_ROOT": str(self.root), **environment}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def report(self, *arguments: str) -> dict[str, Any]:
        """What it says as JSON; its exit code is the one it names."""
        done = self.run("--json", *arguments)
        assert done.stdout, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == found["exit_code"]
        return found

    def states(self, *arguments: str) -> dict[str, str]:
        """The state of each check by its name."""
        return {check["name"]: check["state"] for check in self.report(*arguments)["checks"]}

    def sql(self, query: str, database: str = "app") -> list[tuple[Any, ...]]:
        """Run statements as the superuser."""
        with contextlib.closing(self.server.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall()) if cursor.description else []

    def job(self, name: str, schedule: str = "15 2 * * *", age: float = 0, **status: Any) -> None:
        """Install a job as `dbjob` leaves it; `age` is that of its schedule's file and of its last start."""
        self.write(f"etc/cron.d/mltrading-db-{name}", f"# ours\n{schedule} root exec dbjob {name}\n", age)
        if status:
            started = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
            common = {
                "job": name, "state": "ok", "started": started, "message": "", "consecutive_failures": 0,
                "last_success": None, "pid": 1, "pid_started": 0,
            }  # fmt: skip
            self.write(f"var/lib/mltrading-db/status/{name}.json", json.dumps(common | status))


@pytest.fixture(scope="module")
def primary() -> Iterator[Server]:
    """A server with the roles and the database that the roles of the site make."""
    with running(15, **OPTIONS) as server:
        with contextlib.closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE ROLE monitor; GRANT pg_monitor TO monitor; CREATE ROLE reading")
            cursor.execute("CREATE EXTENSION pg_stat_statements")
            cursor.execute("CREATE DATABASE app")
        with contextlib.closing(server.connect("app")) as connection, connection.cursor() as cursor:
            for name in ("system_logs", "performance_logs", "error_logs", "user_action_logs"):
                cursor.execute((TRADING / "files" / "sql" / "tables" / f"{name}.sql").read_text())
            cursor.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reading")
        yield server


@pytest.fixture
def host(primary: Server, tmp_path: Path) -> Host:
    """A host with that server and no files."""
    found = Host(primary, tmp_path)
    found.configure()
    return found


@contextlib.contextmanager
def sessions(host: Host, count: int) -> Iterator[None]:
    """As many more connections."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(contextlib.closing(host.server.connect("app")))
        yield


@contextlib.contextmanager
def transaction(host: Host) -> Iterator[None]:
    """A transaction that has been open for more than a second."""
    with contextlib.closing(host.server.connect("app")) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN; SELECT 1")
        time.sleep(1.2)
        yield


@contextlib.contextmanager
def prepared(host: Host) -> Iterator[None]:
    """A prepared transaction of that age, which no session shows."""
    host.sql("BEGIN; CREATE TABLE left_over (); PREPARE TRANSACTION 'forgotten'")
    time.sleep(1.2)
    yield
    host.sql("ROLLBACK PREPARED 'forgotten'")


@contextlib.contextmanager
def lock_wait(host: Host) -> Iterator[None]:
    """A session that has waited for a lock for more than a second."""
    with (
        contextlib.closing(host.server.connect("app")) as holder,
        contextlib.closing(host.server.connect("app")) as waiter,
    ):
        holder.cursor().execute("BEGIN; LOCK TABLE error_logs")
        thread = threading.Thread(target=lambda: waiter.cursor().execute("SELECT count(*) FROM error_logs"))
        thread.start()
        time.sleep(1.5)
        yield
        holder.cursor().execute("ROLLBACK")
        thread.join()


@contextlib.contextmanager
def settings_changed(host: Host, count: int) -> Iterator[None]:
    """As many settings that wait for a restart."""
    for name in AT_START[:count]:
        host.sql(f"ALTER SYSTEM SET {name} = 77")
    host.sql("SELECT pg_reload_conf(), pg_sleep(0.3)")
    yield
    host.sql("ALTER SYSTEM RESET ALL")
    host.sql("SELECT pg_reload_conf(), pg_sleep(0.3)")


@contextlib.contextmanager
def slot(host: Host) -> Iterator[None]:
    """A slot that nobody reads, with WAL that it keeps."""
    host.sql("SELECT pg_create_physical_replication_slot('gone', true)")
    host.sql("SELECT pg_logical_emit_message(false, 'test', repeat('x', 200000))")
    yield
    host.sql("SELECT pg_drop_replication_slot('gone')")


@contextlib.contextmanager
def bounded_slot(host: Host) -> Iterator[None]:
    """A slot that loses its WAL at 1 GB."""
    with host_setting(host, "max_slot_wal_keep_size", "1GB"), slot(host):
        yield


@contextlib.contextmanager
def archive_broken(host: Host) -> Iterator[None]:
    """An archive that takes nothing, and two files that wait for it."""
    with host_setting(host, "archive_command", "exit 127"):
        for _ in range(2):
            host.sql("SELECT pg_logical_emit_message(false, 'test', 'x'), pg_switch_wal()")
        time.sleep(1.2)
        yield


@contextlib.contextmanager
def host_setting(host: Host, name: str, value: str) -> Iterator[None]:
    """Another value of a setting, as the server was started with one on its command line: by its options."""
    before = dict(host.server.options)
    host.server.options[name] = value
    host.server.run("pg_ctl", "stop", "-m", "fast", "-D", str(host.server.data))
    host.server.start()
    yield
    host.server.options.clear()
    host.server.options.update(before)
    host.server.run("pg_ctl", "stop", "-m", "fast", "-D", str(host.server.data))
    host.server.start()


@contextlib.contextmanager
def index(host: Host, ready: bool) -> Iterator[None]:
    """An index that a stopped build has left INVALID, before or after writes have begun to maintain it."""
    host.sql("CREATE INDEX broken ON error_logs (component)")
    query = "UPDATE pg_index SET indisvalid = false, indisready = {} WHERE indexrelid = 'broken'::regclass"
    host.sql(query.format(ready))
    yield
    host.sql("DROP INDEX broken")


@contextlib.contextmanager
def dead_rows(host: Host, percent: int) -> Iterator[None]:
    """A table of which that many percent are dead."""
    host.sql("CREATE TABLE worn (id int); INSERT INTO worn SELECT generate_series(1, 40000)")
    with contextlib.closing(host.server.connect("app")) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM worn WHERE id <= 400 * %s", [percent])
    host.sql("SELECT pg_stat_force_next_flush()")
    time.sleep(0.2)
    yield
    host.sql("DROP TABLE worn")


@contextlib.contextmanager
def interrupted_conversion(host: Host, days: int) -> Iterator[None]:
    """A table that a conversion has left half done, and that refuses rows in so many days."""
    cut = datetime.now(UTC).date() + timedelta(days=days)
    host.sql("CREATE TABLE half (at date)")
    host.sql(f"ALTER TABLE half ADD CONSTRAINT __pgpart_before_{cut:%Y%m%d} CHECK (at < '{cut}')")
    yield
    host.sql("DROP TABLE half")


@contextlib.contextmanager
def partitions(host: Host, days: int) -> Iterator[None]:
    """A table whose partitions reach that many days into the future."""
    host.sql("CREATE TABLE parts (at timestamp NOT NULL) PARTITION BY RANGE (at)")
    end = (datetime.now(UTC) + timedelta(days=days, hours=1)).strftime("%Y-%m-%d %H:%M:%S")
    host.sql(f"CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (MINVALUE) TO ('{end}')")
    yield
    host.sql("DROP TABLE parts")


@contextlib.contextmanager
def operations(host: Host, ms: float, errors: int = 0) -> Iterator[None]:
    """A hundred operations of the last hour, of that duration, of which that many failed."""
    with contextlib.closing(host.server.connect("app")) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO performance_logs (operation_name, duration_ms, status) VALUES ('predict', %s, %s)",
            [(ms, "error" if number < errors else "success") for number in range(100)],
        )
    yield
    host.sql("TRUNCATE performance_logs")


@contextlib.contextmanager
def pages_read(host: Host) -> Iterator[None]:
    """Enough reads of tables and indexes to say something of their share in memory."""
    host.sql("CREATE TABLE read AS SELECT i FROM generate_series(1, 20000) AS i; CREATE INDEX ON read (i)")
    host.sql("SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT sum(i) FROM read WHERE i < 20000")
    host.sql("SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off; "
             "SELECT count(*) FROM generate_series(1, 20000) AS g(n) JOIN read ON i = n")  # fmt: skip
    time.sleep(0.2)
    yield
    host.sql("DROP TABLE read")


@contextlib.contextmanager
def slow_statement(host: Host) -> Iterator[None]:
    """A statement that an application ran twenty times, ten milliseconds each; and a slower one of a superuser."""
    with contextlib.closing(host.server.connect("app")) as connection, connection.cursor() as cursor:
        for role, seconds in (("reading", 0.01), ("postgres", 0.02)):
            cursor.execute(f"SET ROLE {role}")
            for _ in range(20):
                cursor.execute("SELECT pg_sleep(%s)", [seconds])
    yield
    host.sql("SELECT pg_stat_statements_reset()", "postgres")


@contextlib.contextmanager
def half_dropped(host: Host) -> Iterator[None]:
    """A database whose DROP DATABASE was interrupted."""
    host.sql("CREATE DATABASE half_dropped", "postgres")
    host.sql("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'half_dropped'", "postgres")
    yield
    host.sql("UPDATE pg_database SET datconnlimit = -1 WHERE datname = 'half_dropped'", "postgres")
    host.sql("DROP DATABASE half_dropped", "postgres")


def overridden(*statements: str) -> Fake:
    """A server with a file of the roles, and settings that something else says too."""

    @contextlib.contextmanager
    def made(host: Host) -> Iterator[None]:
        configuration, folder = host.server.data / "postgresql.conf", host.server.data / "conf.d"
        before = configuration.read_text()
        folder.mkdir()
        declared = "#\n# Ansible managed\n#\nwork_mem = '7MB'\narchive_timeout = '60s'\n"
        (folder / "20-pgbackrest.conf").write_text(declared)
        configuration.write_text(f"{before}\ninclude_dir = 'conf.d'\n")
        for path in (folder, folder / "20-pgbackrest.conf"):
            shutil.chown(path, configuration.owner(), configuration.group())
        for statement in ["SELECT 1", *statements]:
            host.sql(statement, "postgres")
        yield
        host.sql("ALTER SYSTEM RESET ALL", "postgres")
        configuration.write_text(before)
        shutil.rmtree(folder)
        host.sql("SELECT pg_reload_conf()", "postgres")

    return made


def pooler_says(text: str, age: float = 0) -> Fake:
    """What the job that asks the pooler has written last."""

    @contextlib.contextmanager
    def made(host: Host) -> Iterator[None]:
        host.job("pgbouncer_metrics", "* * * * *", age=3600)
        host.write("var/lib/mltrading-db/metrics_pgbouncer/pgbouncer.prom", text, age=age)
        yield

    return made


UP = '# TYPE pgbouncer_up gauge\npgbouncer_up 1\npgbouncer_database_up{database="app"} 1\n'
ONE_DATABASE_DOWN = UP + 'pgbouncer_database_up{database="app_ro"} 0\n'


def repository_with(*backups: tuple[str, int, bool]) -> Fake:
    """A repository whose backups ended then, with an error or without one."""

    @contextlib.contextmanager
    def made(host: Host) -> Iterator[None]:
        host.job("backup_full")
        found = [
            {"label": label, "error": error, "timestamp": {"start": stop, "stop": stop}}
            for label, stop, error in backups
        ]
        host.write("bin/pgbackrest", f"#!/bin/sh\necho '{json.dumps([{'backup': found}])}'\n")
        (host.root / "bin/pgbackrest").chmod(0o755)
        path = os.environ["PATH"]
        os.environ["PATH"] = f"{host.root / 'bin'}:{path}"
        yield
        os.environ["PATH"] = path

    return made


def certificate(days: int) -> Fake:
    """A certificate that is valid for so many days."""

    @contextlib.contextmanager
    def made(host: Host) -> Iterator[None]:
        path = host.root / "server.crt"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-keyout", str(host.root / "server.key"), "-out", str(path), "-days", str(days), "-subj", "/CN=db1"],
            check=True, capture_output=True,
        )  # fmt: skip
        host.settings["certificates"] = [str(host.root / "*.crt")]
        yield

    return made


def job(name: str, **status: Any) -> Fake:
    """A job of the host."""

    @contextlib.contextmanager
    def made(host: Host) -> Iterator[None]:
        host.job(name, **status)
        yield

    return made


def bloated(percent: float, age: float = 0, state: str = "ok") -> Fake:
    """What the weekly maintenance has left."""

    @contextlib.contextmanager
    def made(host: Host) -> Iterator[None]:
        host.job("maintenance_weekly", state=state)
        one = {"name": "public.idx", "kind": "index", "bytes": 2**24, "percent": percent}
        kept = {"time": time.time() - age, "database": "app", "measured": [one, one | {"name": "b", "percent": 3}]}
        host.write("var/lib/mltrading-db/reports/bloat.measured", json.dumps(kept))
        yield

    return made


def ago(**time_ago: float) -> str:
    """A time of a status."""
    return (datetime.now(UTC) - timedelta(**time_ago)).isoformat()


def standbys_expected(*names: str) -> Fake:
    """An inventory with these standbys."""

    @contextlib.contextmanager
    def made(host: Host) -> Iterator[None]:
        host.settings["standbys"] = names
        yield

    return made


LOW = {"warning": 0, "critical": 3600}
LOWEST = {"warning": 0, "critical": 0}
NOT_YET = contextlib.nullcontext
# The check, what is made true, the levels where the real ones would take hours or gigabytes, and the state.
CASES: list[tuple[str, Fake, dict[str, Any] | None, str]] = [
    ("connections", NOT_YET, None, "ok"),
    ("connections", lambda host: sessions(host, 47), None, "warning"),
    ("connections", lambda host: sessions(host, 53), None, "critical"),
    ("oldest_transaction", transaction, None, "ok"),
    ("oldest_transaction", transaction, LOW, "warning"),
    ("oldest_transaction", prepared, LOWEST, "critical"),
    ("lock_waits", lock_wait, None, "ok"),
    ("lock_waits", lock_wait, LOW, "warning"),
    ("lock_waits", lock_wait, LOWEST, "critical"),
    ("database_size", NOT_YET, None, "ok"),
    ("database_size", NOT_YET, {"warning": "1MB"}, "warning"),
    ("database_size", NOT_YET, {"critical": "1MB"}, "critical"),
    ("disk", NOT_YET, {"warning": 100, "critical": 100}, "ok"),
    ("disk", NOT_YET, {"warning": 0, "critical": 100}, "warning"),
    ("disk", NOT_YET, {"warning": 0, "critical": 0}, "critical"),
    ("pending_restart", NOT_YET, None, "ok"),
    ("pending_restart", lambda host: settings_changed(host, 1), None, "warning"),
    ("pending_restart", lambda host: settings_changed(host, 11), None, "critical"),
    ("overridden_settings", NOT_YET, None, "ok"),
    ("overridden_settings", overridden(), None, "ok"),
    ("overridden_settings", overridden("ALTER SYSTEM SET work_mem = '7MB'"), None, "warning"),
    ("overridden_settings", overridden("ALTER SYSTEM SET archive_timeout = '0'"), None, "critical"),
    ("half_dropped_databases", NOT_YET, None, "ok"),
    ("half_dropped_databases", half_dropped, None, "warning"),
    ("half_dropped_databases", half_dropped, {"critical": 0}, "critical"),
    ("pooler", NOT_YET, None, "not_configured"),
    ("pooler", pooler_says(UP), None, "ok"),
    ("pooler", pooler_says(UP.replace("up 1", "up 0")), {"critical": 1}, "warning"),
    ("pooler", pooler_says("pgbouncer_up 0\n"), None, "critical"),
    ("pooler", pooler_says(ONE_DATABASE_DOWN), None, "critical"),
    ("pooler", pooler_says(UP, age=240), None, "unknown"),
    ("damaged_backups", repository_with(("old", 1, False)), None, "ok"),
    ("damaged_backups", repository_with(("old", 1, True), ("new", 2, False)), None, "warning"),
    ("damaged_backups", repository_with(("old", 1, False), ("new", 2, True)), None, "critical"),
    ("certificates", certificate(400), None, "ok"),
    ("certificates", certificate(20), None, "warning"),
    ("certificates", certificate(3), None, "critical"),
    ("replication_links", slot, None, "warning"),
    ("replication_links", standbys_expected("replica_db2"), None, "critical"),
    ("slot_retained", slot, None, "ok"),
    ("slot_retained", slot, {"warning": "100kB"}, "warning"),
    ("slot_retained", slot, {"critical": "100kB"}, "critical"),
    ("slot_room", bounded_slot, None, "ok"),
    ("slot_room", bounded_slot, {"warning": 101}, "warning"),
    ("slot_room", bounded_slot, {"critical": 101}, "critical"),
    ("archive_age", NOT_YET, None, "ok"),
    ("archive_age", archive_broken, LOW, "warning"),
    ("archive_age", archive_broken, LOWEST, "critical"),
    ("archive_backlog", archive_broken, None, "ok"),
    ("archive_backlog", archive_broken, {"warning": 1}, "warning"),
    ("archive_backlog", archive_broken, {"critical": 1}, "critical"),
    ("backup_age", job("backup_diff", last_success=ago(hours=3)), None, "ok"),
    ("backup_age", job("backup_full", last_success=ago(hours=30)), None, "warning"),
    ("backup_age", job("backup_full", age=4 * 86400, last_success=None), None, "critical"),
    ("backup_age", job("backup_full", age=300, last_success=None), None, "no_data"),
    ("dump_age", job("dump", last_success=ago(hours=3)), None, "ok"),
    ("dump_age", job("dump", last_success=ago(hours=30)), None, "warning"),
    ("dump_age", job("dump", last_success=ago(days=3)), None, "critical"),
    ("drill_age", job("drill_restore", last_success=ago(days=3)), None, "ok"),
    ("drill_age", job("drill_restore", last_success=ago(days=9)), None, "warning"),
    ("drill_age", job("drill_restore", last_success=ago(days=16)), None, "critical"),
    ("dump_age", job("dump"), None, "no_data"),
    ("drill_age", job("drill_restore"), None, "no_data"),
    ("job_failures", job("dump", last_success=ago(hours=3)), None, "ok"),
    ("job_failures", job("dump", state="failed", consecutive_failures=1), None, "warning"),
    ("job_failures", job("dump", state="running", consecutive_failures=0, pid=2**22 + 1), None, "warning"),
    ("job_failures", job("dump", state="failed", consecutive_failures=3), None, "critical"),
    ("job_overdue", job("dump", schedule="* * * * *", state="ok"), None, "ok"),
    ("job_overdue", job("dump", schedule="* * * * *", age=1200, state="ok"), None, "warning"),
    ("job_overdue", job("dump", schedule="* * * * *", age=9000), None, "critical"),
    ("invalid_indexes", NOT_YET, None, "ok"),
    ("invalid_indexes", lambda host: index(host, ready=False), None, "warning"),
    ("invalid_indexes", lambda host: index(host, ready=True), None, "critical"),
    ("table_hit_ratio", pages_read, None, "ok"),
    ("table_hit_ratio", pages_read, {"warning": 101}, "warning"),
    ("table_hit_ratio", pages_read, {"critical": 101}, "critical"),
    ("index_hit_ratio", pages_read, None, "ok"),
    ("index_hit_ratio", pages_read, {"warning": 101}, "warning"),
    ("index_hit_ratio", pages_read, {"critical": 101}, "critical"),
    ("dead_rows", NOT_YET, None, "ok"),
    ("dead_rows", lambda host: dead_rows(host, 30), None, "warning"),
    ("dead_rows", lambda host: dead_rows(host, 50), None, "critical"),
    ("bloat", bloated(30), None, "ok"),
    ("bloat", bloated(60), None, "warning"),
    ("bloat", bloated(80), None, "critical"),
    ("bloat", bloated(80, state="not_my_role"), None, "not_configured"),
    ("bloat", bloated(30, age=10 * 86400), None, "unknown"),
    ("partitions", lambda host: partitions(host, 90), None, "ok"),
    ("partitions", lambda host: partitions(host, 20), None, "warning"),
    ("partitions", lambda host: partitions(host, 3), None, "critical"),
    ("interrupted_conversions", NOT_YET, None, "ok"),
    ("interrupted_conversions", lambda host: interrupted_conversion(host, 40), None, "warning"),
    ("interrupted_conversions", lambda host: interrupted_conversion(host, 3), None, "critical"),
    ("slow_statements", slow_statement, None, "ok"),
    ("slow_statements", slow_statement, {"warning": 5}, "warning"),
    ("slow_statements", slow_statement, {"critical": "5ms"}, "critical"),
    ("query_time", lambda host: operations(host, 900), None, "ok"),
    ("query_time", lambda host: operations(host, 1100), None, "warning"),
    ("query_time", lambda host: operations(host, 2100), None, "critical"),
    ("error_rate", lambda host: operations(host, 10, errors=5), None, "ok"),
    ("error_rate", lambda host: operations(host, 10, errors=6), None, "warning"),
    ("error_rate", lambda host: operations(host, 10, errors=11), None, "critical"),
]  # fmt: skip
# What is compared with a sample that was taken before.
SAMPLED = {"table_hit_ratio", "index_hit_ratio", "slow_statements"}
OTHERWISE_TESTED = {"replication_lag_bytes", "replication_lag_seconds", "wraparound", "checksum_failures"}


@pytest.mark.parametrize(
    ("name", "fake", "levels", "state"), [pytest.param(*case, id=f"{case[0]} {case[3]}") for case in CASES]
)
def test_the_check_says_what_is_so(
    host: Host, name: str, fake: Fake, levels: dict[str, Any] | None, state: str
) -> None:
    if name in SAMPLED:
        assert host.report("--check", name)["checks"][0]["state"] in ("ok", "no_data")
    with fake(host):
        host.configure({name: levels} if levels else {})
        report = host.report("--check", name)
    check = report["checks"][0]
    assert check["state"] == state, check
    assert (
        report["exit_code"]
        == {"ok": 0, "not_configured": 0, "no_data": 0, "warning": 1, "critical": 2, "unknown": 3}[state]
    )


def test_every_check_with_levels_is_seen_in_each_state() -> None:
    with_levels = {check["name"] for check in ENGINE + TRADING_CHECKS if "warning" in check}
    seen = {(name, state) for name, _, _, state in CASES} | {("replication_links", "ok")}
    wanted = {(name, state) for name in with_levels - OTHERWISE_TESTED for state in ("ok", "warning", "critical")}
    assert wanted - seen == set()


def test_every_check_has_both_levels_and_a_way_out() -> None:
    with_levels = [check for check in ENGINE + TRADING_CHECKS if "warning" in check or "critical" in check]
    assert [check["name"] for check in with_levels if not {"warning", "critical", "do", "unit"} <= set(check)] == []


def test_the_subject_that_a_host_has_not_is_not_configured_and_no_alarm(host: Host) -> None:
    report = host.report()
    states = {check["name"]: check["state"] for check in report["checks"]}
    absent = {
        "certificates", "replication_links", "replication_lag_bytes", "replication_lag_seconds", "slot_retained",
        "slot_room", "backup_age", "dump_age", "drill_age", "job_failures", "job_overdue", "partitions", "bloat",
        "pooler", "damaged_backups",
    }  # fmt: skip
    assert {name for name, state in states.items() if state == "not_configured"} == absent
    assert {name for name, state in states.items() if state == "no_data"} == {
        "table_hit_ratio", "index_hit_ratio", "query_time", "error_rate", "slow_statements",
    }  # fmt: skip
    assert report["exit_code"] == 0


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in QUERIES])
def test_a_person_can_run_the_query_by_psql(host: Host, path: Path) -> None:
    copy = host.server.home / path.name
    copy.write_text(path.read_text())
    copy.chmod(0o644)
    database = "postgres" if path.stem == "slow_statements" else "app"
    where = ["-h", str(host.server.home), "-p", str(host.server.port), "-U", "postgres", "-d", database]
    role = next((check.get("role") for check in ENGINE if check["name"] == path.stem), None) or "monitor"
    host.server.run("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *where, "-c", f"SET ROLE {role}", "-f", str(copy))


def test_every_query_says_what_it_is_and_where_it_is_from() -> None:
    files = [*QUERIES, *(TRADING / "files/sql/health").glob("*.sql")]
    assert [path.name for path in files if "\n-- Source: " not in path.read_text()] == []
    named = {check["name"] for check in ENGINE + TRADING_CHECKS if "probe" not in check}
    assert {path.stem for path in files} == named


def test_what_cannot_run_is_unknown(host: Host) -> None:
    host.settings["role"] = "nobody_of_this_name"
    host.configure()
    states = host.states()
    asked_as_it = {check["name"] for check in ENGINE if "role" not in check} - FROM_FILES | {"certificates"}
    assert {name for name, state in states.items() if state == "unknown"} == asked_as_it


def test_a_query_that_takes_too_long_is_unknown(host: Host) -> None:
    path = host.root / "slow.sql"
    path.write_text("SELECT 'x' AS item, 1 AS value FROM pg_sleep(3)")
    host.settings["timeout"] = "200ms"
    host.configure(checks=[{"name": "slow", "title": "Slow", "warning": 1, "critical": 2, "query": str(path)}])
    report = host.report("--check", "slow")
    assert report["exit_code"] == 3
    assert "statement timeout" in report["checks"][0]["text"]


def test_a_query_cannot_write(host: Host) -> None:
    path = host.root / "write.sql"
    path.write_text("CREATE TABLE mine ()")
    host.configure(checks=[{"name": "write", "title": "Write", "query": str(path)}])
    check = host.report("--check", "write")["checks"][0]
    assert (check["state"], check["text"]) == (
        "unknown", "cannot run: cannot execute CREATE TABLE in a read-only transaction",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        pytest.param("var/lib/mltrading-db/status/dump.json", "{", "job_failures", id="a status that is cut short"),
        pytest.param("server.crt", "none", "certificates", id="a certificate that is none"),
    ],
)
def test_a_file_that_cannot_be_read_is_unknown(host: Host, path: str, text: str, name: str) -> None:
    host.job("dump")
    host.write(path, text)
    host.settings["certificates"] = [str(host.root / "*.crt")]
    host.configure()
    assert host.states("--check", name) == {name: "unknown"}


def test_a_check_whose_extension_is_missing_is_unknown_and_says_so(host: Host) -> None:
    host.sql("DROP EXTENSION pg_stat_statements", "postgres")
    check = host.report("--check", "slow_statements")["checks"][0]
    assert check["state"] == "unknown"
    assert check["text"] == "cannot run: extension pg_stat_statements is not installed in database postgres"
    host.sql("CREATE EXTENSION pg_stat_statements", "postgres")


def test_a_server_that_is_down_is_critical_and_what_it_would_say_unknown(host: Host) -> None:
    host.settings["host"] = str(host.root)
    host.job("dump", last_success=ago(hours=1))
    host.configure()
    report = host.report()
    states = {check["name"]: check["state"] for check in report["checks"]}
    assert report["exit_code"] == 2
    assert states["server"] == "critical"
    assert states["dump_age"] == "ok"
    assert {name for name, state in states.items() if state == "ok"} <= FROM_FILES
    assert report["role"] == "unknown"


def test_the_disk_that_stopped_the_server_stays_known(host: Host) -> None:
    host.settings |= {"host": str(host.root), "disks": []}
    host.configure({"disk": {"critical": 0}})
    check = host.report("--check", "disk")["checks"][0]
    assert (check["state"], check["value"] > 0) == ("critical", True)
    host.settings["data"] = "/nowhere"
    host.configure()
    assert host.states("--check", "disk") == {"disk": "unknown"}


@contextlib.contextmanager
def service(host: Host, name: str, days: int) -> Iterator[Path]:
    """A service with certificates in a folder of its own, declared as the role tls does."""
    folder = host.root / name
    folder.mkdir()
    with certificate(days)(host):
        for file in ("server.crt", "ca.crt"):
            (folder / file).write_text((host.root / "server.crt").read_text())
    host.settings["certificates"] = []
    host.write(f"etc/mltrading-db/certificates.d/{name}", f"{folder}\n", age=60)
    host.configure()
    yield folder


def record_certificates(host: Host) -> None:
    """Run the job."""
    environment = {**os.environ, "HEALTH_ROOT": str(host.root)}
    subprocess.run([sys.executable, str(ROLE / "jobs" / "record_certificates")], env=environment, check=True)


def test_the_certificates_of_a_service_are_known_without_reading_its_folder(host: Host) -> None:
    with service(host, "pooler", 400), service(host, "exporter", 20) as exporter:
        assert host.states("--check", "certificates") == {"certificates": "unknown"}
        record_certificates(host)
        exporter.rename(host.root / "unreadable")
        # Of the server nothing is heard, and it is not needed.
        host.settings["host"] = str(host.root)
        host.configure()
        check = host.report("--check", "certificates")["checks"][0]
        assert (check["state"], len(check["rows"])) == ("warning", 4)
        assert check["rows"][0]["item"].endswith(("/exporter/server.crt", "/exporter/ca.crt"))


def test_a_certificate_that_is_gone_or_was_long_not_looked_at_is_unknown(host: Host) -> None:
    with service(host, "pooler", 400) as pooler:
        (pooler / "server.crt").unlink()
        record_certificates(host)
        check = host.report("--check", "certificates")["checks"][0]
        assert (check["state"], check["rows"][0]["item"]) == ("unknown", str(pooler / "server.crt"))
        kept = host.root / "var/lib/mltrading-db/certificates.json"
        kept.write_text(json.dumps(json.loads(kept.read_text()) | {"time": time.time() - 3 * 3600}))
        assert "older than two hours" in host.report("--check", "certificates")["checks"][0]["text"]


def test_a_pattern_without_a_match_is_unknown(host: Host) -> None:
    with certificate(400)(host):
        host.settings["certificates"].append(str(host.root / "none/*.crt"))
        host.configure()
        check = host.report("--check", "certificates")["checks"][0]
    assert (check["state"], check["rows"][0]["item"]) == ("unknown", str(host.root / "none/*.crt"))


def test_a_database_that_cannot_be_asked_is_unknown_by_its_name(host: Host) -> None:
    host.sql("CREATE DATABASE damaged", "postgres")
    host.sql("REVOKE EXECUTE ON FUNCTION pg_stat_get_dead_tuples(oid) FROM PUBLIC", "damaged")
    try:
        check = host.report("--check", "dead_rows")["checks"][0]
        assert (check["state"], [row["item"] for row in check["rows"]]) == ("unknown", ["damaged"])
        with dead_rows(host, 50):
            check = host.report("--check", "dead_rows")["checks"][0]
        assert (check["state"], len(check["rows"])) == ("critical", 2)
    finally:
        host.sql("DROP DATABASE damaged", "postgres")


def test_a_database_that_lets_nobody_in_hides_no_other(host: Host) -> None:
    with half_dropped(host):
        assert host.states("--check", "dead_rows", "--check", "table_sizes") == {
            "dead_rows": "ok",
            "table_sizes": "info",
        }


def test_a_host_without_a_server_has_its_files_looked_at(host: Host) -> None:
    host.settings |= {"server": False, "host": "/nowhere"}
    host.configure()
    report = host.report()
    assert {check["name"] for check in report["checks"]} == FROM_FILES
    assert (report["role"], report["exit_code"]) == ("no server", 0)


@pytest.mark.parametrize("name", ["connections", "slow_statements", "server"])
def test_what_needs_a_server_is_unknown_on_a_host_without_one(host: Host, name: str) -> None:
    host.settings |= {"server": False, "host": "/nowhere"}
    host.configure()
    assert host.report("--check", name)["exit_code"] == 3


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--check", "nothing_of_this_name"], id="a check that does not exist"),
        pytest.param(["--colour"], id="an option that does not exist"),
    ],
)
def test_a_wrong_command_line_is_unknown(host: Host, arguments: list[str]) -> None:
    assert host.run(*arguments).returncode == 3


@pytest.mark.parametrize(
    "levels",
    [
        pytest.param({"connections": {"warning": "much"}}, id="that is no number"),
        pytest.param({"conections": {"warning": 70}}, id="of no check"),
    ],
)
def test_a_level_is_refused(host: Host, levels: dict[str, Any]) -> None:
    host.configure(levels)
    done = host.run()
    assert done.returncode == 3
    assert "level" in done.stderr


def test_the_table_says_what_to_do_on_its_last_lines(host: Host) -> None:
    host.configure({"database_size": {"critical": "1MB"}})
    done = host.run()
    lines = done.stdout.splitlines()
    assert done.returncode == 2
    assert lines[0].startswith("CRITICAL - 1 critical, 0 unknown, 0 warning of ")
    assert "database_size: " in lines[0]
    assert lines[-2:-1] == ["What to do"]
    assert "See what has grown" in lines[-1]


@pytest.mark.faults
def test_the_history_is_bounded(host: Host) -> None:
    for _ in range(12):
        assert host.run("--record", HEALTH_HISTORY_LINES="8").returncode == 0
    kept = (host.root / "var/lib/mltrading-db/health/history.jsonl").read_text().splitlines()
    assert len(kept) <= 9
    history = host.report("--history")["history"]
    assert history[-1]["values"]["database_size"]["app"] > 1_000_000
    assert host.report()["history"] == []


def test_a_history_that_a_crash_cut_short_goes_on(host: Host) -> None:
    host.write(
        "var/lib/mltrading-db/health/history.jsonl", '{"time": 1, "state": "ok", "values": {}}\n{"time": 2, "st\n'
    )
    assert host.run("--record").returncode == 0
    assert [sample["state"] for sample in host.report("--history")["history"]] == ["ok", "ok"]


def test_prometheus_is_told_what_the_checks_found(host: Host) -> None:
    host.configure({"database_size": {"critical": "1MB"}})
    file = host.root / "var/lib/mltrading-db/metrics_health/health.prom"
    begun = time.time()
    assert host.run("--metrics").returncode == 0
    said = dict(line.rsplit(" ", 1) for line in file.read_text().splitlines() if not line.startswith("#"))
    report = {check["name"]: check for check in host.report()["checks"]}
    assert said['mltrading_health_state{check="database_size"}'] == "2"
    assert said['mltrading_health_state{check="slot_room"}'] == "-2"
    assert float(said['mltrading_health_worst{check="database_size"}']) == pytest.approx(
        report["database_size"]["value"], rel=0.1
    )
    assert said['mltrading_health_level{check="database_size",severity="critical"}'] == "1048576.0"
    assert float(said['mltrading_health_value{check="database_size",item="app"}']) > 1_000_000
    assert int(begun) <= float(said["mltrading_health_timestamp_seconds"]) <= time.time()
    levelled = {name for name, check in report.items() if check["critical"] is not None}
    told = {key for key in said if key.startswith("mltrading_health_state")}
    assert told == {f'mltrading_health_state{{check="{name}"}}' for name in levelled}
    # The exporter runs as somebody else.
    assert file.stat().st_mode & 0o777 == 0o644


def test_prometheus_is_told_that_the_server_is_down(host: Host) -> None:
    host.configure()
    host.server.run("pg_ctl", "stop", "-m", "fast", "-D", str(host.server.data))
    try:
        assert host.run("--metrics").returncode == 0
    finally:
        host.server.start()
    said = (host.root / "var/lib/mltrading-db/metrics_health/health.prom").read_text()
    assert 'mltrading_health_state{check="server"} 2' in said
    assert 'mltrading_health_state{check="connections"} 3' in said


@pytest.mark.faults
def test_a_standby_that_streams_is_well_and_one_that_does_not_is_critical(host: Host, tmp_path: Path) -> None:
    with standby_of(host.server) as server:
        wait_for_replay(host.server, server)
        standby = Host(server, tmp_path / "standby")
        standby.configure()
        report = standby.report()
        states = {check["name"]: check["state"] for check in report["checks"]}
        assert report["role"] == "standby"
        assert {name for name, state in states.items() if state == "unknown"} == set()
        assert states["replication_links"] == "ok"
        assert states["archive_age"] == "not_configured"
        host.settings["standbys"] = ["walreceiver"]
        host.configure()
        seen = {check["name"]: check for check in host.report()["checks"]}
        assert seen["replication_links"]["state"] == "ok"
        assert seen["replication_lag_bytes"]["rows"][0]["item"] == "walreceiver"

        with contextlib.closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_wal_replay_pause()")
        host.sql("CREATE TABLE later AS SELECT generate_series(1, 20000)")
        host.sql("DROP TABLE later")
        time.sleep(1.5)
        for name, low in (("replication_lag_bytes", "1kB"), ("replication_lag_seconds", 1)):
            # What the primary last heard of a standby that has stopped replaying does not grow; the bytes do.
            for one in (host, standby) if name == "replication_lag_bytes" else (standby,):
                assert one.states("--check", name) == {name: "ok"}
                for which in ("warning", "critical"):
                    one.configure({name: {which: low}})
                    assert one.states("--check", name) == {name: which}, (one, which)
                one.configure()
        with contextlib.closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_wal_replay_resume()")
            cursor.execute("ALTER SYSTEM SET primary_conninfo = 'host=/nowhere'")
            cursor.execute("SELECT pg_reload_conf(), pg_sleep(0.5)")
        assert standby.states("--check", "replication_links") == {"replication_links": "critical"}
        assert host.states("--check", "replication_links") == {"replication_links": "critical"}


def test_a_standby_that_is_missing_is_named_and_another_does_not_stand_in_for_it(host: Host) -> None:
    with standby_of(host.server) as server:
        wait_for_replay(host.server, server)
        host.settings["standbys"] = ["walreceiver", "replica_db3"]
        host.configure()
        check = host.report("--check", "replication_links")["checks"][0]
    assert (check["state"], check["text"]) == ("critical", "standby replica_db3: 2 (not connected)")
    assert {row["item"]: row["value"] for row in check["rows"]}["standby walreceiver"] == 0


@pytest.mark.parametrize(
    ("name", "job"),
    [("backup_age", "backup_full"), ("dump_age", "dump"), ("drill_age", "drill_restore"), ("job_overdue", "retention")],
)
def test_an_expected_job_whose_schedule_has_vanished_is_critical(host: Host, name: str, job: str) -> None:
    host.job("backup_diff", last_success=ago(hours=1))
    host.settings["jobs"] = ["backup_diff", job]
    host.configure()
    check = host.report("--check", name)["checks"][0]
    assert (check["state"], check["rows"][0]["item"]) == ("critical", job)
    assert f"mltrading-db-{job} is missing" in check["text"]
    assert host.run("--metrics").returncode == 0
    file = host.root / "var/lib/mltrading-db/metrics_health/health.prom"
    assert f'mltrading_health_worst{{check="{name}"}} NaN\n' in file.read_text()
    host.job(job, last_success=ago(hours=1))
    assert host.states("--check", name) == {name: "ok"}


def test_a_job_that_never_succeeded_does_not_hide_how_old_the_other_ones_work_is(host: Host) -> None:
    host.job("backup_full", last_success=ago(days=3))
    host.job("backup_diff", age=60, state="failed", last_success=None)
    check = host.report("--check", "backup_age")["checks"][0]
    assert (check["state"], check["rows"][0]["detail"]) == ("critical", "backup_full")


@pytest.mark.faults
def test_transaction_numbers_that_run_out_and_pages_that_are_damaged_are_seen(tmp_path: Path) -> None:
    # Or autovacuum would freeze the few rows at once.
    with running(15, autovacuum_freeze_max_age="1900000000") as server:
        host = Host(server, tmp_path)
        host.configure()
        host.sql(
            "CREATE ROLE monitor; GRANT pg_monitor TO monitor; CREATE TABLE t AS SELECT 1 AS i; CHECKPOINT", "postgres"
        )
        assert host.states("--check", "wraparound") == {"wraparound": "ok"}
        path = server.data / host.sql("SELECT pg_relation_filepath('t')", "postgres")[0][0]
        server.run("pg_ctl", "stop", "-m", "fast", "-D", str(server.data))
        server.run("pg_checksums", "--enable", "-D", str(server.data))
        for number, state in ((500_170_752, "warning"), (900_726_784, "critical")):
            # The segment of pg_xact that this number is in: 1,048,576 transactions of two bits each.
            server.run("pg_resetwal", "-x", str(number), "-D", str(server.data))
            segment = server.data / "pg_xact" / f"{number // 1_048_576:04X}"
            segment.write_bytes(bytes(262_144))
            os.chown(segment, path.stat().st_uid, path.stat().st_gid)
            server.start()
            check = host.report("--check", "wraparound")["checks"][0]
            assert (check["state"], check["text"][:9]) == (state, "postgres:"), check["text"]
            server.run("pg_ctl", "stop", "-m", "fast", "-D", str(server.data))
        damaged = bytearray(path.read_bytes())
        damaged[5000] ^= 1
        path.write_bytes(damaged)
        server.start()
        assert host.states("--check", "checksum_failures") == {"checksum_failures": "ok"}
        for state in ("warning", "critical"):
            with pytest.raises(Exception, match="invalid page"):
                host.sql("SELECT * FROM t", "postgres")
            time.sleep(0.3)
            assert host.states("--check", "checksum_failures") == {"checksum_failures": state}


def test_every_check_runs_on_every_major(server: Server, tmp_path: Path) -> None:
    host = Host(server, tmp_path)
    host.sql("DO $$BEGIN CREATE ROLE monitor; EXCEPTION WHEN duplicate_object THEN NULL; END$$", "postgres")
    host.sql("GRANT pg_monitor TO monitor", "postgres")
    name = server.create_database()
    host.configure()
    (tmp_path / "etc/mltrading-db/health.d/mltrading.json").unlink()
    report = host.report()
    server.drop_database(name)
    # Only the first server of these tests has the extension.
    unknown = {check["name"]: check["text"] for check in report["checks"] if check["state"] == "unknown"}
    assert unknown.keys() <= {"slow_statements"}, unknown


def test_connections_that_are_reserved_for_others_are_not_the_clients(tmp_path: Path) -> None:
    with running(16, max_connections="50", superuser_reserved_connections="3", reserved_connections="7") as server:
        host = Host(server, tmp_path)
        host.sql("CREATE ROLE monitor; GRANT pg_monitor TO monitor", "postgres")
        host.configure()
        check = host.report("--check", "connections")["checks"][0]
    assert check["rows"][0]["detail"].endswith(" of 40")


def test_a_slot_that_keeps_rows_is_an_old_transaction(host: Host) -> None:
    host.sql("SELECT pg_create_physical_replication_slot('held')", "postgres")
    with standby_of(host.server) as server:
        with contextlib.closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute("ALTER SYSTEM SET primary_slot_name = 'held'")
            cursor.execute("ALTER SYSTEM SET hot_standby_feedback = on")
            cursor.execute("ALTER SYSTEM SET wal_receiver_status_interval = '1s'")
            cursor.execute("SELECT pg_reload_conf()")
        with contextlib.closing(server.connect("postgres")) as reader, reader.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
            time.sleep(3)
            host.sql("CREATE TABLE busy (i int)")
            host.sql("DO $$BEGIN FOR i IN 1..1200 LOOP INSERT INTO busy VALUES (i); COMMIT; END LOOP; END$$")
            host.configure({"oldest_transaction": {"warning": 0}})
            first = host.report("--check", "oldest_transaction")["checks"][0]
            time.sleep(2)
            check = host.report("--check", "oldest_transaction")["checks"][0]
            cursor.execute("ROLLBACK")
    host.sql("DROP TABLE busy; SELECT pg_drop_replication_slot('held')")
    assert {row["item"]: row["value"] for row in first["rows"]}["slot held"] == 0
    assert (check["state"], check["rows"][0]["item"], check["value"] >= 2) == ("warning", "slot held", True)


PGBACKREST = """#!/bin/sh
[ "$1 $2" = "info --output=json" ] || exit 9
cat <<'END'
[{"name": "mltrading", "backup": [
 {"label": "20261122-013000F", "type": "full", "timestamp": {"start": 1795311000, "stop": 1795311250}, "error": false,
  "info": {"size": 5000000000, "delta": 5000000000, "repository": {"delta": 900000000}}},
 {"label": "20261122-013000F_20261123-013000D", "type": "diff", "timestamp": {"start": 1795397400, "stop": 1795397420},
  "error": true, "info": {"size": 5100000000, "delta": 90000000, "repository": {"delta": 20000000}}}]}]
END
"""


def test_the_backups_are_those_that_pgbackrest_has_the_newest_first(host: Host) -> None:
    host.write("bin/pgbackrest", PGBACKREST)
    (host.root / "bin/pgbackrest").chmod(0o755)
    environment = {"PATH": f"{host.root / 'bin'}:{os.environ['PATH']}"}
    assert json.loads(host.run("--json", "--check", "backups", **environment).stdout)["checks"][0]["rows"] == []
    host.job("backup_full")
    rows = json.loads(host.run("--json", "--check", "backups", **environment).stdout)["checks"][0]["rows"]
    assert [(row["type"], row["duration_seconds"], row["repository_bytes"]) for row in rows] == [
        ("diff", 20, 20_000_000), ("full", 250, 900_000_000),
    ]  # fmt: skip
    assert rows[0]["detail"] == "damaged pages were found"
    host.write("bin/pgbackrest", "#!/bin/sh\necho 'ERROR: [041]: no repository' >&2\nexit 41\n")
    check = json.loads(host.run("--json", "--check", "backups", **environment).stdout)["checks"][0]
    assert (check["state"], "no repository" in check["text"]) == ("unknown", True)


def test_the_last_drill_is_told_by_what_it_measured(host: Host) -> None:
    host.job("drill_restore")
    assert host.report("--check", "drills")["checks"][0]["rows"] == []
    text = "".join(
        f"# HELP mltrading_drill_{name} x\nmltrading_drill_{name} {value}\n"
        for name, value in (("ok", 1), ("recovery_point_seconds", 31.5), ("recovery_time_seconds", 42.0))
    )
    host.write("var/lib/mltrading-db/metrics/drill_restore_result.prom", text, age=3600)
    drill = host.report("--check", "drills")["checks"][0]["rows"][0]
    assert (drill["ok"], drill["recovery_point_seconds"], drill["recovery_time_seconds"]) == (True, 31.5, 42.0)


def test_a_ratio_is_not_judged_while_the_server_fills_its_memory(host: Host) -> None:
    host.up = "20 min"
    host.configure({"table_hit_ratio": {"critical": 101}})
    host.report("--check", "table_hit_ratio")
    with pages_read(host):
        check = host.report("--check", "table_hit_ratio")["checks"][0]
    assert (check["state"], check["rows"][0]["detail"]) == ("no_data", "the server was started 20 min ago")


def test_a_ratio_of_a_few_reads_is_none(host: Host) -> None:
    host.configure({"table_hit_ratio": {"critical": 101}})
    host.report("--check", "table_hit_ratio")
    # 40 MB, read once, as by a dump.
    host.sql(
        "CREATE TABLE large AS SELECT i, repeat('x', 1000) AS x FROM generate_series(1, 40000) AS i; ANALYZE large"
    )
    try:
        host.sql("SELECT sum(length(x)) FROM large")
        time.sleep(0.2)
        check = host.report("--check", "table_hit_ratio")["checks"][0]
    finally:
        host.sql("DROP TABLE large")
    assert check["state"] == "no_data"
    assert check["rows"][0]["detail"].endswith(" needed")


def test_what_never_was_is_said_to_be_never(host: Host) -> None:
    host.job("dump", age=900)
    host.job("drill_restore", age=9 * 86400)
    checks = {check["name"]: check for check in host.report("--check", "dump_age", "--check", "drill_age")["checks"]}
    assert checks["dump_age"]["shown"] == checks["drill_age"]["shown"] == "never"
    assert checks["dump_age"]["text"].startswith("dump: never, scheduled 15")
    assert (checks["drill_age"]["state"], checks["drill_age"]["value"]) == ("warning", None)


def test_a_schedule_is_read_in_the_time_of_the_host(host: Host) -> None:
    # A daily job that ran an hour ago, when it was due; the job that asks has TZ=UTC.
    started = datetime.now(UTC).astimezone(ZoneInfo("America/New_York")) - timedelta(hours=1)
    host.job("dump", f"{started.minute} {started.hour} * * *", state="ok", age=3600)
    host.write("etc/localtime", "")
    shutil.copy("/usr/share/zoneinfo/America/New_York", host.root / "etc/localtime")
    check = json.loads(host.run("--json", "--check", "job_overdue", TZ="UTC").stdout)["checks"][0]
    assert check["state"] == "ok", check


def test_a_text_in_partition_bounds_is_no_date(host: Host) -> None:
    host.sql("CREATE TABLE by_text (t text NOT NULL) PARTITION BY RANGE (t)")
    host.sql("CREATE TABLE by_text_1 PARTITION OF by_text FOR VALUES FROM ('2025-01-01') TO ('2025-99-99 no date')")
    host.sql("CREATE DOMAIN day AS date; CREATE TABLE by_day (d day NOT NULL) PARTITION BY RANGE (d)")
    host.sql("CREATE TABLE by_day_1 PARTITION OF by_day FOR VALUES FROM (MINVALUE) TO ('5000000-01-01')")
    try:
        check = host.report("--check", "partitions")["checks"][0]
    finally:
        host.sql("DROP TABLE by_text, by_day; DROP DOMAIN day")
    assert (check["state"], [row["item"] for row in check["rows"]]) == ("ok", ["app by_day"])


def test_bytes_that_are_no_text_hide_nothing(host: Host) -> None:
    host.sql("CREATE DATABASE raw ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0", "postgres")
    try:
        connection = host.server.connect("raw", client_encoding="SQL_ASCII")
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute(b'CREATE TABLE "prix_\xe9" ()')
            cursor.execute(b'SELECT 1 AS "prix_\xe9"')
        with contextlib.closing(host.server.connect("raw", client_encoding="UTF8")) as other:
            other.cursor().execute('CREATE TABLE "prix_\u00e9" ()')
        checks = {
            check["name"]: check
            for check in host.report("--check", "table_sizes", "--check", "slow_statements")["checks"]
        }
        assert checks["slow_statements"]["state"] in ("ok", "no_data"), checks["slow_statements"]
        assert checks["table_sizes"]["state"] == "info"
        assert {row["database"] for row in checks["table_sizes"]["rows"]} == {"app", "raw"}
    finally:
        host.sql("DROP DATABASE raw", "postgres")
        host.sql("SELECT pg_stat_statements_reset()", "postgres")


def test_a_series_is_told_once(host: Host) -> None:
    path = host.root / "twice.sql"
    path.write_text("SELECT 'receiver' AS item, n AS value FROM generate_series(1, 2) AS n")
    host.configure(
        checks=[
            {
                "name": "twice",
                "title": "Twice",
                "unit": "count",
                "warning": 5,
                "critical": 9,
                "record": True,
                "query": str(path),
            }
        ]
    )
    assert host.run("--metrics").returncode == host.run("--record").returncode == 0
    said = (host.root / "var/lib/mltrading-db/metrics_health/health.prom").read_text().splitlines()
    assert [line for line in said if "twice" in line and "value" in line] == [
        'mltrading_health_value{check="twice",item="receiver"} 2'
    ]
    names = [line.rsplit(" ", 1)[0] for line in said if not line.startswith("#")]
    assert len(names) == len(set(names))
    assert host.report("--history")["history"][-1]["values"]["twice"] == {"receiver": 2}


def test_the_schedules_and_the_role_are_told(host: Host) -> None:
    host.job("dump")
    assert host.run("--metrics").returncode == 0
    said = (host.root / "var/lib/mltrading-db/metrics_health/health.prom").read_text()
    assert 'mltrading_job_scheduled{job="dump"} 1\n' in said
    assert "\nmltrading_server_writes 1\n" in said
