"""Where a restore in place is refused for what the servers say: Ansible itself, on hosts that are stand-ins."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PORTS = {"db1": 1, "db2": 2}
# What a server answers is in a file of its port's name; without one it does not answer.
RUNUSER = '#!/bin/sh\nport=$(echo "$*" | sed "s/.*--port=\\([0-9]*\\).*/\\1/")\nexec cat {folder}/$port\n'

Restore = Callable[..., str]


@pytest.fixture
def refusal(tmp_path: Path) -> Restore:
    """Runs the playbook's prediction, which must be refused; returns what it said."""

    def run(answers: dict[str, str], *words: str, playbook: str = "restore_backup.yml", **variables: str) -> str:
        (tmp_path / "runuser").write_text(RUNUSER.format(folder=tmp_path))
        (tmp_path / "runuser").chmod(0o755)
        for host, answer in answers.items():
            (tmp_path / str(PORTS[host])).write_text(answer)
        local = {"ansible_connection": "local", "ansible_become": False, "postgresql_primary": "db1"}
        hosts = {host: local | {"pgbackrest_cluster_port": port} for host, port in PORTS.items()}
        inventory = tmp_path / "inventory.json"
        inventory.write_text(json.dumps({"postgresql": {"hosts": hosts}}))
        done = subprocess.run(
            [
                *("ansible-playbook", "-i", str(inventory), "--check", "-e", json.dumps(variables), *words),
                str(PROJECT / "playbooks" / playbook),
            ],
            env=os.environ
            | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != 0
        assert done.stdout.count("PLAY [") == 1
        return " ".join(done.stdout.split())

    return run


LATEST = {"restore_target": "latest"}
SECOND = [
    pytest.param({"db1": "follows", "db2": "writes"}, id="which-follows"),
    pytest.param({"db2": "writes"}, id="which-is-down"),
    pytest.param({"db1": "writes", "db2": "writes"}, id="which-takes-writes-too"),
]


@pytest.mark.parametrize("answers", SECOND)
def test_a_server_is_not_restored_beside_another_primary(refusal: Restore, answers: dict[str, str]) -> None:
    assert "db2 takes writes for the cluster of db1" in refusal(answers, restore_confirm="db1", **LATEST)


def test_a_standby_is_not_restored_in_place(refusal: Restore) -> None:
    said = refusal({"db1": "writes", "db2": "follows"}, restore_host="db2", restore_confirm="db2", **LATEST)
    assert "it is the primary that is restored (db1)" in said


CUT_OFF = [
    pytest.param("restore_backup.yml", "restore_target_time=2026-01-31 14:05:00+00", id="a-time"),
    pytest.param("restore_backup.yml", "restore_target_name=before the migration", id="a-name"),
    pytest.param("rebuild_host.yml", "rebuild_expected_end=2026-01-31 14:05:00+00", id="an-expected-end"),
]


@pytest.mark.parametrize(("playbook", "word"), CUT_OFF)
def test_a_value_that_was_cut_off_at_its_first_space_is_refused(refusal: Restore, playbook: str, word: str) -> None:
    confirmed = {"restore_confirm": "db1", "rebuild_host": "db1", "rebuild_confirm": "db1"}
    said = refusal({"db1": "writes"}, "-e", word, playbook=playbook, **confirmed)
    assert "2026-01-31T14:05:00+00" in said
    assert "at its first" in said
