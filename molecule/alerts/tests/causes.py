"""What makes each alert fire: a fault on one host, there while the block runs. The monitoring itself is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from harness import DATABASE, SCRIPTS, Cluster, Node

TABLE = "public.market_data"
LOGS = "/var/log/postgresql"
SILENCED = "/etc/cron.d/mltrading-db-pgbouncer_metrics"
BACKUPS = "/etc/cron.d/mltrading-db-backup_*"
# cron passes over a file that others may write to, once it reads the folder anew; the file itself is as old as before.
CHMOD = "chmod {} {}; touch /etc/cron.d"
UNIT = "alerts-clients"
HOUR = "FROM performance_logs WHERE timestamp >= now() - interval '1 hour'"
LOGGED = """
INSERT INTO performance_logs (operation_name, duration_ms, status, component)
SELECT :'operation', :ms, :'status', 'api' FROM generate_series(1, :calls);
INSERT INTO error_logs (error_type, error_message, component)
SELECT 'ConnectionError', 'connection reset', 'api' FROM generate_series(1, :calls) WHERE :'status' <> 'success';
"""
CALLED = """
SET ROLE mltrading_rw;
SELECT format('SELECT pg_sleep(%s)', :'seconds') FROM generate_series(1, :times) \\gexec
"""
Make = Callable[[Cluster], AbstractContextManager[None]]


@dataclass(frozen=True)
class Cause:
    """An alert, the host it names, what is done there, what ends it, and the function that does both."""

    alert: str
    host: str
    made: str
    ended: str
    make: Make

    def names(self, cluster: Cluster) -> tuple[str, str]:
        """The alert as Prometheus names it."""
        node: Node = getattr(cluster, self.host)
        return self.alert, node.name


CAUSES: list[Cause] = []


def cause(alert: str, host: str, made: str, ended: str) -> Callable[[Callable[[Cluster], Iterator[None]]], None]:
    """Declare the function that makes an alert fire."""

    def declare(function: Callable[[Cluster], Iterator[None]]) -> None:
        CAUSES.append(Cause(alert, host, made, ended, contextmanager(function)))

    return declare


def logged(node: Node, operation: str, status: str, calls: int, ms: int) -> None:
    """Rows of an application that logs its operations; each that failed has its row in error_logs too."""
    values = {"operation": operation, "status": status, "calls": calls, "ms": ms}
    node.sql("".join(f"\\set {name} {value}\n" for name, value in values.items()) + LOGGED, DATABASE)


def called(node: Node, times: int, seconds: str) -> None:
    """A statement that waits, called again and again; not as the superuser, whose statements are nobody's."""
    values = {"times": times, "seconds": seconds}
    node.sql("".join(f"\\set {name} {value}\n" for name, value in values.items()) + CALLED, DATABASE)


@cause("BackupAge", "backup1", "no backup is taken any more", "`dbjob backup_full`")
def no_backup(cluster: Cluster) -> Iterator[None]:
    """The level is five minutes here, and two days where it is shipped; the last backup is the scenario's own."""
    cluster.backup1.do(CHMOD.format("g+w", BACKUPS))
    yield
    cluster.backup1.do(CHMOD.format("g-w", BACKUPS))
    run = cluster.backup("full")
    assert run.returncode == 0, run.stdout + run.stderr


@cause("ArchiveAge", "db1", "the repository's service is stopped while the primary writes", "it is started")
def archive_stopped(cluster: Cluster) -> Iterator[None]:
    """Every archive_command fails, and WAL waits."""
    cluster.backup1.do("systemctl stop pgbackrest")
    cluster.db1.sql("SELECT txid_current(); SELECT pg_switch_wal()")
    yield
    cluster.backup1.do("systemctl start pgbackrest")


@cause(
    "ReplicationLagBytes",
    "db1",
    "the standby's replay is paused, and 200 MB of WAL are written",
    "replay is resumed",
)
def standby_lags(cluster: Cluster) -> Iterator[None]:
    """The standby receives, and does not replay."""
    cluster.db2.sql("SELECT pg_wal_replay_pause()")
    cluster.db1.sql(
        "SELECT count(pg_logical_emit_message(false, 'alerts', repeat('x', 1000000))) FROM generate_series(1, 200)"
    )
    yield
    cluster.db2.sql("SELECT pg_wal_replay_resume()")


@cause("Connections", "db1", "clients hold 86 % of the connections", "they leave")
def connections_held(cluster: Cluster) -> Iterator[None]:
    """Idle clients, of no transaction."""
    free = cluster.db1.sql(
        "SELECT ceil(0.86 * (m.setting::int - r.setting::int))"
        " - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')"
        " FROM pg_settings AS m, pg_settings AS r"
        " WHERE m.name = 'max_connections' AND r.name = 'superuser_reserved_connections'"
    )
    held = f"[psycopg2.connect(dbname='{DATABASE}') for _ in range({free})]"
    program = f"import psycopg2, time; held = {held}; time.sleep(7200)"
    cluster.db1.do(f'systemd-run --quiet --unit={UNIT} --uid=postgres --working-directory=/ python3 -c "{program}"')
    yield
    cluster.db1.do(f"systemctl stop {UNIT}")


@cause(
    "InvalidIndexes",
    "db1",
    "CREATE INDEX CONCURRENTLY is cancelled while it waits for a transaction that has written",
    "DROP INDEX CONCURRENTLY",
)
def invalid_index(cluster: Cluster) -> Iterator[None]:
    """What a build that was given up leaves behind."""
    writer = f"BEGIN; LOCK TABLE {TABLE} IN ROW EXCLUSIVE MODE; SELECT pg_sleep(8); COMMIT"
    build = f"SET statement_timeout = '2s'; CREATE INDEX CONCURRENTLY alerts_left ON {TABLE} (volume)"
    psql = f"runuser -u postgres -- psql -X -q -d {DATABASE}"
    said = cluster.db1.run(f'cd /; {psql} -c "{writer}" & sleep 2; {psql} <<< "{build}"; wait')
    assert "canceling statement due to statement timeout" in said.stderr, said
    yield
    cluster.db1.sql("DROP INDEX CONCURRENTLY public.alerts_left", DATABASE)


@cause(
    "SlowStatements", "db1", "a statement that takes 1.1 s is called 100 times", "it is called 200 times and is fast"
)
def slow_statement(cluster: Cluster) -> Iterator[None]:
    """Four clients, so that it takes half a minute."""
    with ThreadPoolExecutor(4) as clients:
        list(clients.map(lambda _: called(cluster.db1, 25, "1.1"), range(4)))
    yield
    called(cluster.db1, 200, "0.0")


@cause("QueryTime", "db1", "an operation takes 4 s, by its log", "it takes 5 ms, four times as often")
def slow_operation(cluster: Cluster) -> Iterator[None]:
    """As the application sees it, whatever the server does; enough calls to outweigh those of the last hour."""
    calls = f"SELECT count(*) {HOUR} AND operation_name = 'load_dashboard'"
    logged(cluster.db1, "load_dashboard", "success", 30 + 3 * int(cluster.db1.sql(calls, DATABASE)), 4000)
    yield
    logged(cluster.db1, "load_dashboard", "success", 4 * int(cluster.db1.sql(calls, DATABASE)), 5)


@cause(
    "ErrorRate",
    "db1",
    "one operation in seven fails, with a row in error_logs",
    "as many succeed as bring it below 5 %",
)
def operations_fail(cluster: Cluster) -> Iterator[None]:
    """Of the operations of the last hour, whatever the sample data has of them."""
    calls = int(cluster.db1.sql(f"SELECT count(*) / 6 + 10 {HOUR}", DATABASE))
    logged(cluster.db1, "place_order", "error", calls, 20)
    yield
    failed = f"SELECT 25 * count(*) FILTER (WHERE status <> 'success') - count(*) {HOUR}"
    logged(cluster.db1, "place_order", "success", int(cluster.db1.sql(failed, DATABASE)), 20)


@cause("Disk", "db1", "the file system of the server's logs, 40 MB here, is filled", "it is emptied, and leaves")
def full_disk(cluster: Cluster) -> Iterator[None]:
    """A file system of its own, so that nothing else runs out of space; the server writes on into its open file."""
    cluster.db1.do(
        f"mount -t tmpfs -o size=40m tmpfs {LOGS}; chmod 1777 {LOGS}; head --bytes=38M /dev/zero > {LOGS}/ballast"
    )
    yield
    cluster.db1.do(f"rm {LOGS}/ballast; umount {LOGS}")


@cause("JobOverdue", "db1", "cron passes over a job's file, as others may write to it", "they may not")
def job_silent(cluster: Cluster) -> Iterator[None]:
    """What cron(8) refuses; the level is two minutes here, and fifteen where it is shipped."""
    cluster.db1.do(CHMOD.format("g+w", SILENCED))
    yield
    cluster.db1.do(CHMOD.format("g-w", SILENCED))


@cause("HealthSilent", "db2", "cron is stopped", "it is started, and what it has missed is run")
def host_silent(cluster: Cluster) -> Iterator[None]:
    """No job of the host runs, that of the checks neither."""
    cluster.db2.do("systemctl stop cron")
    yield
    cluster.db2.do("systemctl start cron")
    report = json.loads(cluster.db2.run("health --json --check job_overdue").stdout)
    for row in report["checks"][0]["rows"]:
        if row["value"]:
            cluster.db2.run(f"{SCRIPTS}/dbjob {row['item']}")
