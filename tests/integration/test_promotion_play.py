"""What the tasks of a promotion do when one fails: Ansible itself, on two hosts whose programs are stand-ins."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
PLAY = [
    {
        "hosts": "all",
        "gather_facts": False,
        "any_errors_fatal": True,
        "tasks": [{"import_role": {"name": "postgresql_replica", "tasks_from": "promote"}}],
    }
]
WRITES = {"writes": True, "system": "7"}
PRIMARY = {"running": True, "follows": False, "receives": False}
STANDBY = {"running": True, "follows": True, "receives": True, "behind": 0}
STATES = {
    "db1": {"system": "7", "cluster_state": "in production", "server": PRIMARY, "primary": WRITES},
    "db2": {"system": "7", "cluster_state": "in archive recovery", "server": STANDBY, "primary": WRITES},
}
# Each writes down what it was asked for. The standby's script ends as it is told to.
SYSTEMCTL = '#!/bin/sh\necho "$1" >> {folder}/done\n'
CLUSTERS = """#!/bin/sh
echo '[{{"version": "15", "cluster": "main", "port": "5432", "pgdata": "{folder}/data", "running": 1}}]'
"""
SCRIPT = """#!/bin/sh
host=$1; shift
if [ "$1" = state ]; then exec cat {folder}/$host.json; fi
echo "$1" >> {folder}/done
if [ "$1" = retire ]; then touch {folder}/data/standby.signal; echo 0/3000028; exit {retire}; fi
exit {promote}
"""

Promote = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def promote(tmp_path: Path) -> Promote:
    """Runs the promotion of db2; returns the exit code, what was said, and what was done, in its order."""

    def run(retire: int = 0, promote: int = 0, states: dict[str, Any] | None = None) -> tuple[int, str, list[str]]:
        (tmp_path / "data").mkdir()
        (tmp_path / "done").touch()
        for host, state in (states or STATES).items():
            (tmp_path / f"{host}.json").write_text(json.dumps(state))
        for name, text in {"systemctl": SYSTEMCTL, "pg_lsclusters": CLUSTERS, "script": SCRIPT}.items():
            (tmp_path / name).write_text(text.format(folder=tmp_path, retire=retire, promote=promote))
            (tmp_path / name).chmod(0o755)
        (tmp_path / "play.json").write_text(json.dumps(PLAY))
        variables = {
            "ansible_connection": "local",
            "postgresql_replica_primary": "db1",
            "postgresql_replica_hosts": ["db1", "db2"],
            "postgresql_replica_password": "x" * 20,
            "postgresql_replica_target": "db2",
            "__postgresql_replica_psql": "true",
        }
        command = [str(tmp_path / "script"), "{{ inventory_hostname }}"]
        # As inventory variables are templates and those of the command line are not.
        extra = tmp_path / "extra.yml"
        extra.write_text(json.dumps(variables | {"__postgresql_replica_argv": command}))
        done = subprocess.run(
            ["ansible-playbook", "-i", "db1,db2,", "-e", f"@{extra}", str(tmp_path / "play.json")],
            env=os.environ
            | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, " ".join(done.stdout.split()), (tmp_path / "done").read_text().split()

    return run


def test_the_primary_is_stopped_before_the_standby_is_promoted(promote: Promote, tmp_path: Path) -> None:
    code, said, done = promote()
    assert code == 0, said
    assert done == ["stop", "retire", "promote"]
    assert (tmp_path / "data/standby.signal").exists()


def test_a_standby_that_says_it_is_one_leaves_the_primary_what_it_was(promote: Promote, tmp_path: Path) -> None:
    code, said, done = promote(promote=3)
    assert code != 0
    assert done == ["stop", "retire", "promote", "start"]
    assert not (tmp_path / "data/standby.signal").exists()
    assert "The primary runs again" in said


@pytest.mark.parametrize("ended", [1, 137])
def test_a_standby_whose_fate_is_unknown_keeps_the_primary_down(promote: Promote, tmp_path: Path, ended: int) -> None:
    code, said, done = promote(promote=ended)
    assert code != 0
    assert done == ["stop", "retire", "promote"]
    assert (tmp_path / "data/standby.signal").exists()
    assert "Nobody knows yet whether the standby is promoted" in said


def test_a_primary_that_cannot_be_retired_is_put_back_and_nobody_promoted(promote: Promote, tmp_path: Path) -> None:
    code, said, done = promote(retire=1)
    assert code != 0
    assert done == ["stop", "retire", "start"]
    assert not (tmp_path / "data/standby.signal").exists()
    assert "The primary runs again" in said


def test_a_standby_that_takes_writes_already_is_left_alone(promote: Promote) -> None:
    down = {"running": False, "follows": False, "receives": False}
    retired = STATES["db1"] | {"cluster_state": "shut down", "server": down}
    code, said, done = promote(states={"db1": retired, "db2": STATES["db2"] | {"server": PRIMARY}})
    assert code == 0, said
    assert done == []
    assert "db2 takes writes already" in said


def test_a_primary_that_was_stopped_by_a_run_before_is_retired_and_replaced(promote: Promote) -> None:
    down = {"running": False, "follows": False, "receives": False}
    stopped = STATES["db1"] | {"cluster_state": "shut down", "server": down}
    left = STATES["db2"] | {"primary": {"error": "Connection refused"}}
    code, said, done = promote(states={"db1": stopped, "db2": left})
    assert code == 0, said
    assert done == ["stop", "retire", "promote"]
