"""A change of the primary while rows are being written: no acknowledged row is lost, and two servers never take writes.

The two tests are one story, in this order: the standby takes over by plan, and the former primary when the host of the
new one dies.
"""

import subprocess

import pytest
from harness import Cluster, Node, docker, eventually, said
from oracle import Oracle
from table import Fault


def play(
    cluster: Cluster, playbook: str, primary: Node, *arguments: str, **variables: object
) -> subprocess.CompletedProcess[str]:
    """A playbook with an inventory that names `primary`, as a person would after a promotion."""
    return cluster.play(playbook, *cluster.naming(primary), *arguments, **variables)


def promote(
    cluster: Cluster, primary: Node, standby: Node, *arguments: str, **more: object
) -> subprocess.CompletedProcess[str]:
    """The playbook, asked to promote `standby`."""
    ask = {"promote_to": standby.name, "promote_confirm": standby.name} | more
    return play(cluster, "promote_replica.yml", primary, *arguments, **ask)


def who_writes(cluster: Cluster) -> tuple[bool, bool]:
    """Whether the first and the second server take writes."""
    return cluster.db1.writes(), cluster.db2.writes()


@pytest.mark.timeout(1200)
def test_a_planned_change_loses_no_acknowledged_row(provisioned: Cluster, oracle: Oracle, fault: Fault) -> None:
    """The standby is promoted by plan (switchover), under load."""
    cluster, old, new = provisioned, provisioned.db1, provisioned.db2

    unconfirmed = promote(cluster, old, new, promote_confirm=old.name)
    assert "repeat it as promote_confirm=HOST" in said(unconfirmed)
    alive = promote(cluster, old, new, promote_unplanned=True)
    assert f"{old.name} still takes writes" in said(alive)
    new.sql("SELECT pg_wal_replay_pause()")
    old.sql("CREATE TABLE promotion_bulk AS SELECT repeat(n::text, 10) FROM generate_series(1, 400000) AS n")
    behind = promote(cluster, old, new)
    new.sql("SELECT pg_wal_replay_resume()")
    old.sql("DROP TABLE promotion_bulk")
    assert "bytes behind" in said(behind)
    assert [run.returncode for run in (unconfirmed, alive, behind)] == [2, 2, 2]
    assert who_writes(cluster) == (True, False)
    assert eventually(cluster.follows)

    run = promote(cluster, old, new)
    assert run.returncode == 0, run.stdout
    assert "The write gap was" in said(run)
    oracle.writes_on()
    acknowledged = oracle.stop()
    fault.accounts_for(acknowledged, cluster.rows(new))
    assert who_writes(cluster) == (False, True)
    assert eventually(lambda: acknowledged <= cluster.rows(old))
    # Before anybody has changed the inventory.
    cluster.archive(new)

    unchanged = play(cluster, "site.yml", old, "--tags", "postgresql")
    assert f"postgresql_primary is {old.name}, and of this cluster's servers {new.name} takes writes" in said(unchanged)
    tags = "common,postgresql,postgresql_replica,pgbouncer"
    changed = play(cluster, "site.yml", new, "--tags", tags)
    assert changed.returncode == 0, changed.stdout
    assert "changed: [" not in changed.stdout
    fault.happened = (
        f"{oracle.gap():.1f} s without a write; the old primary follows the new one; refused unconfirmed, unplanned"
        " while the primary lives, and while the standby is behind"
    )


@pytest.mark.timeout(1200)
def test_a_dead_primary_is_replaced_and_takes_no_write_when_it_is_back(
    provisioned: Cluster, oracle: Oracle, fault: Fault
) -> None:
    """The primary's host is killed under load, and the standby promoted (synchronous replication)."""
    cluster, new, old = provisioned, provisioned.db1, provisioned.db2
    assert who_writes(cluster) == (False, True), "this test goes on where the one before it ended"
    run = play(cluster, "site.yml", old, "--tags", "postgresql_replica", postgresql_replica_synchronous="any")
    assert run.returncode == 0, run.stdout
    synchronous = "SELECT string_agg(sync_state, ',') FROM pg_stat_replication"
    assert eventually(lambda: old.sql(synchronous) == "quorum")
    oracle.writes_on()

    docker("kill", old.name)
    planned = promote(cluster, old, new, f"--limit={new.name}")
    assert f"{old.name} does not answer it or the controller" in said(planned)
    run = promote(cluster, old, new, f"--limit={new.name}", promote_unplanned=True)
    assert run.returncode == 0, run.stdout
    oracle.writes_on()

    # It comes back by itself, and finds that it was replaced.
    docker("start", old.name)
    journal = "journalctl --boot --unit 'postgresql@*'"
    assert eventually(lambda: "takes writes for this cluster" in old.run(journal).stdout)
    assert not old.answers()
    refused = play(cluster, "site.yml", new, "--tags", "postgresql,postgresql_replica")
    assert f"promote_rejoin={old.name}" in said(refused)
    assert refused.returncode != 0

    run = play(cluster, "promote_replica.yml", new, promote_rejoin=old.name, promote_confirm=old.name)
    assert run.returncode == 0, run.stdout
    assert who_writes(cluster) == (True, False)
    acknowledged = oracle.stop()
    fault.accounts_for(acknowledged, cluster.rows(new))
    assert eventually(lambda: acknowledged <= cluster.rows(old))
    assert old.run(f"ls -d {cluster.data}.before-*").returncode == 0
    old.do(f"rm -rf {cluster.data}.before-*")
    # As the inventory says it: the primary asks for no standby's word any more.
    run = cluster.play("site.yml")
    assert run.returncode == 0, run.stdout
    fault.happened = (
        f"{oracle.gap():.1f} s without a write, most of it until somebody promotes; the old primary does not start as"
        " one, and is made a standby again"
    )
