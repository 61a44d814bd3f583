"""Applying an environment: hosts are looked at first, a plan is held to, every host gets a line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mltrading_db.cli import changes, drifts, history, runner
from mltrading_db.cli import session as session_module
from mltrading_db.cli.app import app
from mltrading_db.cli.environment import DONE, DRIFTED, FAILED, INTERRUPTED, REFUSED, Environment, RefusedError
from mltrading_db.cli.session import session

# Each plays a playbook or more.
pytestmark = pytest.mark.faults

PROJECT = Path(__file__).parents[3]
CHECK_HOSTS = """- name: Whether they may be changed
  hosts: all
  gather_facts: false
  tasks:
    - name: Refuse
      ansible.builtin.assert:
        that: not (inventory_dir ~ '/../../refuse') is exists
        fail_msg: another environment's host
"""
# The real one, but for where it writes and for the state of the host, which this machine is.
STATE = "files/host_state.py {{ record_run_command }}"
CHECK_STATE = """- name: What the hosts are
  hosts: all
  gather_facts: false
  tasks:
    - name: Say it
      ansible.builtin.debug:
        msg: {provisioned: true, cluster: online, server: null}
"""
CHECK_DRIFT = """- name: Compare
  hosts: all
  gather_facts: false
  tasks:
    - name: Say
      ansible.builtin.debug:
        msg:
          known: true
          rule_fragments: []
          differences: [{kind: file, name: /etc/intruder, accepted: null, found: there}]
"""


@pytest.fixture
def site(local: Environment) -> Environment:
    """An environment whose site writes a file on each of its hosts, which are this machine."""
    playbooks = local.project / "playbooks"
    text = (playbooks / "try.yml").read_text().replace("hosts: all", "hosts: postgresql:backup_repository:pgbouncer")
    (playbooks / "site.yml").write_text(text)
    (playbooks / "check_hosts.yml").write_text(CHECK_HOSTS)
    (playbooks / "check_state.yml").write_text(CHECK_STATE)
    (playbooks / "files").mkdir()
    (playbooks / "files/host_state.sql").write_text("")
    (playbooks / "files/host_state.py").write_text("import sys; open(sys.argv[2], 'w').write(sys.argv[1])\n")
    text = (PROJECT / "playbooks/record_run.yml").read_text()
    assert STATE in text
    text = text.replace(STATE, STATE + f" {local.project}/{{{{ inventory_hostname }}}}.state")
    text = text.replace("/var/log/mltrading-db/", f"{local.project}/{{{{ inventory_hostname }}}}.")
    (playbooks / "record_run.yml").write_text(text)
    hosts = local.folder / "hosts.yml"
    hosts.write_text(hosts.read_text().replace("vars: {", "vars: {ansible_become: false, "))
    (playbooks / "check_drift.yml").write_text(CHECK_DRIFT)
    return local


def wanted(**more: Any) -> changes.Wanted:
    """What `mldb apply trial --confirm trial` wants."""
    return changes.Wanted("trial", confirm="trial", **more)


def audit(site: Environment, host: str) -> dict[str, Any]:
    """The last line of a host."""
    return dict(json.loads((site.project / f"{host}.audit.log").read_text().splitlines()[-1]))


def taken_over(site: Environment, host: str) -> str:
    """How the run was taken over into the host's accepted state."""
    return (site.project / f"{host}.state").read_text()


@pytest.mark.faults
def test_a_run_leaves_a_line_on_every_host_and_says_how_to_connect(
    site: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    assert changes.apply(wanted(), as_json=False, verbosity=0) == DONE
    assert 'writes          psql "host=t-db1 port=5432 dbname=mltrading' in capsys.readouterr().out
    line = audit(site, "t-backup1")
    assert (line["whole"], line["command"], line["ended"]) == (True, "apply", "well")
    assert line["user"]
    assert [one for one in line["changed"] if "Write a file" in one]
    assert taken_over(site, "t-backup1") == "first"


def test_a_part_of_the_roles_is_recorded_and_is_no_first_acceptance(site: Environment) -> None:
    assert changes.apply(wanted(tags="all"), as_json=False, verbosity=0) == DONE
    assert "whole" not in audit(site, "t-db1")
    assert taken_over(site, "t-db1") == "record"


OPERATIONS = [
    (["backup", "trial", "--confirm", "trial"], "take_backup"),
    (["restore", "trial", "t-db1", "--latest", "--confirm", "t-db1"], "restore_backup"),
    (["rebuild", "trial", "t-db1", "--confirm", "t-db1"], "rebuild_host"),
    (["promote", "trial", "t-db1", "--confirm", "t-db1"], "promote_replica"),
    (["partition", "trial", "bars", "--confirm", "t-db1"], "partition_table"),
]


@pytest.mark.parametrize(("arguments", "playbook"), OPERATIONS, ids=[playbook for _, playbook in OPERATIONS])
def test_every_command_that_changes_hosts_looks_at_them_and_is_recorded(
    site: Environment, arguments: list[str], playbook: str
) -> None:
    shutil.copy(site.project / "playbooks/site.yml", site.project / f"playbooks/{playbook}.yml")
    (site.project / "refuse").touch()
    assert CliRunner().invoke(app, arguments).exit_code == REFUSED
    assert not list(site.project.glob("t-*"))
    (site.project / "refuse").unlink()
    assert CliRunner().invoke(app, arguments).exit_code == DONE
    assert audit(site, "t-db1")["command"] == arguments[0]
    # A host that was rebuilt has had all roles: its state is accepted for the first time.
    assert taken_over(site, "t-db1") == ("first" if playbook == "rebuild_host" else "record")


Played = Callable[[runner.Run, Callable[[dict[str, Any]], None]], runner.Ended]


def in_place_of_ansible(monkeypatch: pytest.MonkeyPatch, stopped: str, event: dict[str, Any]) -> None:
    """Have `event` happen in the site, and somebody stop the playbook `stopped`; others are played as they are."""
    play: Played = runner.play

    def played(run: runner.Run, on_event: Callable[[dict[str, Any]], None]) -> runner.Ended:
        if run.playbook in ("site", stopped):
            on_event(event)
            return runner.Ended(code=0, interrupted=run.playbook == stopped)
        return play(run, on_event)

    monkeypatch.setattr(session_module, "play", played)


SETTING = {
    "event": "runner_on_ok",
    "event_data": {
        "host": "t-db1",
        "task": "Config fragment | Write it",
        "task_action": "template",
        "res": {"changed": True, "diff": [{"before": "", "after": "work_mem = '8MB'\n"}]},
    },
}


def test_a_run_that_is_stopped_is_recorded_and_is_no_first_acceptance(
    site: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_place_of_ansible(monkeypatch, "site", SETTING)
    assert changes.apply(wanted(), as_json=False, verbosity=0) == INTERRUPTED
    assert audit(site, "t-db1")["ended"] == "stopped"
    assert "whole" not in audit(site, "t-db1")
    assert taken_over(site, "t-db1") == "record"


def test_a_plan_that_is_stopped_while_the_servers_are_asked_is_not_saved(
    site: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.project / "playbooks/check_state.yml").write_text("[]\n")
    in_place_of_ansible(monkeypatch, "check_state", SETTING)
    file = site.project / "plan.json"
    assert changes.plan(changes.Wanted("trial", plan=file), as_json=False, verbosity=0) == INTERRUPTED
    assert not file.exists()


def test_what_a_host_says_is_no_template_for_the_controller(site: Environment) -> None:
    hostile = f"{{{{ lookup('ansible.builtin.pipe', 'touch {site.project}/owned') }}}}"
    with session("apply", "trial") as made:
        recap = made.run("try")
        recap.changes[0] = replace(recap.changes[0], what=hostile)
        made.audit(recap)
        assert made.code() == DONE
    assert not (site.project / "owned").exists()
    assert hostile in json.dumps(audit(site, recap.changes[0].host), ensure_ascii=False)


def test_a_playbook_that_breaks_off_leaves_its_line_and_its_result(site: Environment) -> None:
    # What is not there is found when the play has begun.
    text = (site.project / "playbooks/site.yml").read_text() + "    - ansible.builtin.meta: no_such_thing\n"
    (site.project / "playbooks/site.yml").write_text(text)
    with pytest.raises(RefusedError):
        changes.apply(wanted(), as_json=False, verbosity=0)
    assert audit(site, "t-db1")["changed"]
    [(_, result)] = history.results(site)
    assert result["exit_code"] == FAILED
    assert result["refused"]


def test_a_host_that_is_refused_stops_the_run_before_the_first_change(site: Environment) -> None:
    (site.project / "refuse").touch()
    assert changes.apply(wanted(), as_json=False, verbosity=0) == REFUSED
    assert not list(site.project.glob("t-*"))


def test_a_check_changes_nothing_and_asks_for_no_name(site: Environment, capsys: pytest.CaptureFixture[str]) -> None:
    assert changes.apply(changes.Wanted("trial", check=True), as_json=False, verbosity=0) == DONE
    assert not list(site.project.glob("t-*"))
    assert "How to connect" not in capsys.readouterr().out


def test_a_plan_is_done_once_and_refused_when_the_hosts_have_moved(
    site: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    file = site.project / "plan.json"
    assert changes.plan(changes.Wanted("trial", plan=file), as_json=False, verbosity=0) == DONE
    assert "+one" in capsys.readouterr().out
    (site.project / "t-db1.txt").write_text("by hand\n")
    with pytest.raises(RefusedError, match="no longer holds") as refused:
        changes.apply(wanted(plan=file), as_json=False, verbosity=0)
    assert refused.value.code == REFUSED
    assert (site.project / "t-db1.txt").read_text() == "by hand\n"
    (site.project / "t-db1.txt").unlink()
    plan = json.loads(file.read_text())
    (site.project / "older.json").write_text(json.dumps({**plan, "commit": "of-another-commit"}))
    with pytest.raises(RefusedError, match="made from commit of-another-commit"):
        changes.apply(wanted(plan=site.project / "older.json"), as_json=False, verbosity=0)
    assert changes.apply(wanted(plan=file), as_json=False, verbosity=0) == DONE
    assert (site.project / "t-db1.txt").read_text() == "one\n"


@pytest.mark.usefixtures("site")
def test_drift_is_what_a_run_would_overwrite_and_what_no_run_has_made(capsys: pytest.CaptureFixture[str]) -> None:
    options = {"limit": "", "accept": False, "confirm": ""}
    assert drifts.drift("trial", options, as_json=True, verbosity=0) == DRIFTED
    found = json.loads(capsys.readouterr().out)["drift"]
    assert {(one["host"], one["right"]) for one in found} == {
        (host, right) for host in ("t-db1", "t-backup1") for right in ("repository", "nobody has said")
    }
