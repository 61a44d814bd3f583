"""An archive that cannot take WAL, or lost or damaged what it took. The proof is a restore with the oracle's rows."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from harness import CLONE, DATABASE, REPOSITORY, SCRIPTS, Cluster, eventually, flip, numbers, said
from oracle import Oracle
from table import Fault

WAITING = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"


@contextmanager
def unreachable(cluster: Cluster) -> Iterator[None]:
    """No packet of the repository host's gets out."""
    with cluster.backup1.cut_from(cluster.db1.address, cluster.db2.address):
        yield


@contextmanager
def hanging(cluster: Cluster) -> Iterator[None]:
    """It takes connections and says nothing."""
    cluster.backup1.do("systemctl kill --signal=STOP pgbackrest")
    try:
        yield
    finally:
        cluster.backup1.do("systemctl kill --signal=CONT pgbackrest")


@contextmanager
def read_only(cluster: Cluster) -> Iterator[None]:
    """As a file system is after an error of its disk."""
    with cluster.backup1.on_small_disk(REPOSITORY, 500, "pgbackrest") as remount:
        remount("ro")
        try:
            yield
        finally:
            remount("rw")
            cluster.archive()


@contextmanager
def full(cluster: Cluster) -> Iterator[None]:
    """Not even a segment fits."""
    with cluster.backup1.on_small_disk(REPOSITORY, 1, "pgbackrest") as remount:
        fill = f"runuser -u pgbackrest -- dd if=/dev/urandom of={REPOSITORY}/ballast bs=4k 2>/dev/null"
        cluster.backup1.do(f"{fill} || test -s {REPOSITORY}/ballast")
        try:
            yield
        finally:
            cluster.backup1.do(f"rm {REPOSITORY}/ballast")
            remount("size=2g")
            cluster.archive()


@contextmanager
def without_command(cluster: Cluster) -> Iterator[None]:
    """The program is away, as after a package was removed: pg_stat_archiver counts no failure then."""
    cluster.db1.do("mv /usr/bin/pgbackrest /usr/bin/pgbackrest.away")
    try:
        yield
    finally:
        cluster.db1.do("mv /usr/bin/pgbackrest.away /usr/bin/pgbackrest")


AWAY = {
    "cannot be reached": unreachable,
    "hangs": hanging,
    "is read-only": read_only,
    "is full": full,
    "misses its archive command on the primary": without_command,
}


@pytest.mark.parametrize("state", AWAY)
def test_wal_waits_while_the_repository_is_away(cluster: Cluster, oracle: Oracle, fault: Fault, state: str) -> None:
    """The repository {state} for a while, under load."""
    away: Callable[[Cluster], AbstractContextManager[None]] = AWAY[state]
    with away(cluster):
        before = len(oracle.acknowledged)
        cluster.db1.sql("SELECT pg_switch_wal()")
        assert eventually(lambda: int(cluster.db1.sql(WAITING)) > 0, 30)
        oracle.writes_on()
        # Its limit is five minutes: a second, so that the test need not wait for them.
        job = f"cd / && sleep 2 && runuser -u postgres -- env ARCHIVE_AGE_LIMIT=1 {SCRIPTS}/heartbeat"
        heartbeat = cluster.db1.run(job)
        assert heartbeat.returncode == 1, said(heartbeat)
        assert "WAL is not archived" in heartbeat.stdout
        oracle.writes_on()
        written = len(oracle.acknowledged) - before
    oracle.writes_on()
    acknowledged = oracle.stop()
    cluster.archive()
    assert acknowledged <= cluster.rows()
    fault.accounts_for(acknowledged, cluster.restored(kind="latest"))
    fault.happened = (
        f"writes go on ({written:,} meanwhile), WAL waits on the primary and heartbeat fails; afterwards all arrives"
    )


def segment_of(cluster: Cluster) -> str:
    """The path of a segment that is in the archive, with oracle's rows in it and later ones behind it."""
    segment = cluster.archive()
    cluster.archive()
    return cluster.repository(f"find {REPOSITORY}/archive -name '{segment}-*'").stdout.strip()


@contextmanager
def deleted(cluster: Cluster, path: str) -> Iterator[str]:
    """The segment is gone."""
    cluster.backup1.do(f"mv {path} /var/tmp/kept")
    try:
        yield f"WAL segment {path.rsplit('/', 1)[-1][:24]} is missing"
    finally:
        cluster.backup1.do(f"mv /var/tmp/kept {path}")


@contextmanager
def flipped(cluster: Cluster, path: str) -> Iterator[str]:
    """One bit of it is another."""
    flip(cluster.backup1, path)
    try:
        yield path.rsplit("/", 1)[-1][:24]
    finally:
        flip(cluster.backup1, path)


DAMAGE = {"is deleted from": deleted, "has a bit flipped in": flipped}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_wal_is_named_and_never_taken_for_the_end(
    cluster: Cluster, oracle: Oracle, fault: Fault, damage: str
) -> None:
    """A WAL segment {damage} the archive."""
    oracle.writes_on()
    with oracle.paused():
        cluster.db1.sql("SELECT pg_create_restore_point('before the damage')")
        before = set(oracle.acknowledged)
        cluster.archive()
    oracle.writes_on()
    path = segment_of(cluster)
    oracle.writes_on()
    acknowledged = oracle.stop()
    cluster.archive()
    with DAMAGE[damage](cluster, path) as reason:
        check = cluster.repository(f"{SCRIPTS}/verify_repository.py")
        assert check.returncode == 1
        assert reason in said(check)
        refused = cluster.play("restore_backup.yml", restore_target="latest", restore_confirm=cluster.db1.name)
        assert refused.returncode != 0
        assert "Nothing was changed" in said(refused)
        direct = cluster.restore("run", kind="latest", directory=CLONE, port=5499)
        assert direct.returncode != 0, "a restore that misses rows reported success"
        cluster.remove_clone()
        clone = {"restore_directory": CLONE, "restore_port": 5499, "restore_confirm": cluster.db1.name}
        labels = cluster.labels()
        earlier = cluster.play("restore_backup.yml", restore_target_name="before the damage", **clone)
        assert earlier.returncode == 0, earlier.stdout
        assert cluster.labels() == labels, "a clone had a backup taken"
        assert "damage elsewhere in the repository" in said(earlier)
        assert numbers(cluster.db1.sql("SELECT number FROM oracle", DATABASE, 5499)) == before
        cluster.remove_clone()
        backup = cluster.backup("full")
        assert backup.returncode == 1
        assert "cannot be relied on" in said(backup)
        fault.accounts_for(acknowledged, cluster.restored(kind="latest"))
    fault.happened = (
        "the check names it, a restore past it is refused, the playbook warns and restores to before it; after a new"
        " full backup `latest` has all"
    )


def test_a_bit_flipped_in_a_backup_is_found(cluster: Cluster, oracle: Oracle, fault: Fault) -> None:
    """A bit is flipped in the newest backup."""
    oracle.writes_on()
    taken = cluster.backup("full")
    assert taken.returncode == 0, said(taken)
    acknowledged = oracle.stop()
    cluster.archive()
    newest = f"{REPOSITORY}/backup/mltrading/{cluster.labels()[-1]}/"
    path = cluster.repository(f"bash -c \"find {newest} -name '*.lz4' -size +8k | sort | head -n 1\"").stdout.strip()
    flip(cluster.backup1, path)
    check = cluster.repository(f"{SCRIPTS}/verify_repository.py")
    assert check.returncode == 1
    refused = cluster.play("restore_backup.yml", restore_target="latest", restore_confirm=cluster.db1.name)
    assert refused.returncode != 0
    assert "the repository is damaged" in said(refused)
    direct = cluster.restore("run", kind="latest", directory=CLONE, port=5499)
    assert direct.returncode != 0, "a restore of a damaged backup reported success"
    cluster.remove_clone()
    # The way out that docs/operations/restore_backup.md names, with the older backups.
    expired = cluster.repository(f"pgbackrest --stanza=mltrading expire --set={cluster.labels()[-1]}")
    assert expired.returncode == 0, said(expired)
    assert cluster.repository(f"{SCRIPTS}/verify_repository.py").returncode == 0
    fault.accounts_for(acknowledged, cluster.restored(kind="latest"))
    fault.happened = (
        "the check finds it and a restore is refused; with the backup taken out, the older one has all rows"
    )
