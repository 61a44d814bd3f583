"""What the inventories have looked at: every host, its jobs, its standbys."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[3]
PLAYBOOKS = ("check_health", "report_health", "postgresql_health")


@cache
def said(environment: str, host: str) -> dict[str, Any]:
    """The values of a host's variables, as a play has them."""
    names = ("server", "user", "jobs", "standbys")
    wanted = "{{ {" + ", ".join(f"'{name}': postgresql_health_{name} | default('')" for name in names) + "} }}"
    done = subprocess.run(
        [PROJECT / ".venv/bin/ansible", host, "--inventory", f"inventories/{environment}", "--connection", "local",
         "--module-name", "ansible.builtin.debug", "--args", json.dumps({"msg": wanted})],
        cwd=PROJECT, env={**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])["msg"]
    return found


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_every_host_is_looked_at(playbook: str) -> None:
    play = yaml.safe_load((PROJECT / f"playbooks/{playbook}.yml").read_text())[0]
    assert play["hosts"] == "postgresql:backup_repository:pgbouncer:monitoring"


@pytest.mark.parametrize("environment", ["lab", "staging", "production"])
def test_no_host_is_without_checks(environment: str) -> None:
    assert "checks" not in (PROJECT / f"inventories/{environment}/group_vars/monitoring/monitoring.yml").read_text()


def test_a_host_with_the_pooler_alone_has_its_files_looked_at() -> None:
    found = said("production", "pool1.production.example.com")
    assert (found["server"], found["user"].strip(), found["jobs"]) == (False, "pgbouncer", ["pgbouncer_metrics"])


def test_a_host_that_watches_and_keeps_backups_is_looked_at_as_who_can_read_its_jobs() -> None:
    found = said("production", "backup1.production.example.com")
    assert (found["server"], found["user"].strip()) == (False, "pgbackrest")
    assert found["jobs"] == ["backup_full", "backup_diff", "drill_restore"]


def test_a_server_knows_who_streams_from_it_whoever_is_the_primary() -> None:
    for name, other in (("db1", "db2"), ("db2", "db1")):
        found = said("staging", f"{name}.staging.example.com")
        assert (found["server"], found["user"].strip()) == (True, "postgres")
        assert found["standbys"] == [f"{other}.staging.example.com"]
        assert {"dump", "heartbeat", "retention"} <= set(found["jobs"])
