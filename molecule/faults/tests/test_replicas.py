"""A standby that is away for longer than its slot lasts."""

from collections.abc import Iterator

import pytest
from harness import Cluster, eventually
from oracle import Oracle
from table import Fault


@pytest.fixture
def small_slot(cluster: Cluster) -> Iterator[None]:
    """A primary that keeps a segment at most for a standby that is away."""
    cluster.db1.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'")
    cluster.db1.sql("SELECT pg_reload_conf()")
    yield
    cluster.db1.sql("ALTER SYSTEM RESET max_slot_wal_keep_size")
    cluster.db1.sql("SELECT pg_reload_conf()")


def status(cluster: Cluster) -> str:
    """What the primary says of its slots."""
    return cluster.db1.sql("SELECT string_agg(wal_status, ',') FROM pg_replication_slots")


@pytest.mark.usefixtures("small_slot")
def test_a_standby_whose_slot_was_lost_comes_back(cluster: Cluster, oracle: Oracle, fault: Fault) -> None:
    """The standby is cut off from everybody until its slot is lost, under load."""
    with cluster.db2.cut_from(cluster.db1.address, cluster.backup1.address):
        for _ in range(6):
            oracle.writes_on(10)
            cluster.archive()
        cluster.db1.sql("CHECKPOINT")
        assert eventually(lambda: "lost" in status(cluster)), status(cluster)
        missed = cluster.db1.sql("SELECT pg_current_wal_lsn()")
    oracle.writes_on()
    # It finds what it missed in the archive by itself; a slot again is the site's to make.
    assert eventually(lambda: cluster.db2.sql(f"SELECT pg_last_wal_replay_lsn() >= '{missed}'") == "t")
    run = cluster.play("site.yml", "--tags", "postgresql,postgresql_replica")
    assert run.returncode == 0, run.stdout
    assert eventually(cluster.follows)
    # It keeps WAL for the standby again: a lost one that is streamed by stays `unreserved` on PostgreSQL 17.
    assert eventually(lambda: status(cluster) == "reserved"), status(cluster)
    acknowledged = oracle.stop()
    assert eventually(lambda: acknowledged <= cluster.rows(cluster.db2))
    fault.accounts_for(acknowledged, cluster.rows(cluster.db2))
    fault.happened = "it reads what it missed from the archive, without a copy; the site gives it a slot again"
