"""Dumps that are killed or damaged: none of them counts, and the last good ones stay. The standby's job makes them."""

import pytest
from harness import DATABASE, SCRIPTS, Cluster, flip, said
from oracle import Oracle
from table import Fault

FOLDER = "/var/backups/mltrading-db"


def dumps(cluster: Cluster) -> list[str]:
    """The finished ones."""
    names = cluster.db2.do(f"ls {FOLDER}").split()
    return sorted(name for name in names if name.endswith("Z"))


def dump(cluster: Cluster) -> str:
    """Make one; its name."""
    made = cluster.db2.run(f"{SCRIPTS}/dbjob dump")
    assert made.returncode == 0, said(made)
    return dumps(cluster)[-1]


def restored(cluster: Cluster, **which: str) -> tuple[str, set[int]]:
    """What the playbook said of a restore into a new database, and the oracle's rows there."""
    cluster.db1.sql("DROP DATABASE IF EXISTS from_dump")
    run = cluster.play("restore_dump.yml", restore_dump_database="from_dump", **which)
    assert run.returncode == 0, said(run)
    try:
        return said(run), {int(row) for row in cluster.db1.sql("SELECT number FROM oracle", "from_dump").split()}
    finally:
        cluster.db1.sql("DROP DATABASE from_dump")


def test_a_dump_that_is_killed_counts_for_nothing(cluster: Cluster, oracle: Oracle, fault: Fault) -> None:
    """A dump is killed half-way (SIGKILL), under load."""
    before = dumps(cluster)
    job = cluster.db2.background(f"{SCRIPTS}/dbjob dump")
    begun = f"ls {FOLDER}/{DATABASE}-*.partial/full.dump >/dev/null 2>&1"
    killed = cluster.db2.run(
        f"until {begun}; do sleep 0.01; done; pkill --signal KILL --full '[d]bjob dump|[d]ump_database|[p]g_dump '"
    )
    assert killed.returncode == 0, said(killed)
    job.wait()
    assert dumps(cluster) == before
    assert "interrupted" in cluster.db2.do(f"{SCRIPTS}/dbjob --status | grep '^dump '")
    acknowledged = oracle.stop()
    cluster.is_whole()
    name = dump(cluster)
    assert cluster.db2.run(f"ls -d {FOLDER}/*.partial").returncode != 0
    text, found = restored(cluster)
    assert name in text
    fault.exactly(acknowledged, found)
    fault.happened = "it never gets a name and its job says `interrupted`; the next run removes it and makes a good one"


@pytest.mark.parametrize("file", ["full.dump", "globals.sql", "manifest.json"])
def test_a_damaged_dump_is_passed_over(cluster: Cluster, oracle: Oracle, fault: Fault, file: str) -> None:
    """A bit is flipped in {file} of the newest dump."""
    oracle.writes_on()
    acknowledged = oracle.stop()
    cluster.is_whole()
    older = dump(cluster)
    newest = dump(cluster)
    assert newest > older
    flip(cluster.db2, f"{FOLDER}/{newest}/{file}")
    named = cluster.play("restore_dump.yml", restore_dump_database="from_dump", restore_dump_name=newest)
    assert named.returncode != 0
    assert "is not what was written" in said(named) or "cannot be read" in said(named)
    text, found = restored(cluster)
    assert older in text
    fault.exactly(acknowledged, found)
    cluster.db2.do(f"rm -r {FOLDER}/{newest}")
    fault.happened = (
        "asked for by name it is refused with the file's; `latest` takes the one before, which has its rows"
    )
