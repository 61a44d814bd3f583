"""What was changed by hand on a host is found, and what a run has changed is not taken for it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[3] / "playbooks/files/host_state.py"
SPEC = importlib.util.spec_from_file_location("host_state", Path(__file__).parents[3] / "plugins/filter/host_state.py")
assert SPEC
assert SPEC.loader
host_state = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(host_state)
HAND_MADE = [
    pytest.param("etc/mltrading-db/dump.env", "B=2\n", "file", id="a job's settings"),
    pytest.param("etc/postgresql/15/main/conf.d/99-mine.conf", "work_mem = '1GB'\n", "file", id="a fragment"),
    pytest.param("usr/local/lib/mltrading-db/sql/new.sql", "SELECT 1;\n", "file", id="a script"),
    pytest.param("etc/prometheus/alertmanager.yml", "route: {}\n", "file", id="who is told of an alert"),
    pytest.param("etc/cron.d/mltrading-db-dump", "0 4 * * * root dbjob dump\n", "cron line", id="a job's line"),
    pytest.param("etc/cron.d/mine", "* * * * * root /usr/local/bin/mine\n", "cron line", id="a file of cron"),
    pytest.param("var/spool/cron/crontabs/postgres", "@daily vacuumdb\n", "cron line", id="somebody's crontab"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host as a run has left it."""
    put(tmp_path, "etc/mltrading-db/dump.env", "A=1\n")
    put(tmp_path, "etc/cron.d/mltrading-db-dump", "# A job\n15 2 * * * root dbjob dump\n")
    state(tmp_path, "begin")
    state(tmp_path, "first")
    return tmp_path


def put(root: Path, name: str, text: str) -> None:
    """Write a file of the host."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def state(root: Path, command: str, *, who: str = "") -> Any:
    """Run the script; what it answers."""
    programs = root / "programs"
    environment = {
        **os.environ,
        "HOST_STATE_ROOT": str(root),
        "HOST_STATE_QUERY": "SELECT 1" if programs.exists() else "",
        "HOST_STATE_RUN": who,
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        [sys.executable, SCRIPT, command], env=environment, capture_output=True, text=True, check=True
    )
    if command != "compare":
        return json.loads(done.stdout) if done.stdout else None
    # The decision is the filter's, as in playbooks/check_drift.yml.
    said = host_state.host_differences(json.loads(done.stdout))
    return said["differences"] if said["known"] else None


def test_a_host_that_had_no_run_is_not_known(tmp_path: Path) -> None:
    assert state(tmp_path, "compare") is None


def test_a_host_as_it_was_left_has_no_drift(root: Path) -> None:
    assert state(root, "compare") == []


@pytest.mark.parametrize(("name", "text", "kind"), HAND_MADE)
def test_what_is_changed_by_hand_is_found(root: Path, name: str, text: str, kind: str) -> None:
    put(root, name, text)
    found = state(root, "compare")
    assert {one["kind"] for one in found} == {kind}
    assert [one for one in found if name in one["name"] and one["found"]]


def test_a_mode_is_found(root: Path) -> None:
    (root / "etc/mltrading-db/dump.env").chmod(0o666)
    [found] = state(root, "compare")
    assert "0666" in found["found"]
    assert "0666" not in found["accepted"]


def test_what_is_gone_is_found(root: Path) -> None:
    (root / "etc/mltrading-db/dump.env").unlink()
    [found] = state(root, "compare")
    assert (found["name"], found["found"]) == ("/etc/mltrading-db/dump.env", None)


def test_what_a_run_changes_is_accepted_and_what_was_there_before_is_not(root: Path) -> None:
    put(root, "etc/cron.d/mine", "* * * * * root /usr/local/bin/mine\n")
    state(root, "begin")
    put(root, "etc/mltrading-db/dump.env", "A=2\n")
    put(root, "etc/mltrading-db/report.env", "C=3\n")
    state(root, "record")
    assert [one["name"] for one in state(root, "compare")] == ["/etc/cron.d/mine: * * * * * root /usr/local/bin/mine"]


def test_what_a_run_puts_back_is_no_drift_any_more(root: Path) -> None:
    put(root, "etc/mltrading-db/dump.env", "A=by hand\n")
    state(root, "begin")
    put(root, "etc/mltrading-db/dump.env", "A=1\n")
    state(root, "record")
    assert state(root, "compare") == []


def test_what_a_run_removes_is_no_drift(root: Path) -> None:
    state(root, "begin")
    (root / "etc/mltrading-db/dump.env").unlink()
    state(root, "record")
    assert state(root, "compare") == []


def test_what_is_accepted_is_no_drift(root: Path) -> None:
    put(root, "etc/cron.d/mine", "* * * * * root /usr/local/bin/mine\n")
    state(root, "accept")
    assert state(root, "compare") == []


def test_the_state_is_for_nobody_else_to_read(root: Path) -> None:
    assert (root / "var/lib/mltrading-db/accepted_state.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["etc/postgresql/15/main/pg_hba.conf.1.2026-11-24@03:00:00~", "etc/cron.d/.keep"])
def test_copies_that_ansible_keeps_are_no_drift(root: Path, name: str) -> None:
    put(root, name, "old\n")
    assert state(root, "compare") == []


def test_only_a_run_of_all_roles_is_a_first_acceptance(tmp_path: Path) -> None:
    for command, found in (("record", None), ("first", [])):
        state(tmp_path, "begin")
        state(tmp_path, command)
        assert state(tmp_path, "compare") == found


def test_without_the_state_before_it_nothing_is_taken_for_the_runs(root: Path) -> None:
    put(root, "etc/cron.d/mine", "* * * * * root /usr/local/bin/mine\n")
    state(root, "record")
    assert len(state(root, "compare")) == 1


class Cluster:
    """A cluster of a host, by programs in the place of PostgreSQL's, whose port is not the usual one."""

    def __init__(self, root: Path) -> None:
        """Make the programs."""
        self.root = root
        put(root, "programs/pg_lsclusters", """#!/bin/sh\necho '[{"port": 5433, "cluster": "main"}]'\n""")
        put(root, "programs/runuser", '#!/bin/sh\nshift 3\nexec "$@"\n')
        put(
            root,
            "programs/psql",
            '#!/bin/sh\ncase "$*" in *--port=5433*) ;; *) exit 3 ;; esac\n'
            f"[ -e {root}/dead ] && exit 2\n"
            f"if grep --quiet datname; then echo postgres; else cat {root}/said; fi\n",
        )
        for program in (root / "programs").iterdir():
            program.chmod(0o755)

    def says(self, **settings: str) -> None:
        """What it answers."""
        lines = [json.dumps(["setting", name, value, None, False]) for name, value in settings.items()]
        put(self.root, "said", "\n".join(lines) + "\n")


def test_a_server_that_was_killed_is_started_by_a_run_and_what_was_changed_in_it_stays_drift(root: Path) -> None:
    cluster = Cluster(root)
    cluster.says(work_mem="4MB")
    state(root, "accept")
    cluster.says(work_mem="9MB by hand")
    (root / "dead").touch()
    state(root, "begin")
    put(root, "etc/mltrading-db/dump.env", "A=2\n")
    (root / "dead").unlink()
    state(root, "record")
    assert [(one["kind"], one["found"]) for one in state(root, "compare")] == [("setting", "9MB by hand")]


def test_a_server_that_is_dead_after_a_run_keeps_what_was_accepted_of_it(root: Path) -> None:
    cluster = Cluster(root)
    cluster.says(work_mem="4MB")
    state(root, "accept")
    state(root, "begin")
    (root / "dead").touch()
    state(root, "record")
    (root / "dead").unlink()
    assert state(root, "compare") == []


def test_a_dead_server_is_neither_compared_nor_accepted(root: Path) -> None:
    Cluster(root).says(work_mem="4MB")
    (root / "dead").touch()
    for command in ("compare", "accept"):
        with pytest.raises(subprocess.CalledProcessError):
            state(root, command)


def line(commit: str, command: str = "apply", **more: Any) -> str:
    """A line of the audit log."""
    return json.dumps({"at": "2026-11-24T03:00:00+00:00", "user": "anna", "command": command, "commit": commit, **more})


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        pytest.param([], [], id="no line"),
        pytest.param([""], [], id="an empty one"),
        pytest.param([line("a"), "{half a li"], ["a"], id="half a line"),
        pytest.param([line("a"), line("b"), line("a")], ["b", "a"], id="each once"),
        pytest.param([line("b"), line("a", "backup")], ["b"], id="a backup"),
        pytest.param([line("b"), line("a", "drift --accept")], ["b"], id="an acceptance"),
        pytest.param([line("b"), line("a", "rebuild")], ["b", "a"], id="a rebuild"),
        pytest.param([line("b"), line("a", older=True)], ["b", "a"], id="a part, with an older checkout"),
        pytest.param([line("b"), line("a", older=True, whole=True)], ["a"], id="all of it, with an older checkout"),
    ],
)
def test_the_commits_that_a_newer_checkout_contains(tmp_path: Path, log: list[str], expected: list[str]) -> None:
    put(tmp_path, "var/log/mltrading-db/audit.log", "".join(f"{one}\n" for one in log))
    assert [run["commit"] for run in state(tmp_path, "look")] == expected


def test_the_commits_of_a_log_that_was_rotated_count_too(tmp_path: Path) -> None:
    put(tmp_path, "var/log/mltrading-db/audit.log.1", line("a") + "\n")
    assert [run["commit"] for run in state(tmp_path, "look")] == ["a"]


def test_one_run_at_a_time_is_at_a_host_and_gives_it_free(root: Path) -> None:
    state(root, "begin", who="anna@one")
    for command in ("look", "begin"):
        with pytest.raises(subprocess.CalledProcessError) as refused:
            state(root, command, who="ben@two")
        assert "anna@one is at this host" in refused.value.stderr
    state(root, "record", who="anna@one")
    state(root, "begin", who="ben@two")


def test_a_run_that_was_killed_holds_its_own_controller_up_not_at_all_and_others_not_for_ever(root: Path) -> None:
    state(root, "begin", who="anna@one")
    state(root, "begin", who="anna@one")
    put(root, "run/mltrading-db-run.json", json.dumps({"by": "anna@one", "since": str(time.time() - 5 * 3600)}))
    state(root, "begin", who="ben@two")


def test_a_long_audit_log_is_rotated_and_one_more_is_kept(root: Path) -> None:
    put(root, "var/log/mltrading-db/audit.log", (line("a") + "\n") * 12_000)
    state(root, "begin")
    assert not (root / "var/log/mltrading-db/audit.log").exists()
    assert [run["commit"] for run in state(root, "look")] == ["a"]


def test_another_command_is_refused(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        state(tmp_path, "undo")
