"""Applying an environment: hosts are looked at first, a plan is held to, every host gets a line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mltrading_db.cli import changes, drifts
from mltrading_db.cli.environment import DONE, DRIFTED, FAILED, REFUSED, Environment, RefusedError

CHECK_HOSTS = """- name: Whether they may be changed
  hosts: all
  gather_facts: false
  tasks:
    - name: Refuse
      ansible.builtin.assert:
        that: not (inventory_dir ~ '/../../refuse') is exists
        fail_msg: another environment's host
"""
RECORD_RUN = """- name: Record
  hosts: all
  gather_facts: false
  tasks:
    - name: Write
      ansible.builtin.copy:
        content: "{{ {'entry': record_run_entries[inventory_hostname], 'whole': record_run_whole} | to_json }}"
        dest: "{{ inventory_dir }}/../../{{ inventory_hostname }}.audit"
        mode: "0600"
"""
CHECK_DRIFT = """- name: Compare
  hosts: all
  gather_facts: false
  tasks:
    - name: Say
      ansible.builtin.debug:
        msg: "{{ [{'kind': 'role', 'name': 'intruder', 'accepted': none, 'found': 'superuser'}] }}"
"""


@pytest.fixture
def site(local: Environment) -> Environment:
    """An environment whose site writes a file on each of its hosts, which are this machine."""
    playbooks = local.project / "playbooks"
    text = (playbooks / "try.yml").read_text().replace("hosts: all", "hosts: postgresql:backup_repository:pgbouncer")
    (playbooks / "site.yml").write_text(text)
    (playbooks / "check_hosts.yml").write_text(CHECK_HOSTS)
    (playbooks / "record_run.yml").write_text(RECORD_RUN)
    (playbooks / "check_drift.yml").write_text(CHECK_DRIFT)
    return local


def wanted(**more: Any) -> changes.Wanted:
    """What `mldb apply trial --confirm trial` wants."""
    return changes.Wanted("trial", confirm="trial", **more)


def audit(site: Environment, host: str) -> dict[str, Any]:
    """The line of a host."""
    return dict(json.loads((site.project / f"{host}.audit").read_text()))


@pytest.mark.faults
def test_a_run_leaves_a_line_on_every_host(site: Environment) -> None:
    assert changes.apply(wanted(), as_json=False, verbosity=0) == DONE
    line = audit(site, "t-backup1")
    assert line["whole"] is True
    assert line["entry"]["command"] == "apply"
    assert line["entry"]["ended"] == "well"
    assert line["entry"]["user"]
    assert [one for one in line["entry"]["changed"] if "Write a file" in one]


def test_a_host_that_is_refused_stops_the_run_before_the_first_change(site: Environment) -> None:
    (site.project / "refuse").touch()
    assert changes.apply(wanted(), as_json=False, verbosity=0) == FAILED
    assert not list(site.project.glob("t-*"))


def test_a_check_changes_nothing_and_asks_for_no_name(site: Environment) -> None:
    assert changes.apply(changes.Wanted("trial", check=True), as_json=False, verbosity=0) == DONE
    assert not list(site.project.glob("t-*"))


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
