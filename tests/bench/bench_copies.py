"""Seconds per GB of a backup and of a restore, beside pg_basebackup and plain cp, on one disk and of the same data.

In each round every way takes its turn, and each round begins with another one. All of them end with what they wrote
synced: pgBackRest and pg_basebackup do that themselves, behind cp comes `sync` on every file.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from harness import DATABASE, Cluster, Node, said

GB = 10**9
BULK = "bench_bulk"
FOLDER = "/var/lib/postgresql/bench"
# A file that is rewritten while it is read is what WAL is for: PostgreSQL's own way of copying a server that runs.
COPY_LIVE = """
SELECT pg_backup_start('bench', true);
\\! cp --archive {data} {folder}/cp && find {folder}/cp -print0 | xargs -0 sync && touch {folder}/copied
SELECT pg_backup_stop();
"""


def fill(cluster: Cluster, megabytes: int) -> float:
    """Rows like the trading database's until the data directory has that size; its size in GB, WAL left out."""
    cluster.db1.sql(f"DROP TABLE IF EXISTS {BULK}; CREATE TABLE {BULK} (LIKE feature_engineered_data)", DATABASE)
    insert = f"INSERT INTO {BULK} SELECT * FROM feature_engineered_data"  # noqa: S608  # a name of ours
    while size(cluster) < megabytes * 10**6:
        cluster.db1.sql(insert, DATABASE)
    cluster.db1.sql("CHECKPOINT")
    cluster.archive()
    return size(cluster) / GB


def size(cluster: Cluster) -> int:
    """Bytes of all databases: what there is to back up."""
    return int(cluster.db1.sql("SELECT sum(pg_database_size(oid)) FROM pg_database"))


def seconds(node: Node, command: str, stdin: str = "") -> float:
    """How long a command takes that must end well."""
    began = time.monotonic()
    node.do(f"cd / && {command}", stdin)
    return time.monotonic() - began


def as_postgres(command: str) -> str:
    """As the servers' OS user, in a shell of its own."""
    return f"runuser -u postgres -- bash -c '{command}'"


def make_folder(node: Node) -> None:
    """An empty folder for copies."""
    node.do(f"rm -rf {FOLDER} && install -d -o postgres -g postgres -m 700 {FOLDER}")


class Ways:
    """The ways of copying a cluster, each a function that returns its seconds."""

    def __init__(self, cluster: Cluster) -> None:
        """Of this cluster."""
        self.cluster = cluster
        self.backups: dict[str, Callable[[], float]] = {
            "pgBackRest": self.backup_pgbackrest,
            "the job: pgBackRest and its checks": self.backup_job,
            "pg_basebackup": self.backup_basebackup,
            "cp -a": self.backup_cp,
        }
        self.restores: dict[str, Callable[[], float]] = {
            "pgBackRest": self.restore_pgbackrest,
            "the job: planned, recovered to the archive's end": self.restore_job,
            "cp -a": self.restore_cp,
        }

    def backup_pgbackrest(self) -> float:
        """A full backup to the repository host: compressed, encrypted, over TLS."""
        command = "runuser -u pgbackrest -- pgbackrest --stanza=mltrading --type=full backup"
        return seconds(self.cluster.backup1, command)

    def backup_job(self) -> float:
        """The same as cron has it taken: with verify, which reads the whole repository, and the check of the WAL."""
        began = time.monotonic()
        run = self.cluster.backup("full")
        assert run.returncode == 0, said(run)
        return time.monotonic() - began

    def backup_basebackup(self) -> float:
        """To the standby's host, over TLS, as a standby is cloned."""
        make_folder(self.cluster.db2)
        primary = self.cluster.db2.sql("SHOW primary_conninfo").replace("'", "")
        command = f'pg_basebackup --pgdata={FOLDER}/copy --wal-method=stream --checkpoint=fast --dbname="{primary}"'
        return seconds(self.cluster.db2, as_postgres(command))

    def backup_cp(self) -> float:
        """On the primary's own host, between pg_backup_start and pg_backup_stop."""
        make_folder(self.cluster.db1)
        node, began = self.cluster.db1, time.monotonic()
        node.sql(COPY_LIVE.format(data=self.cluster.data, folder=FOLDER))
        took = time.monotonic() - began
        node.do(f"test -e {FOLDER}/copied")
        return took

    def restore_pgbackrest(self) -> float:
        """The newest backup's files, on the primary's host."""
        make_folder(self.cluster.db1)
        command = (
            f"mkdir -m 700 {FOLDER}/restored && pgbackrest --stanza=mltrading --pg1-path={FOLDER}/restored restore"
        )
        return seconds(self.cluster.db1, as_postgres(command))

    def restore_job(self) -> float:
        """A clone that has recovered all that is archived, and answers."""
        began = time.monotonic()
        with self.cluster.clone(kind="latest") as ask:
            took = time.monotonic() - began
            assert int(ask(f"SELECT count(*) FROM {BULK}")) > 0  # noqa: S608  # a name of ours
        return took

    def restore_cp(self) -> float:
        """A copy that pg_basebackup took, brought back on the host that has it: files alone, as with pgBackRest."""
        command = f"cp --archive {FOLDER}/copy {FOLDER}/restored && find {FOLDER}/restored -print0 | xargs -0 sync"
        took = seconds(self.cluster.db2, as_postgres(command))
        self.cluster.db2.do(f"rm -rf {FOLDER}/restored")
        return took


def rounds(ways: dict[str, Callable[[], float]], count: int, say: Callable[[str], None]) -> dict[str, list[float]]:
    """The seconds of each way, one a round."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(count):
        turn = number % len(ways)
        for name in [*ways][turn:] + [*ways][:turn]:
            found[name].append(round(ways[name](), 2))
            say(f"round {number + 1}: {name}: {found[name][-1]} s")
    return found


def measure(cluster: Cluster, megabytes: int, count: int, say: Callable[[str], None]) -> dict[str, Any]:
    """The rounds, and the medians by GB."""
    gigabytes = fill(cluster, megabytes)
    say(f"{gigabytes:.2f} GB of databases, fsync is {cluster.db1.sql('SHOW fsync')}")
    ways = Ways(cluster)
    result: dict[str, Any] = {"gigabytes": round(gigabytes, 2)}
    for verb, which in (("backup", ways.backups), ("restore", ways.restores)):
        say(verb)
        found = rounds(which, count, say)
        result[verb] = {
            name: {"seconds": times, "seconds_per_gb": round(statistics.median(times) / gigabytes, 2)}
            for name, times in found.items()
        }
    for node in (cluster.db1, cluster.db2):
        node.do(f"rm -rf {FOLDER}")
    return result
