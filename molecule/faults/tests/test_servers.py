"""Servers and hosts that die, lose their network, or run out of disk while rows are written."""

import time

import pytest
from harness import DATABASE, Cluster, docker, eventually
from oracle import Oracle
from table import Fault

PARENT = "/var/lib/postgresql"
# In one session, as a full disk lets nobody in. A table takes what there is, and a file the rest; segments that are
# archived are used again, and are filled faster here than that, until the server needs another one.
FILL = """
DO 'BEGIN END';
CREATE TABLE ballast AS SELECT repeat(n::text, 1000) FROM generate_series(1, 10000000) AS n;
\\! dd if=/dev/zero of=/var/lib/postgresql/ballast bs=1M 2>/dev/null
DO 'BEGIN FOR n IN 1..500 LOOP PERFORM pg_logical_emit_message(true, $$fill$$, $$it$$), pg_switch_wal(); END LOOP; END';
"""


@pytest.mark.core
def test_a_killed_postmaster_is_started_again(cluster: Cluster, oracle: Oracle, fault: Fault) -> None:
    """The postmaster of the primary is killed (SIGKILL) under load."""
    cluster.db1.do(f"kill -KILL $(head -n 1 {cluster.data}/postmaster.pid)")
    oracle.writes_on()
    cluster.is_whole()
    acknowledged = oracle.stop()
    fault.accounts_for(acknowledged, cluster.rows())
    assert eventually(lambda: acknowledged <= cluster.rows(cluster.db2))
    fault.happened = f"systemd starts it again; {oracle.gap():.1f} s without a write; the standby has all rows too"


def test_a_killed_host_comes_back_by_itself(cluster: Cluster, oracle: Oracle, fault: Fault) -> None:
    """The primary's host is killed under load, and started."""
    docker("kill", cluster.db1.name)
    time.sleep(2)
    docker("start", cluster.db1.name)
    oracle.writes_on()
    cluster.is_whole()
    acknowledged = oracle.stop()
    fault.accounts_for(acknowledged, cluster.rows())
    assert eventually(lambda: acknowledged <= cluster.rows(cluster.db2))
    fault.happened = (
        f"server and pooler start with the host, as no other server takes writes; {oracle.gap():.1f} s without a write"
    )


def test_a_standby_s_host_that_is_killed_catches_up(cluster: Cluster, oracle: Oracle, fault: Fault) -> None:
    """The standby's host is killed under load, and started."""
    docker("kill", cluster.db2.name)
    oracle.writes_on(200)
    docker("start", cluster.db2.name)
    cluster.is_whole()
    acknowledged = oracle.stop()
    assert eventually(lambda: acknowledged <= cluster.rows(cluster.db2))
    fault.accounts_for(acknowledged, cluster.rows(cluster.db2))
    fault.happened = f"the primary goes on ({oracle.gap():.1f} s without a write); the standby catches up by itself"


def test_a_network_that_is_cut_loses_no_row(cluster: Cluster, oracle: Oracle, fault: Fault) -> None:
    """The primary is cut off from its clients, its standby and the repository for 20 seconds, under load."""
    gateway = cluster.db1.do("ip route | sed --quiet 's/^default via \\([0-9.]*\\) .*/\\1/p'")
    with cluster.db1.cut_from(gateway, cluster.db2.address, cluster.backup1.address):
        before = len(oracle.acknowledged)
        time.sleep(20)
        # Those that were on their way may still have been counted.
        assert len(oracle.acknowledged) <= before + 10, "the network was not cut"
    oracle.writes_on()
    cluster.is_whole()
    acknowledged = oracle.stop()
    fault.accounts_for(acknowledged, cluster.rows())
    assert eventually(lambda: acknowledged <= cluster.rows(cluster.db2))
    fault.happened = (
        f"{oracle.gap():.1f} s without a write; writers, standby and archive go on by themselves;"
        f" {len(cluster.rows() - acknowledged)} rows are there whose acknowledgement was lost on the way"
    )


def test_a_full_data_disk_stops_writes_and_loses_none(cluster: Cluster, oracle: Oracle, fault: Fault) -> None:
    """The primary's disk is full, and is given space again, under load."""
    with cluster.db1.on_small_disk(PARENT, 150, cluster.unit) as remount:
        size = int(cluster.db1.do(f"df --output=size --block-size=1M {PARENT} | tail -n 1"))
        oracle.writes_on()
        full = cluster.db1.run(f"cd / && runuser -u postgres -- psql --no-psqlrc --dbname={DATABASE}", FILL)
        # Either it has no space, or it wrote less than it had to.
        assert "could not extend file" in full.stderr, full.stderr
        down = eventually(lambda: not cluster.db1.answers() and "PANIC" in log_tail(cluster), 60)
        cluster.db1.do(f"rm {PARENT}/ballast")
        remount(f"size={size + 500}m")
        cluster.db1.do(f"systemctl reset-failed {cluster.unit}; systemctl start {cluster.unit}")
        oracle.writes_on()
        acknowledged = oracle.stop()
        fault.accounts_for(acknowledged, cluster.rows())
        assert down, "the server had room for its WAL"
    cluster.is_whole()
    assert acknowledged <= cluster.rows()
    assert eventually(lambda: acknowledged <= cluster.rows(cluster.db2))
    fault.happened = (
        f"the statement that fills it fails; without room for WAL the server ends; {oracle.gap():.1f} s without a write"
    )


def log_tail(cluster: Cluster) -> str:
    """The end of the server's log."""
    return cluster.db1.do("tail --quiet --lines=500 /var/log/postgresql/*-main/*.log")
