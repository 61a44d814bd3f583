"""Plays that are killed at each boundary between two plays, and two at once. Runs first: it provisions the hosts."""

import signal
import subprocess

import pytest
from harness import DATABASE, Cluster, play_environment
from table import Fault


def changed(text: str) -> list[str]:
    """The lines that say so."""
    return [line for line in text.splitlines() if line.startswith("changed: [")]


@pytest.mark.timeout(3600)
def test_a_site_that_is_killed_at_each_play_is_whole_in_the_end(hosts: Cluster, fault: Fault) -> None:
    """The site is killed as each of its plays begins, on blank hosts, and run again."""
    boundary = 2
    while True:
        code, text = hosts.killed_play("site.yml", "PLAY [", count=boundary)
        if code != -signal.SIGKILL:
            break
        assert "fatal:" not in text, text
        boundary += 1
    assert code == 0, text
    again = hosts.play("site.yml")
    assert again.returncode == 0, again.stdout
    assert changed(again.stdout) == []
    hosts.is_whole()
    assert int(hosts.db1.sql("SELECT count(*) FROM feature_engineered_data", DATABASE)) > 0
    fault.happened = f"killed {boundary - 2} times; the run that was left alone ends well, and one more changes nothing"


@pytest.mark.timeout(1800)
def test_two_runs_at_once_leave_what_one_leaves(cluster: Cluster, fault: Fault) -> None:
    """The site is run twice at once, with a setting to change."""
    change = {"postgresql_settings": {"work_mem": "5MB"}}
    command = cluster.command("site.yml", **change)
    both = [
        subprocess.Popen(command, env=play_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert cluster.db1.sql("SHOW work_mem") == "5MB"
    again = cluster.play("site.yml", **change)
    assert again.returncode == 0, again.stdout
    assert changed(again.stdout) == []
    back = cluster.play("site.yml", "--tags", "postgresql")
    assert back.returncode == 0, back.stdout
    fault.happened = "both end well, and one more changes nothing"
