"""Runs of real playbooks on this machine: what is said, kept and masked, and what a Ctrl-C leaves."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mltrading_db.cli import history, session
from mltrading_db.cli.environment import (
    BUSY,
    DONE,
    FAILED,
    INTERRUPTED,
    REFUSED,
    Environment,
    RefusedError,
    lock_file,
    locked,
)

# Each plays a playbook or more.
pytestmark = pytest.mark.faults


def test_a_run_says_what_changed_and_why_and_keeps_it(local: Environment, capsys: pytest.CaptureFixture[str]) -> None:
    with session.session("try", local.name) as made:
        assert made.end(made.run("try"), check=False) == DONE
    said = capsys.readouterr().out
    assert "t-db1 was changed:" in said
    assert "+one" in said
    [(folder, result)] = history.results(local)
    assert {change["host"] for change in result["changes"]} == {"t-db1", "t-backup1"}
    assert result["exit_code"] == DONE
    assert len((folder / "events.jsonl").read_text().splitlines()) > 10


@pytest.mark.faults
def test_a_second_run_changes_nothing(local: Environment, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with session.session("try", local.name) as made:
            made.end(made.run("try"), check=False)
    assert capsys.readouterr().out.count("Nothing was changed.") == 1


def test_a_failure_names_task_host_reason_and_way_out(local: Environment, capsys: pytest.CaptureFixture[str]) -> None:
    with session.session("try", local.name) as made:
        assert made.end(made.run("try", {"try_fails": True}), check=False) == FAILED
    said = " ".join(capsys.readouterr().out.split())
    for part in ("Fail on one host", "host t-db1", "reason t-db1: the disk is full", "way out", "mldb try trial"):
        assert part in said
    assert "playbooks/try.yml:" in said


@pytest.mark.faults
def test_no_secret_is_said_or_kept(local: Environment, capfd: pytest.CaptureFixture[str]) -> None:
    with session.session("try", local.name, verbosity=3) as made:
        made.end(made.run("try", {"try_fails": True}), check=False)
        secrets = made.inventory.secrets()
    said = "".join(capfd.readouterr())
    kept = "".join(path.read_text() for path in local.state.rglob("*") if path.is_file())
    assert len(secrets) >= 7
    assert "the password is ********" in said
    assert [secret for secret in secrets if secret in said + kept] == []


@pytest.mark.faults
def test_nothing_of_ansible_runner_is_left(local: Environment) -> None:
    (local.state / "run-of-a-killed-one/env").mkdir(parents=True)
    with session.session("try", local.name) as made:
        made.end(made.run("try"), check=True)
    assert sorted(path.name for path in local.state.iterdir()) == ["runs"]


@pytest.mark.faults
def test_a_program_gets_one_json_document(local: Environment, capsys: pytest.CaptureFixture[str]) -> None:
    with session.session("try", local.name, as_json=True) as made:
        made.end(made.run("try", {"try_fails": True}), check=False)
    result = json.loads(capsys.readouterr().out)
    assert result["exit_code"] == FAILED
    assert result["failures"][0]["host"] == "t-db1"
    assert result["hosts"]["t-backup1"] == {"tasks": 3, "changed": 1, "failed": False, "unreachable": False}


def test_a_playbook_that_is_not_there_is_refused(local: Environment) -> None:
    with session.session("try", local.name) as made, pytest.raises(RefusedError, match="not in this checkout"):
        made.run("rebuild_host")


def test_hosts_that_there_are_not_are_refused(local: Environment) -> None:
    with session.session("try", local.name) as made, pytest.raises(RefusedError, match="--limit") as refused:
        made.run("try", limit="db9")
    assert refused.value.code == REFUSED


def test_an_apostrophe_in_a_limit_is_a_host_that_there_is_not(local: Environment) -> None:
    with session.session("try", local.name) as made, pytest.raises(RefusedError, match="--limit"):
        made.run("try", limit="db9' --check '")


def test_a_playbook_that_ansible_cannot_read_says_why(local: Environment) -> None:
    (local.project / "playbooks/broken.yml").write_text("- hosts: all\n  nonsense: true\n")
    with session.session("try", local.name) as made, pytest.raises(RefusedError, match="nonsense"):
        made.run("broken")


def test_a_second_run_beside_the_first_is_refused_and_says_who_runs(local: Environment) -> None:
    with (
        locked(local, "apply"),
        pytest.raises(RefusedError, match=r"`mldb apply` of \w+ since") as refused,
        session.session("plan", local.name),
    ):
        pass
    assert refused.value.code == BUSY


def test_a_run_of_another_home_is_refused_and_says_who_runs(local: Environment, tmp_path: Path) -> None:
    """Two users, or two jobs of CI: what they have in common is the machine."""
    code = "import time; from mltrading_db.cli.environment import *\n"
    code += "with locked(find('trial'), 'apply'):\n    print('held', flush=True); time.sleep(60)"
    other = {**os.environ, "HOME": str(tmp_path / "another"), "XDG_STATE_HOME": str(tmp_path / "another/state")}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=local.project, env=other, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RefusedError, match=f"process {process.pid} in ") as refused, locked(local, "plan"):
            pass
        process.kill()
    assert refused.value.code == BUSY


def test_the_lock_is_for_every_user_to_hold(local: Environment) -> None:
    with locked(local, "apply"):
        assert stat.S_IMODE(lock_file(local).stat().st_mode) == 0o666


def test_a_lock_that_is_a_link_is_not_followed(local: Environment, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    lock_file(local).unlink(missing_ok=True)
    lock_file(local).symlink_to(tmp_path / "precious")
    with pytest.raises(RefusedError, match="for all users"), locked(local, "apply"):
        pass
    assert (tmp_path / "precious").read_text() == "kept"


def test_the_lab_of_another_name_has_a_lock_of_its_own(local: Environment) -> None:
    lab = Environment("lab", local.project)
    first = lock_file(lab)
    (local.project / ".lab").mkdir()
    (local.project / ".lab/name").write_text("second\n")
    assert lock_file(lab) != first


def test_the_lock_of_a_killed_run_is_free(local: Environment) -> None:
    code = "import os, sys; from mltrading_db.cli.environment import *; lock = locked(find('trial'), 'x'); "
    code += "lock.__enter__(); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code], cwd=local.project, check=False).returncode == -signal.SIGKILL
    with locked(local, "apply"):
        pass


def test_the_history_is_bounded(local: Environment) -> None:
    for _ in range(history.KEPT + 3):
        with history.Record(local, "try") as record:
            record.write_result({"n": 1})
    assert len(history.results(local)) == history.KEPT


@pytest.mark.faults
def test_ctrl_c_stops_and_says_where_each_host_was(local: Environment) -> None:
    code = "import sys; from mltrading_db.cli import session\n"
    code += "with session.session('try', 'trial') as made:\n"
    code += "    sys.exit(made.end(made.run('try', {'try_sleeps': 60}), check=False))"
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=local.project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    events = local.state / "runs"
    while not any("Sleep" in path.read_text() for path in events.glob("*/events.jsonl")):
        assert time.monotonic() - began < 500
        assert process.poll() is None
        time.sleep(0.2)
    time.sleep(1)
    os.kill(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=50)
    assert process.returncode == INTERRUPTED, said
    assert "Stopped." in said
    assert "t-db1 was at: Sleep" in said
    assert "t-db1 was changed:" in said
    assert not list(local.state.glob("run-*"))


@pytest.mark.parametrize(
    ("name", "asks"), [("production", True), ("mine", True), ("lab", False), ("staging", False), ("dev-anna", False)]
)
def test_an_environment_that_matters_asks_for_its_name(name: str, asks: bool, tmp_path: Path) -> None:
    assert Environment(name, tmp_path).asks_for_its_name is asks


@pytest.mark.parametrize("given", ["", "prod", "staging"])
def test_another_name_than_the_environments_is_refused(given: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="--confirm production"):
        session.confirm(Environment("production", tmp_path), given, "It would be changed.")


def test_the_environments_name_is_taken(tmp_path: Path) -> None:
    session.confirm(Environment("production", tmp_path), "production", "It would be changed.")
