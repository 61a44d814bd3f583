"""The way of a newcomer, by the commands of the docs: from init to drift, and once more from another controller."""

from __future__ import annotations

import json
import subprocess

import pytest
from conftest import HOSTS, NAME, on, sql
from controller import Controller

# The first apply on a machine that does other things too; what takes longer hangs.
pytestmark = [pytest.mark.core, pytest.mark.timeout(3600)]


def ended_well(done: subprocess.CompletedProcess[str]) -> str:
    """What a command said that must end well."""
    assert done.returncode == 0, f"{done.args} ended with {done.returncode}: {done.stdout[-8000:]}{done.stderr[-4000:]}"
    return done.stdout


def changes(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a run changed, by its JSON document: a line for each step."""
    return [json.dumps(change) for change in json.loads(ended_well(done))["changes"]]


def test_the_inputs_are_right(anna: Controller) -> None:
    ended_well(anna.mldb("check", NAME))


def test_a_plan_of_blank_hosts_is_whole(anna: Controller) -> None:
    assert "not whole" not in ended_well(anna.mldb("plan", NAME))


def test_the_first_apply_ends_well(anna: Controller) -> None:
    ended_well(anna.mldb("apply", NAME, "--confirm", NAME))


@pytest.mark.parametrize("seed", ["0", "7"])
def test_another_apply_changes_nothing_whatever_the_hash_seed(anna: Controller, seed: str) -> None:
    assert changes(anna.mldb("apply", NAME, "--confirm", NAME, "--json", PYTHONHASHSEED=seed)) == []


def test_the_environment_is_healthy(anna: Controller) -> None:
    ended_well(anna.mldb("health", NAME))


def test_nothing_has_drifted(anna: Controller) -> None:
    ended_well(anna.mldb("drift", NAME))


def test_another_controller_changes_nothing_either(ben: Controller) -> None:
    assert changes(ben.mldb("apply", NAME, "--confirm", NAME, "--json", PYTHONHASHSEED="3")) == []
    ended_well(ben.mldb("drift", NAME))


def test_both_standbys_stream_from_the_primary() -> None:
    streaming = sql("db1.trading.test", "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
    assert streaming == "2"


def test_the_hosts_know_each_other_by_name() -> None:
    for host in HOSTS:
        missing = [other for other in HOSTS if on(host, f"getent hosts {other}").returncode]
        assert missing == [], f"{host} does not find {missing}"
