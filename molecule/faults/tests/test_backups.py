"""Backups that are killed, doubled, misconfigured, or fail for a month: what is kept can be restored at any time."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from harness import REPOSITORY, SCRIPTS, Cluster, said
from oracle import Oracle
from table import Fault

CONFIGURATION = "/etc/pgbackrest/pgbackrest.conf"


@pytest.mark.core
def test_a_backup_that_is_killed_counts_for_nothing(cluster: Cluster, oracle: Oracle, fault: Fault) -> None:
    """A backup is killed half-way (SIGKILL), under load."""
    labels = cluster.labels()
    job = cluster.backup1.background(f"{SCRIPTS}/dbjob backup_full")
    # It copies into a folder that is there from its beginning, and knows it for a backup only when it is done.
    copying = f"find {REPOSITORY}/backup/mltrading/*/pg_data -type f -newer /run/faults-began 2>/dev/null | grep -q ."
    cluster.backup1.do("touch /run/faults-began")
    killed = cluster.backup1.run(
        f"until {copying}; do sleep 0.02; done;"
        " pkill --signal KILL --full '[d]bjob backup_full|[t]ake_backup|[p]gbackrest --.*backup'"
    )
    assert killed.returncode == 0, said(killed)
    job.wait()
    assert cluster.labels() == labels
    status = cluster.backup1.do(f"{SCRIPTS}/dbjob --status")
    assert "interrupted" in status
    acknowledged_then = set(oracle.acknowledged)
    cluster.archive()
    assert cluster.restored(kind="latest") >= acknowledged_then
    again = cluster.backup("full")
    assert again.returncode == 0, said(again)
    assert len(cluster.labels()) == len(labels) + 1
    acknowledged = oracle.stop()
    cluster.archive()
    fault.accounts_for(acknowledged, cluster.restored(kind="latest"))
    fault.happened = (
        "it is no backup and its job says `interrupted`; `latest` is restored without it; the next one is taken"
    )


@pytest.fixture
def slow_start(cluster: Cluster) -> Iterator[None]:
    """A machine so busy that a job begins long after it was started."""
    script = f"{SCRIPTS}/dbjob"
    cluster.backup1.do(
        f"mv {script} {script}.kept && cat > {script} && chmod 755 {script}",
        f'#!/bin/sh\nsleep 20\nexec {script}.kept "$@"\n',
    )
    yield
    cluster.backup1.do(f"mv {script}.kept {script}")


@pytest.mark.usefixtures("slow_start")
def test_a_backup_that_begins_late_is_waited_for(cluster: Cluster, oracle: Oracle, fault: Fault) -> None:
    """A backup is asked for on a busy host, and begins 20 seconds later."""
    labels = cluster.labels()
    run = cluster.play("take_backup.yml")
    assert run.returncode == 0, said(run)
    assert "is taken and checked" in said(run)
    assert len(cluster.labels()) == len(labels) + 1
    acknowledged = oracle.stop()
    cluster.archive()
    fault.accounts_for(acknowledged, cluster.restored(kind="latest"))
    fault.happened = "the playbook waits for it and says what came of it"


def test_of_two_backups_at_once_one_is_taken(cluster: Cluster, oracle: Oracle, fault: Fault) -> None:
    """Two backups are begun at once, under load."""
    labels = cluster.labels()
    both = (
        f"{SCRIPTS}/dbjob backup_diff & sleep 0.3; {SCRIPTS}/dbjob backup_full; second=$?;"
        " wait $! && first=0 || first=$?; echo $first $second"
    )
    codes = cluster.backup1.run(both).stdout.splitlines()[-1].split()
    assert sorted(codes) == ["0", "75"]
    assert len(cluster.labels()) == len(labels) + 1
    acknowledged = oracle.stop()
    cluster.archive()
    fault.accounts_for(acknowledged, cluster.restored(kind="latest"))
    fault.happened = "one is taken and checked, the other ends with 75 and says who runs"


@pytest.fixture
def another_passphrase(cluster: Cluster) -> Iterator[None]:
    """A configuration with another passphrase than the repository's."""
    change = (
        f"cp --preserve {CONFIGURATION} /var/tmp/kept && sed -i 's/^repo1-cipher-pass=.*/&-and-more/' {CONFIGURATION}"
    )
    cluster.backup1.do(f"{change} && systemctl restart pgbackrest")
    yield
    cluster.backup1.do(f"mv /var/tmp/kept {CONFIGURATION} && systemctl restart pgbackrest")


def test_a_wrong_passphrase_changes_nothing(
    cluster: Cluster, oracle: Oracle, fault: Fault, request: pytest.FixtureRequest
) -> None:
    """The repository host is given a wrong passphrase, under load."""
    sums = f"bash -c \"cd {REPOSITORY} && find . -name '*.info' | sort | xargs sha256sum\""
    before = cluster.repository(sums).stdout
    request.getfixturevalue("another_passphrase")
    play = cluster.play("pgbackrest.yml")
    backup = cluster.backup("diff")
    restore = cluster.restore("plan", kind="latest")
    assert play.returncode != 0
    assert "cannot be read" in said(play)
    assert backup.returncode == 1
    assert restore.returncode != 0, restore.stdout
    assert cluster.repository(sums).stdout == before
    oracle.writes_on()
    # As a person would: the right one is in the inventory.
    repaired = cluster.play("backup_repository.yml")
    assert repaired.returncode == 0, repaired.stdout
    cluster.backup1.do("systemctl restart pgbackrest")
    acknowledged = oracle.stop()
    cluster.archive()
    fault.accounts_for(acknowledged, cluster.restored(kind="latest"))
    fault.happened = "play, backup and restore refuse and name it; WAL waits; the site with the right one repairs it"


DAYS = 30


@pytest.fixture
def repository_of_its_own(cluster: Cluster) -> Iterator[str]:
    """A copy of the repository, whose clock may be wrong: a backup of the future would forbid those of the present."""
    copy = f"{REPOSITORY}-days"
    installed = cluster.backup1.run("command -v faketime || (apt-get update -qq && apt-get install -qqy faketime)")
    assert installed.returncode == 0, said(installed)
    cluster.backup1.do(f"rm -rf {copy} && cp --archive {REPOSITORY} {copy}")
    yield copy
    cluster.backup1.do(f"rm -rf {copy}")


@contextmanager
def in_place_of_the_repository(cluster: Cluster, copy: str) -> Iterator[None]:
    """The copy takes the repository's place, and no WAL, which is the repository's."""
    cluster.db1.sql("ALTER SYSTEM SET archive_command = 'false'")
    cluster.db1.sql("SELECT pg_reload_conf(), pg_sleep(3)")
    aside = f"{REPOSITORY}.aside"
    cluster.backup1.do(f"mv {REPOSITORY} {aside} && mv {copy} {REPOSITORY}")
    try:
        yield
    finally:
        cluster.backup1.do(f"mv {REPOSITORY} {copy} && mv {aside} {REPOSITORY}")
        cluster.db1.sql("ALTER SYSTEM RESET archive_command")
        cluster.db1.sql("SELECT pg_reload_conf()")


@pytest.mark.timeout(1800)
def test_backups_that_fail_for_a_month_leave_one_to_restore(
    cluster: Cluster, oracle: Oracle, fault: Fault, request: pytest.FixtureRequest
) -> None:
    """Every backup fails for 30 simulated days, and what is too old is expired on each."""
    taken = cluster.backup("full")
    assert taken.returncode == 0, said(taken)
    acknowledged = oracle.stop()
    cluster.archive()
    copy = request.getfixturevalue("repository_of_its_own")
    ask = f"env PGBACKREST_REPO1_PATH={copy} pgbackrest --stanza=mltrading"
    labels = cluster.labels()
    # The backups fail as their server answers nobody; each day's is the program that cron runs.
    take = f"ARCHIVE_AGE_LIMIT=300 PGBACKREST_PG1_PORT=1 PGBACKREST_PG2_PORT=1 PGBACKREST_REPO1_PATH={copy}"
    for day in range(1, DAYS + 1):
        faked = f"faketime -f +{day}d"
        failed = cluster.repository(f"env {take} {faked} {SCRIPTS}/take_backup {'full' if day % 7 == 0 else 'diff'}")
        assert failed.returncode == 1, said(failed)
        expired = cluster.repository(f"env PGBACKREST_REPO1_PATH={copy} {faked} pgbackrest --stanza=mltrading expire")
        assert expired.returncode == 0, said(expired)
    left = [
        backup["label"] for backup in json.loads(cluster.repository(f"{ask} --output=json info").stdout)[0]["backup"]
    ]
    assert left
    assert left[-1] == labels[-1]
    with in_place_of_the_repository(cluster, copy):
        fault.accounts_for(acknowledged, cluster.restored(kind="latest"))
    fault.happened = (
        f"of {len(labels)} backups {len(left)} are left, with their WAL; the newest is restored with all rows"
    )
