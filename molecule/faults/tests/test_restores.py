"""Restores: exactly the oracle's rows for every kind of target, and a reason for each that cannot be reached."""

import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from harness import CLONE, DATABASE, REPOSITORY, SCRIPTS, SEED, Cluster, eventually, said
from oracle import Oracle
from table import Fault

KINDS = ("time", "lsn", "name", "xid")
# Random targets of each kind; ten take about twenty minutes a release. One of each is in the core.
TARGETS = int(os.environ.get("FAULTS_TARGETS", "10"))
NUMBERS = [pytest.param(1, marks=pytest.mark.core), *range(2, TARGETS + 1)]
MARKS = 24


@dataclass(frozen=True)
class Mark:
    """A moment between two rows: its time, position, name and last transaction, and the rows until then."""

    time: str
    lsn: str
    name: str
    xid: str
    rows: frozenset[int]


@dataclass(frozen=True)
class Past:
    """What the oracle wrote, and the moments that it knows."""

    marks: tuple[Mark, ...]
    acknowledged: set[int]


def mark(cluster: Cluster, oracle: Oracle) -> Mark:
    """A moment at which no writer is at work."""
    with oracle.paused():
        number = next(oracle.numbers)
        insert = f"INSERT INTO oracle VALUES ({number})"  # noqa: S608  # a number of ours
        xid = cluster.db1.sql(f"BEGIN; {insert}; SELECT pg_current_xact_id(); COMMIT", DATABASE)
        oracle.note(number)
        name = f"after {number}"
        lsn = cluster.db1.sql(f"SELECT pg_create_restore_point('{name}')")
        return Mark(cluster.db1.sql("SELECT clock_timestamp()"), lsn, name, xid, frozenset(oracle.acknowledged))


@pytest.fixture(scope="module")
def pasts() -> dict[str, Past]:
    """Where the past is kept for the tests of this file."""
    return {}


@pytest.fixture
def past(pasts: dict[str, Past], cluster: Cluster, request: pytest.FixtureRequest) -> Past:
    """Written once, over two backups, for all tests of this file that change nothing."""
    if not pasts:
        oracle: Oracle = request.getfixturevalue("oracle")
        marks = []
        for number in range(MARKS):
            oracle.writes_on(5)
            marks.append(mark(cluster, oracle))
            if number == MARKS // 2:
                taken = cluster.backup("diff")
                assert taken.returncode == 0, said(taken)
        oracle.writes_on(20)
        acknowledged = oracle.stop()
        cluster.archive()
        pasts["all"] = Past(tuple(marks), acknowledged)
    return pasts["all"]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_restore_has_exactly_the_rows_of_its_target(
    cluster: Cluster, past: Past, fault: Fault, kind: str, number: int
) -> None:
    """A restore to a random {kind}, number {number}."""
    chosen = random.Random(f"{SEED} {kind} {number}").choice(past.marks)  # noqa: S311
    print(f"FAULTS_SEED={SEED}, {kind} {number}: {chosen.name}, {getattr(chosen, kind)}")  # noqa: T201
    fault.exactly(set(chosen.rows), cluster.restored(kind=kind, value=getattr(chosen, kind)))
    fault.happened = f"it has the rows until then, and none of the {len(past.acknowledged - chosen.rows):,} later ones"


@pytest.mark.core
def test_a_restore_to_latest_has_every_row(cluster: Cluster, past: Past, fault: Fault) -> None:
    """A restore to latest."""
    fault.exactly(past.acknowledged, cluster.restored(kind="latest"))
    fault.happened = "it has every row"


@pytest.mark.core
def test_a_missing_segment_is_never_taken_for_the_end(cluster: Cluster, past: Past, fault: Fault) -> None:
    """A WAL segment is missing, and somebody wants all rows."""
    segment = cluster.archive()
    cluster.archive()
    path = cluster.repository(f"find {REPOSITORY}/archive -name '{segment}-*'").stdout.strip()
    cluster.backup1.do(f"mv {path} /var/tmp/kept")
    try:
        refused = cluster.restore("run", kind="latest", directory=CLONE, port=5499)
        found = cluster.restored(kind="name", value=past.marks[-1].name)
    finally:
        cluster.backup1.do(f"mv /var/tmp/kept {path}")
    assert (refused.returncode, f"WAL segment {segment} is missing" in refused.stderr) == (3, True), said(refused)
    fault.exactly(set(past.marks[-1].rows), found)
    fault.happened = "refused, with the segment's name; a target before it has exactly its rows"


@dataclass(frozen=True)
class Refused:
    """A target that cannot be reached, and what is said of it."""

    kind: str
    value: str
    reason: str

    def __str__(self) -> str:
        """As the table names it."""
        return f"{self.kind} {self.value}"


REFUSED = [
    Refused("time", "2000-01-01 00:00:00+00", "before the end of the oldest backup"),
    Refused("time", "2200-01-01 00:00:00+00", "not before the last commit that can be recovered to"),
    Refused("time", "2026-01-01 12:00:00", "needs a date, a time and an offset"),
    Refused("lsn", "0/28", "before the end of the oldest backup"),
    Refused("lsn", "FFFF/0", "after the last record that can be recovered to"),
    Refused("name", "nonesuch", "is not in the archive behind any backup"),
    Refused("xid", "4000000000", "is not in the archive behind any backup"),
]


@pytest.mark.parametrize("target", REFUSED, ids=str)
def test_a_target_out_of_range_is_refused(cluster: Cluster, past: Past, fault: Fault, target: Refused) -> None:
    """A restore to {target}."""
    started = cluster.db1.sql("SELECT pg_postmaster_start_time()")
    run = cluster.play(
        "restore_backup.yml", restore_confirm=cluster.db1.name, **{f"restore_target_{target.kind}": target.value}
    )
    assert run.returncode != 0
    assert target.reason in said(run)
    assert "Nothing was changed" in said(run)
    assert cluster.db1.sql("SELECT pg_postmaster_start_time()") == started
    fault.exactly(past.acknowledged, cluster.rows())
    fault.happened = f"refused: {target.reason}"


def test_a_running_server_is_not_restored_over(cluster: Cluster, past: Past, fault: Fault) -> None:
    """A restore over the running cluster."""
    run = cluster.restore("run", kind="name", value=past.marks[0].name)
    assert (run.returncode, "a server runs on" in run.stderr) == (3, True)
    fault.exactly(past.acknowledged, cluster.rows())
    fault.happened = "the program refuses and changes nothing; the playbook stops the server and keeps its directory"


def made_standby_again(cluster: Cluster) -> None:
    """The standby of a primary that was restored is copied anew, as the documentation says."""
    run = cluster.play("promote_replica.yml", promote_rejoin=cluster.db2.name, promote_confirm=cluster.db2.name)
    assert run.returncode == 0, run.stdout
    assert eventually(cluster.follows)


@pytest.fixture
def room(cluster: Cluster) -> Iterator[Callable[[], list[str]]]:
    """What was moved aside, which goes afterwards."""
    pattern = f"{cluster.data}.before-*"

    def aside() -> list[str]:
        return cluster.db1.run(f"ls -d {pattern} 2>/dev/null").stdout.split()

    yield aside
    for node in (cluster.db1, cluster.db2):
        node.do(f"rm -rf {pattern}")


# From here on the cluster itself is restored, further back each time.
KILLED_WHEN = {
    "copies": "ls {data}.before-restore-* {data}/base/1",
    "recovers": "grep -q recovering {data}.restore/state.json",
}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("stage", KILLED_WHEN)
def test_a_restore_that_is_killed_goes_on_when_it_is_run_again(
    cluster: Cluster, past: Past, fault: Fault, room: Callable[[], list[str]], stage: str
) -> None:
    """A restore is killed while it {stage}, and run again."""
    chosen = past.marks[-2 - list(KILLED_WHEN).index(stage)]
    before = len(room())
    cluster.db1.do(f"systemctl stop {cluster.unit}")
    target = json.dumps({"kind": "name", "value": chosen.name})
    begin = f"cd / && runuser -u postgres -- {SCRIPTS}/restore_backup run '{target}' >/dev/null 2>&1 &"
    moment = KILLED_WHEN[stage].format(data=cluster.data)
    kill = f"until {moment} >/dev/null 2>&1; do sleep 0.02; done; pkill --signal KILL --euid postgres"
    cluster.db1.do(f"{begin} {kill}")
    # It belongs to the same user, and systemd does not start what was killed with it.
    cluster.db1.do("systemctl restart pgbackrest")
    assert len(room()) == before + 1

    run = cluster.play("restore_backup.yml", restore_target_name=chosen.name, restore_confirm=cluster.db1.name)
    assert run.returncode == 0, said(run)
    assert len(room()) == before + 1
    fault.exactly(set(chosen.rows), cluster.rows())
    made_standby_again(cluster)
    fault.happened = "it goes on; what was there before is aside, once; the standby is copied anew"


@pytest.mark.timeout(1800)
def test_the_cluster_is_restored_to_a_time(
    cluster: Cluster, past: Past, fault: Fault, room: Callable[[], list[str]]
) -> None:
    """The primary itself is restored to a time by the playbook."""
    chosen = past.marks[MARKS // 2]
    run = cluster.play("restore_backup.yml", restore_target_time=chosen.time, restore_confirm=cluster.db1.name)
    assert run.returncode == 0, said(run)
    assert "recovery_point:" in said(run)
    fault.exactly(set(chosen.rows), cluster.rows())
    assert room()
    made_standby_again(cluster)
    assert cluster.rows(cluster.db2) == chosen.rows
    fault.happened = "exactly its rows, on a new timeline with a full backup; the standby is copied anew"


@pytest.mark.timeout(2400)
def test_a_restore_without_its_backup_is_given_one_by_the_site(
    cluster: Cluster, past: Past, fault: Fault, room: Callable[[], list[str]]
) -> None:
    """The restore is killed when the data is in place, before the backup of it is taken."""
    chosen = past.marks[MARKS // 2 - 1]
    target = {"restore_target_name": chosen.name, "restore_confirm": cluster.db1.name}
    code, text = cluster.killed_play("restore_backup.yml", "TASK [pgbackrest : Restore | Open the doors]", **target)
    assert code == -signal.SIGKILL, text
    assert room()
    # Ansible's worker ends the task that it has begun; where it did not, somebody starts the server.
    cluster.db1.do(f"systemctl start {cluster.unit}")
    assert eventually(cluster.db1.writes)
    made_standby_again(cluster)
    labels = cluster.labels()
    site = cluster.play("site.yml")
    assert site.returncode == 0, site.stdout
    assert len(cluster.labels()) == len(labels) + 1
    cluster.archive()
    fault.exactly(set(chosen.rows), cluster.restored(kind="latest"))
    fault.happened = "the site takes a full backup of the new timeline, and `latest` has exactly the rows"


@pytest.mark.timeout(3600)
def test_a_restore_that_is_killed_at_each_play_is_whole_in_the_end(
    cluster: Cluster, past: Past, fault: Fault, room: Callable[[], list[str]]
) -> None:
    """The playbook that restores is killed as each of its plays begins, and run again."""
    chosen = past.marks[MARKS // 2 - 2]
    target = {"restore_target_name": chosen.name, "restore_confirm": cluster.db1.name}
    boundary = 2
    while True:
        code, text = cluster.killed_play("restore_backup.yml", "PLAY [", count=boundary, **target)
        if code != -signal.SIGKILL:
            break
        boundary += 1
    assert code == 0, text
    assert room()
    fault.exactly(set(chosen.rows), cluster.rows())
    assert eventually(cluster.follows)
    assert cluster.rows(cluster.db2) == chosen.rows
    fault.happened = f"killed {boundary - 2} times; each run begins anew, and what was there before is always aside"
