"""The real playbooks/check_hosts.yml: who is refused, and who may be absent. Role common has tests of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mltrading_db.cli.environment import BUSY, DONE, REFUSED, Environment
from mltrading_db.cli.session import session

# Each plays a playbook or more.
pytestmark = pytest.mark.faults

PROJECT = Path(__file__).parents[3]
NOTHING_LISTENS = "{ansible_host: 127.0.0.1, ansible_port: 1, ansible_connection: ssh}"
Look = Callable[..., int]


def git(folder: Path, *arguments: str) -> str:
    """What git says."""
    who = ["-c", "user.name=anna", "-c", "user.email=anna@example.net"]
    return subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def look(local: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Ask whether the hosts may be changed: this machine, whose root is a folder, and one that does not answer."""
    shutil.copy(PROJECT / "playbooks/check_hosts.yml", local.project / "playbooks")
    shutil.copytree(PROJECT / "playbooks/files", local.project / "playbooks/files")
    # A role beside the playbook goes before the one of the checkout.
    tasks = local.project / "playbooks/roles/common/tasks/main.yml"
    tasks.parent.mkdir(parents=True)
    tasks.write_text("[]\n")
    hosts = local.folder / "hosts.yml"
    text = hosts.read_text().replace("vars: {", "vars: {ansible_become: false, ")
    hosts.write_text(text.replace("{ansible_host: 10.99.0.41}", NOTHING_LISTENS))
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "pg_lsclusters").write_text("#!/bin/sh\necho '[]'\n")
    (programs / "pg_lsclusters").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("HOST_STATE_ROOT", str(tmp_path / "root"))
    for arguments in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "--message", "old"]):
        git(local.project, *arguments)

    def ask(limit: str = "t-db1", **insisted: bool) -> int:
        with session("apply", local.name) as made:
            recap = made.change("try", limit=limit, **insisted)
            return made.end(recap, check=False)

    return ask


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The audit log of the host."""
    path = tmp_path / "root/var/log/mltrading-db/audit.log"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture(autouse=True)
def recorded(local: Environment) -> None:
    """What a run leaves is not of interest here."""
    (local.project / "playbooks/record_run.yml").write_text("- {hosts: all, gather_facts: false, tasks: []}\n")


def test_a_checkout_that_lacks_a_commit_of_the_hosts_is_refused_whatever_came_later(
    look: Look, log: Path, local: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    old = git(local.project, "rev-parse", "HEAD")
    git(local.project, "commit", "--quiet", "--allow-empty", "--message", "new")
    new = git(local.project, "rev-parse", "HEAD")
    said = {"at": "2026-11-24T03:00:00+00:00", "user": "anna"}
    runs = [("apply", new), ("backup", old), ("drift --accept", old)]
    log.write_text("".join(json.dumps({**said, "command": run, "commit": commit}) + "\n" for run, commit in runs))
    assert look() == DONE
    git(local.project, "reset", "--quiet", "--soft", old)
    assert look() == REFUSED
    assert f"from commit {new}" in " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert look(older=True) == DONE


def test_an_empty_log_refuses_nobody_and_the_state_before_the_run_is_kept(look: Look, log: Path) -> None:
    log.touch()
    assert look() == DONE
    assert (log.parents[3] / "run/mltrading-db-state-before.json").exists()


def test_a_host_that_another_controller_is_at_is_refused(
    look: Look, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = tmp_path / "root/run/mltrading-db-run.json"
    held.parent.mkdir(parents=True)
    held.write_text(json.dumps({"by": "ben@elsewhere", "since": str(time.time())}))
    assert look() == BUSY
    assert "ben@elsewhere is at this host" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_a_host_that_does_not_answer_stops_an_apply_and_is_left_to_the_playbook_of_an_operation(
    look: Look, local: Environment
) -> None:
    (local.project / "playbooks/try.yml").write_text(
        "- {hosts: t-db1, gather_facts: false, tasks: [debug: {msg: done}]}"
    )
    assert look(limit="") == REFUSED
    assert look(limit="", absent=True) == DONE
