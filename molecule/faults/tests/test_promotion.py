"""A change of the primary while rows are being written: no acknowledged row is lost, and two servers never take writes.

The tests are one story, in this order: the standby takes over by plan, and the former primary when the host of the new
one dies; then it goes wrong, in one way after the other.
"""

import signal
import subprocess
from collections.abc import Iterator

import pytest
from harness import SCRIPTS, Cluster, Node, docker, eventually, said
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


@pytest.mark.timeout(2400)
def test_a_planned_change_loses_no_acknowledged_row(provisioned: Cluster, oracle: Oracle, fault: Fault) -> None:
    """The standby is promoted by plan (switchover), under load."""
    cluster, old, new = provisioned, provisioned.db1, provisioned.db2

    poolers = "sha256sum /etc/pgbouncer/pgbouncer.ini"
    pointed = old.do(poolers)
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
    assert old.do(poolers) == pointed
    assert eventually(cluster.follows)
    predicted = promote(cluster, old, new, "--check")
    assert predicted.returncode == 0, predicted.stdout
    assert who_writes(cluster) == (True, False)
    assert old.do(poolers) == pointed

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

    restored = play(cluster, "restore_backup.yml", old, restore_target="latest", restore_confirm=old.name)
    assert restored.returncode != 0
    assert f"{new.name} takes writes for the cluster of {old.name}" in said(restored)
    assert eventually(lambda: acknowledged <= cluster.rows(old))
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


@pytest.mark.timeout(2400)
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
    waits = {"promote_unplanned": True, "postgresql_replica_synchronous": "any"}
    run = promote(cluster, old, new, f"--limit={new.name}", **waits)
    assert run.returncode == 0, run.stdout
    # Commits do not wait for the standby that the dead host is to be.
    oracle.writes_on()

    # It comes back by itself, and finds that it was replaced.
    docker("start", old.name)
    journal = "journalctl --boot --unit 'postgresql@*'"
    assert eventually(lambda: "takes writes for this cluster" in old.run(journal).stdout)
    assert not old.answers()
    refused = play(cluster, "site.yml", new, "--tags", "postgresql,postgresql_replica")
    assert f"promote_rejoin={old.name}" in said(refused)
    assert refused.returncode != 0
    # It knows that it was replaced, and needs nobody to tell it again.
    with new.cut_from(old.address):
        assert old.run(f"systemctl reset-failed {cluster.unit}; systemctl start {cluster.unit}").returncode != 0
    assert "this server was replaced" in old.run(journal).stdout
    assert not old.answers()

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


def test_a_standby_that_does_not_keep_up_is_not_promoted(cluster: Cluster, oracle: Oracle, fault: Fault) -> None:
    """The standby does not replay what the primary wrote last, and the switchover fails."""
    old, new = cluster.db1, cluster.db2
    new.sql("SELECT pg_wal_replay_pause()")
    oracle.writes_on()
    run = promote(cluster, old, new)
    new.sql("SELECT pg_wal_replay_resume()")
    assert run.returncode != 0
    assert "did not replay WAL beyond" in said(run)
    assert "The primary runs again" in said(run)
    assert who_writes(cluster) == (True, False)
    oracle.writes_on()
    # Its pooler's files are the site's to put back.
    site = play(cluster, "site.yml", old, "--tags", "common,postgresql,postgresql_replica,pgbouncer")
    assert site.returncode == 0, site.stdout
    acknowledged = oracle.stop()
    fault.accounts_for(acknowledged, cluster.rows())
    fault.happened = f"it is not promoted, and the old primary takes writes again; {oracle.gap():.0f} s without a write"


@pytest.fixture
def silent_promotion(provisioned: Cluster) -> Iterator[None]:
    """The standby promotes itself, and says that it failed, as where the promotion took longer than it waits."""
    script = f"{SCRIPTS}/standby.py"
    wrapper = f'#!/bin/sh\n{script}.kept "$@" || exit\nif [ "$1" = promote ]; then echo unknown >&2; exit 1; fi\n'
    provisioned.db2.do(f"mv {script} {script}.kept && cat > {script} && chmod 755 {script}", wrapper)
    yield
    provisioned.db2.do(f"rm --force {script}.kept")


@pytest.mark.timeout(2400)
@pytest.mark.usefixtures("silent_promotion")
def test_a_standby_whose_fate_is_unknown_is_asked_by_the_next_run(
    provisioned: Cluster, oracle: Oracle, fault: Fault
) -> None:
    """The standby is promoted, and the play does not hear of it."""
    cluster, old, new = provisioned, provisioned.db1, provisioned.db2
    run = promote(cluster, old, new)
    assert run.returncode != 0
    assert "Nobody knows yet whether the standby is promoted" in said(run)
    assert who_writes(cluster) == (False, True)
    assert not old.answers()
    again = promote(cluster, old, new)
    assert again.returncode == 0, again.stdout
    assert f"{new.name} takes writes already" in said(again)
    assert who_writes(cluster) == (False, True)
    oracle.writes_on()
    acknowledged = oracle.stop()
    fault.accounts_for(acknowledged, cluster.rows(new))
    assert eventually(lambda: acknowledged <= cluster.rows(old))
    fault.happened = "the old primary stays down; the second run asks the standby and goes on from there"


STAGES = {
    "is stopped": "TASK [postgresql_replica : Promote | Note that the standby is asked]",
    "is replaced": "PLAY [Point the poolers at it]",
}


@pytest.mark.timeout(2400)
def test_a_switchover_that_is_killed_is_gone_on_with(provisioned: Cluster, oracle: Oracle, fault: Fault) -> None:
    """The switchover is killed once the primary is stopped, and another once it is replaced; each is run again."""
    cluster, old, new = provisioned, provisioned.db2, provisioned.db1
    assert who_writes(cluster) == (False, True), "this test goes on where the one before it ended"
    for line in (STAGES["is stopped"], STAGES["is replaced"], STAGES["is stopped"]):
        ask = {"promote_to": new.name, "promote_confirm": new.name}
        code, text = cluster.killed_play("promote_replica.yml", line, *cluster.naming(old), **ask)
        assert code == -signal.SIGKILL, text
        again = promote(cluster, old, new)
        assert again.returncode == 0, again.stdout
        assert (old.writes(), new.writes()) == (False, True)
        oracle.writes_on()
        old, new = new, old
    acknowledged = oracle.stop()
    fault.accounts_for(acknowledged, cluster.rows(cluster.db1))
    fault.happened = f"the second run goes on from there; {oracle.gap():.0f} s without a write at worst"


@pytest.mark.timeout(2400)
def test_a_primary_behind_a_parted_network_is_stopped_when_it_is_whole(
    cluster: Cluster, oracle: Oracle, fault: Fault
) -> None:
    """The primary is cut off and goes on, the standby is promoted, and the network is whole again."""
    old, new = cluster.db1, cluster.db2
    acknowledged = oracle.stop()
    with old.cut_from(new.address, cluster.backup1.address):
        run = promote(cluster, old, new, f"--limit={new.name}", promote_unplanned=True)
        assert run.returncode == 0, run.stdout
        assert who_writes(cluster) == (True, True), "nobody can tell the old primary yet"
    # Cron does it within a minute; here it is done now.
    old.run(f"{SCRIPTS}/dbjob guard")
    assert eventually(lambda: not old.answers(), 60)
    assert f"{new.name} takes writes for this cluster" in old.do("cat /var/log/mltrading-db/guard.log")
    assert old.run(f"systemctl reset-failed {cluster.unit}; systemctl start {cluster.unit}").returncode != 0
    fault.accounts_for(acknowledged, cluster.rows(new))
    rejoin = play(cluster, "promote_replica.yml", new, promote_rejoin=old.name, promote_confirm=old.name)
    assert rejoin.returncode == 0, rejoin.stdout
    assert eventually(lambda: acknowledged <= cluster.rows(old))
    back = promote(cluster, new, old)
    assert back.returncode == 0, back.stdout
    site = cluster.play("site.yml")
    assert site.returncode == 0, site.stdout
    old.do(f"rm -rf {cluster.data}.before-*")
    fault.happened = "the old primary is stopped and stays down until it is made a standby; what it took alone is aside"


@pytest.mark.core
@pytest.mark.timeout(2400)
def test_a_change_of_the_primary_there_and_back_loses_no_row(cluster: Cluster, oracle: Oracle, fault: Fault) -> None:
    """The standby is promoted by plan, and the old primary again, under load."""
    for old, new in ((cluster.db1, cluster.db2), (cluster.db2, cluster.db1)):
        run = promote(cluster, old, new)
        assert run.returncode == 0, run.stdout
        assert (old.writes(), new.writes()) == (False, True)
        oracle.writes_on()
    acknowledged = oracle.stop()
    fault.accounts_for(acknowledged, cluster.rows())
    assert eventually(lambda: acknowledged <= cluster.rows(cluster.db2))
    fault.happened = f"{oracle.gap():.1f} s without a write at worst; both have every row"
