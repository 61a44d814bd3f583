"""A newer release of PostgreSQL: held back from apt, said by each run, and brought in server by server."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conftest import NAME, RELEASE, on, sql
from controller import Controller

pytestmark = pytest.mark.timeout(3600)

SERVERS = ("db1.trading.test", "db2", "db3")
MAJOR = {"bookworm": "15", "trixie": "17"}[RELEASE]
NEWER = (Path(__file__).parents[1] / "newer_release.sh").read_text()


def play(controller: Controller, playbook: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook on the environment, as the docs do."""
    return subprocess.run(
        ["ansible-playbook", "--inventory", f"inventories/{NAME}", f"playbooks/{playbook}", *arguments],
        cwd=controller.checkout, env=controller.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def newer() -> str:
    """The release that apt offers on each server."""
    offered = [on(host, f"bash -s {MAJOR}", NEWER) for host in SERVERS]
    assert [done.returncode for done in offered] == [0, 0, 0], offered
    return offered[0].stdout.split()[-1]


def test_apt_leaves_it_to_the_play_and_a_run_says_so(anna: Controller, newer: str) -> None:
    for host in SERVERS:
        assert "0 upgraded" in on(host, "apt-get --simulate upgrade").stdout
    done = play(anna, "postgresql.yml", "--check")
    assert done.returncode == 0, done.stdout
    said = " ".join(done.stdout.split())
    assert all(f"{host} has postgresql-{MAJOR}" in said for host in SERVERS)
    assert f"and {newer} waits: playbooks/upgrade_minor.yml" in said


def test_the_standbys_are_upgraded_before_the_primary(anna: Controller, newer: str) -> None:
    done = play(anna, "upgrade_minor.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [newer in sql(host, "SHOW server_version") for host in SERVERS] == [True, True, True]
    started = [float(sql(host, "SELECT extract(EPOCH FROM pg_postmaster_start_time())")) for host in SERVERS]
    assert max(started[1:]) < started[0]
    streaming = sql(SERVERS[0], "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
    assert streaming == "2"


def test_another_run_changes_nothing_and_apt_is_still_held(anna: Controller, newer: str) -> None:
    done = play(anna, "upgrade_minor.yml")
    assert (done.returncode, "changed: [" in done.stdout) == (0, False)
    held = [on(host, "apt-mark showhold").stdout.split() for host in SERVERS]
    assert held == [[f"postgresql-{MAJOR}"]] * 3
    assert newer in sql(SERVERS[0], "SHOW server_version")
