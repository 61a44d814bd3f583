"""A host that was destroyed comes back from the inventory and the repository alone, and is what it was."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import Query, archive_all, check_follows
from harness import EPHEMERAL, PROJECT, REPOSITORY, SCRIPTS, play_environment, said
from testinfra.backend.base import CommandResult
from testinfra.host import Host

Play = Callable[..., subprocess.CompletedProcess[str]]
Restore = Callable[..., CommandResult]

# A blank host takes minutes to provision, longer on a machine that is busy.
pytestmark = pytest.mark.timeout(2400)

# Written each minute, and as a job checks something.
BUSY = "--without=postgres.backup.heartbeat"


def destroy(name: str) -> None:
    """Destroy a host with all that is on it, and put a blank one in its place."""
    subprocess.run(["docker", "rm", "--force", "--volumes", name], check=True, capture_output=True)
    subprocess.run(
        [
            "ansible-playbook",
            "-i",
            "localhost,",
            "-e",
            f"@{EPHEMERAL / 'platforms.json'}",
            "molecule/shared/create.yml",
        ],
        env=play_environment(),
        cwd=PROJECT,
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module", autouse=True)
def platforms() -> None:
    """The scenario's hosts as molecule/shared/create.yml wants them, each of the image that it runs now."""
    names = ["bk-db1", "bk-db2", "bk-backup1"]
    image = subprocess.run(
        ["docker", "inspect", "--format", "{{.Config.Image}}", "bk-backup1"], check=True, capture_output=True, text=True
    ).stdout.strip()
    found = [{"name": name, "image": image, "networks": [{"name": "mltrading-backup"}]} for name in names]
    (EPHEMERAL / "platforms.json").write_text(
        json.dumps({"molecule_yml": {"platforms": found}, "ansible_python_interpreter": sys.executable})
    )


def address(host: Host) -> str:
    """The host's address, which a new container may have another of."""
    return str(host.check_output("hostname --ip-address")).split()[0]


@dataclass(frozen=True)
class Before:
    """A host before it was destroyed: its description, and its address."""

    text: str
    address: str


def describe(host: Host) -> Before:
    """What is there; where it says its own address, as the word ADDRESS."""
    text = host.check_output(f"cd / && runuser -u postgres -- {SCRIPTS}/describe_cluster {BUSY}")
    assert "mltrading: rows" in text
    return Before(text.replace(address(host), "ADDRESS"), address(host))


def check_equal(host: Host, before: Before) -> None:
    """Whether the host is what it was; raises AssertionError with what is not."""
    (EPHEMERAL / "before.json").write_text(before.text.replace("ADDRESS", address(host)))
    name = host.backend.name
    subprocess.run(["docker", "cp", EPHEMERAL / "before.json", f"{name}:/var/lib/postgresql/before.json"], check=True)
    host.check_output("chown postgres: /var/lib/postgresql/before.json")
    run = host.run(
        f"cd / && runuser -u postgres -- {SCRIPTS}/describe_cluster {BUSY} --compare /var/lib/postgresql/before.json"
    )
    assert (run.rc, run.stdout) == (0, "equal\n"), run.stderr


def changes(run: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """How much a run changed on each host, as its recap says."""
    recap = re.findall(r"^(\S+) +: ok=.* changed=(\d+)", run.stdout, re.MULTILINE)
    assert recap, run.stdout
    return {host: int(changed) for host, changed in recap}


def check_nothing_to_do(play: Play) -> None:
    """Whether the site finds everything as declared; raises AssertionError."""
    run = play("site.yml")
    assert run.returncode == 0, said(run)
    assert changes(run) == {"bk-db1": 0, "bk-db2": 0, "bk-backup1": 0}, run.stdout


UNCLEAR = [
    pytest.param({}, "Name the host that is to come back", id="no-host"),
    pytest.param(
        {"rebuild_host": "bk-db9", "rebuild_confirm": "bk-db9"}, "one of bk-db1, bk-db2, bk-backup1", id="unknown"
    ),
    pytest.param({"rebuild_host": "bk-db2"}, "rebuild_confirm=''", id="not-confirmed"),
    pytest.param(
        {"rebuild_host": "bk-db2", "rebuild_confirm": "bk-db1"}, "rebuild_confirm='bk-db1'", id="another-host"
    ),
]
NOT_BLANK = [
    pytest.param("bk-db1", "the data in /var/lib/postgresql/1", id="primary"),
    pytest.param("bk-db2", "the data in /var/lib/postgresql/1", id="standby"),
    pytest.param("bk-backup1", "the repository in /var/lib/pgbackrest/archive/mltrading", id="repository"),
]


@pytest.mark.parametrize(("variables", "reason"), UNCLEAR)
def test_what_is_not_said_clearly_is_refused(play: Play, variables: dict[str, Any], reason: str) -> None:
    run = play("rebuild_host.yml", **variables)
    assert run.returncode != 0
    assert reason in said(run)
    assert not any(changes(run).values())


@pytest.mark.parametrize(("host", "reason"), NOT_BLANK)
def test_a_host_that_is_not_blank_is_refused(play: Play, host: str, reason: str) -> None:
    run = play("rebuild_host.yml", rebuild_host=host, rebuild_confirm=host)
    assert run.returncode != 0
    assert f"{host} is not rebuilt: it is not blank" in said(run)
    assert reason in said(run)
    assert not any(changes(run).values())


def test_a_destroyed_standby_is_copied_again(play: Play, standby: Host, query: Query) -> None:
    before = describe(standby)
    destroy("bk-db2")
    # As though it were the inventory's primary: what takes writes must not be thrown away for a restore.
    wrong = play("rebuild_host.yml", rebuild_host="bk-db2", rebuild_confirm="bk-db2", postgresql_primary="bk-db2")
    assert "bk-db1 takes writes for this cluster" in said(wrong)
    assert not any(changes(wrong).values())
    run = play("rebuild_host.yml", rebuild_host="bk-db2", rebuild_confirm="bk-db2")
    assert run.returncode == 0, said(run)
    check_follows(standby, query)
    check_equal(standby, before)
    check_nothing_to_do(play)


def kill_play(playbook: str, line: str, **variables: Any) -> None:
    """Run a play and kill it when it says a line that begins so."""
    command = ["ansible-playbook", "-i", str(EPHEMERAL / "inventory"), "-e", json.dumps(variables)]
    process = subprocess.Popen(
        [*command, str(PROJECT / "playbooks" / playbook)],
        env=play_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    assert next((text for text in process.stdout if text.startswith(line)), ""), f"{playbook} never said {line}"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# Before there is a cluster, and while it is copied.
MOMENTS = [
    "TASK [postgresql : Install | Make the cluster]",
    "TASK [postgresql_replica : Clone | Copy the primary's data, and put it in place]",
]


@pytest.mark.parametrize("moment", MOMENTS, ids=["as-the-cluster-is-made", "as-the-data-is-copied"])
def test_a_rebuild_that_is_killed_is_run_again(play: Play, standby: Host, query: Query, moment: str) -> None:
    before = describe(standby)
    destroy("bk-db2")
    kill_play("rebuild_host.yml", moment, rebuild_host="bk-db2", rebuild_confirm="bk-db2")
    run = play("rebuild_host.yml", rebuild_host="bk-db2", rebuild_confirm="bk-db2")
    assert run.returncode == 0, said(run)
    check_follows(standby, query)
    check_equal(standby, before)


@dataclass(frozen=True)
class Lost:
    """What the primary was when it was destroyed, and the blank host in its place."""

    before: Before
    rows: str


@pytest.fixture(scope="module")
def lost_primary(database: Host, query: Query) -> Lost:
    """The primary, destroyed and blank; all that it wrote was archived."""
    database.check_output("systemctl stop cron")
    query("DROP TABLE IF EXISTS survivors; CREATE TABLE survivors AS SELECT n FROM generate_series(1, 1000) AS n")
    before = describe(database)
    archive_all(query)
    destroy("bk-db1")
    return Lost(before, "1000|1000")


REBUILD = {"rebuild_host": "bk-db1", "rebuild_confirm": "bk-db1"}


def test_a_standby_that_is_alive_is_to_be_promoted_instead(lost_primary: Lost, play: Play) -> None:
    run = play("rebuild_host.yml", **REBUILD)
    assert run.returncode != 0, lost_primary
    assert "bk-db2 is a standby of this cluster, and has all until " in said(run)
    assert "-e promote_to=bk-db2 -e promote_confirm=bk-db2 -e promote_unplanned=true" in said(run)
    assert "rebuild_despite_standby=true" in said(run)
    assert not any(changes(run).values())


@pytest.mark.usefixtures("lost_primary")
def test_nothing_is_made_of_a_primary_that_is_not_there(play: Play, standby: Host) -> None:
    standby.check_output("mv /var/lib/postgresql/1?/main/postmaster.opts /var/tmp/")
    run = play("rebuild_host.yml", rebuild_host="bk-db2", rebuild_confirm="bk-db2")
    standby.check_output("mv /var/tmp/postmaster.opts /var/lib/postgresql/1?/main/")
    assert run.returncode != 0
    assert "its primary bk-db1 does not take writes" in said(run)
    assert not any(changes(run).values())


@pytest.fixture
def unreachable_standby() -> Iterator[None]:
    """A standby that cannot be asked."""
    subprocess.run(["docker", "pause", "bk-db2"], check=True, capture_output=True)
    yield
    subprocess.run(["docker", "unpause", "bk-db2"], check=True, capture_output=True)


@pytest.mark.usefixtures("lost_primary", "unreachable_standby")
def test_a_standby_that_cannot_be_asked_is_not_taken_for_gone(play: Play) -> None:
    run = play("rebuild_host.yml", rebuild_despite_standby=True, **REBUILD)
    assert run.returncode != 0
    assert "bk-db2 does not answer, so that nobody knows whether it takes writes" in said(run)
    assert not any(changes(run).values())


@pytest.mark.usefixtures("lost_primary")
def test_a_repository_without_a_backup_is_refused(play: Play, repository: Host) -> None:
    repository.check_output(f"mv {REPOSITORY} {REPOSITORY}.kept && install -d -o pgbackrest -m 750 {REPOSITORY}")
    run = play("rebuild_host.yml", rebuild_despite_standby=True, **REBUILD)
    repository.check_output(f"rm -r {REPOSITORY} && mv {REPOSITORY}.kept {REPOSITORY}")
    assert run.returncode != 0
    assert "bk-backup1 has no backup of stanza 'mltrading'" in said(run)
    assert not any(changes(run).values())


def test_an_end_that_the_archive_does_not_reach_is_refused_before_anything_is_restored(
    lost_primary: Lost, play: Play, database: Host
) -> None:
    run = play("rebuild_host.yml", rebuild_despite_standby=True, rebuild_expected_end="FF/0", **REBUILD)
    assert run.returncode != 0, lost_primary
    assert "before the expected end FF/0" in said(run)
    assert database.run("ls -d /var/lib/postgresql/1?/main.before-restore-*").rc != 0


def test_a_destroyed_primary_comes_back_from_the_repository_and_its_standby_follows(
    lost_primary: Lost, play: Play, database: Host, standby: Host, query: Query
) -> None:
    run = play("rebuild_host.yml", rebuild_despite_standby=True, **REBUILD)
    assert run.returncode == 0, said(run)
    assert "recovery_point:" in said(run)
    assert query("SELECT count(*), max(n) FROM survivors") == lost_primary.rows
    check_follows(standby, query)
    check_equal(database, lost_primary.before)
    # What the standby had is there still.
    assert standby.run("ls -d /var/lib/postgresql/1?/main.before-*").rc == 0
    check_nothing_to_do(play)
    query("DROP TABLE survivors")


def test_a_destroyed_repository_is_made_anew_and_says_that_older_backups_are_gone(
    play: Play, repository: Host, query: Query, restore: Restore
) -> None:
    destroy("bk-backup1")
    run = play("rebuild_host.yml", rebuild_host="bk-backup1", rebuild_confirm="bk-backup1")
    assert run.returncode == 0, said(run)
    assert "All older backups and the archived WAL are gone" in said(run)
    backups = repository.check_output("runuser -u pgbackrest -- pgbackrest info | grep -c ' backup: '")
    assert backups == "1"
    # The primary is on a later timeline than the first, whose history went with the old repository.
    assert int(query("SELECT timeline_id FROM pg_control_checkpoint()")) > 1
    archive_all(query)
    plan = restore("plan", kind="latest")
    assert plan.rc == 0, plan.stderr
    check_nothing_to_do(play)
    run_drill = repository.run(f"{SCRIPTS}/dbjob drill_restore")
    assert run_drill.rc == 0, run_drill.stdout
