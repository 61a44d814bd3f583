"""What a host lacks is said before anything is changed: names, clock, memory, disk, mirrors, ports."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("hosts", PROJECT / "plugins/filter/hosts.py")
assert SPEC
assert SPEC.loader
hosts = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(hosts)

ADDRESSES = {"db1": ["10.0.0.1"], "db2": ["10.0.0.2"]}
WELL: dict[str, Any] = {
    "addresses": ADDRESSES,
    "own_addresses": ["10.0.0.1"],
    "clock_offset": 0.4,
    "free_mb": {"/var/lib": 20000},
    "memory_mb": 2000,
    "mirrors": [],
    "listening": [22, 5432],
}
OTHER = WELL | {"own_addresses": ["10.0.0.2", "192.168.0.2"]}


def problems(changed: dict[str, Any], *, is_new: bool = True) -> list[str]:
    """What db1 lacks, which is well but for what is changed."""
    found = WELL | changed
    return list(hosts.host_problems(found, "db1", {"db1": found, "db2": OTHER}, is_new))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        pytest.param({"addresses": ADDRESSES | {"db2": []}}, "db1 does not resolve db2", id="a name unknown"),
        pytest.param(
            {"addresses": ADDRESSES | {"db1": ["127.0.1.1"]}}, "resolves db1 to 127.0", id="itself a loopback"
        ),
        pytest.param({"addresses": ADDRESSES | {"db2": ["10.0.0.9"]}}, "and db2 has 10.0.0.2, 192", id="another's"),
        pytest.param({"clock_offset": -90}, "the clock of db1 is -90 s off", id="the clock"),
        pytest.param({"memory_mb": 512}, "512 MB of memory", id="memory"),
        pytest.param({"free_mb": {"/var/lib": 100}}, "100 MB free at /var/lib", id="disk"),
        pytest.param({"mirrors": ["deb.example.net"]}, "package mirrors deb.example.net", id="a mirror"),
        pytest.param({"listening": [22, 6432]}, "port 6432 of db1 is taken, and pgBouncer", id="a port"),
    ],
)
def test_what_is_missing_is_said_with_host_and_remedy(changed: dict[str, Any], says: str) -> None:
    (problem,) = problems(changed)
    assert says in problem
    assert "db1" in problem


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({}, id="all is there"),
        pytest.param({"addresses": ADDRESSES | {"db2": ["192.168.0.2"]}}, id="another of its addresses"),
        pytest.param({"addresses": ADDRESSES | {"db2": ["127.0.0.1", "10.0.0.2"]}}, id="a loopback beside the address"),
    ],
)
def test_a_host_that_has_all_is_let_through(changed: dict[str, Any]) -> None:
    assert problems(changed) == []


def test_an_environment_of_one_host_may_call_it_localhost() -> None:
    alone = WELL | {"addresses": {"localhost": ["127.0.0.1", "::1"]}}
    assert hosts.host_problems(alone, "localhost", {"localhost": alone}, True) == []


def test_a_host_that_runs_already_is_not_asked_for_what_its_own_services_take() -> None:
    assert problems({"listening": [6432, 9100], "free_mb": {"/var/lib": 1}, "mirrors": ["x"]}, is_new=False) == []


def test_all_problems_are_said_together() -> None:
    assert len(problems({"clock_offset": 90, "memory_mb": 1, "mirrors": ["x"]})) == 3


def test_the_module_says_what_this_machine_has() -> None:
    arguments = {"names": ["localhost", "no-such-host.invalid"], "clock": 0, "paths": ["/var/lib", "/no/such/folder"]}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = subprocess.run(
            [sys.executable, str(PROJECT / "plugins/modules/host_requirements.py")],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
            capture_output=True,
            text=True,
            check=True,
        )
        found = json.loads(done.stdout)
        assert listener.getsockname()[1] in found["listening"]
    assert "127.0.0.1" in found["addresses"]["localhost"]
    assert found["addresses"]["no-such-host.invalid"] == []
    assert found["clock_offset"] > 1_000_000_000
    assert found["memory_mb"] > 100
    assert all(free >= 0 for free in found["free_mb"].values())
