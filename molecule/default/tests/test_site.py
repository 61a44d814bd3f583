"""The host as a whole: what runs on it, and that a second look finds nothing to do."""

from typing import Any

import pytest
from testinfra.host import Host

# PostgreSQL's major version is the Debian release's own.
MAJOR_VERSIONS = {"bookworm": "15", "trixie": "17"}


@pytest.fixture
def cluster_unit(host: Host) -> str:
    """The unit of the host's one cluster."""
    return f"postgresql@{MAJOR_VERSIONS[host.system_info.codename]}-main"


def test_systemd_runs_no_failed_unit(host: Host) -> None:
    assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""


def test_the_cluster_runs_and_starts_at_boot(host: Host, cluster_unit: str) -> None:
    service = host.service(cluster_unit)
    assert service.is_running
    assert service.is_enabled


def test_the_pooler_runs_and_starts_at_boot(host: Host) -> None:
    service = host.service("pgbouncer")
    assert service.is_running
    assert service.is_enabled


@pytest.mark.parametrize("port", [pytest.param("5432", id="postgresql"), pytest.param("6432", id="pgbouncer")])
def test_the_port_is_served_on_named_addresses_only(host: Host, port: str) -> None:
    listening = host.check_output("ss --listening --tcp --numeric --no-header 'sport = :%s' | awk '{print $4}'", port)
    addresses = {line.rpartition(":")[0] for line in listening.splitlines()}
    assert addresses == {"127.0.0.1", host.interface("eth0").addresses[0]}


def test_a_prediction_for_converged_hosts_finds_nothing_to_change(host: Host, prediction: dict[str, Any]) -> None:
    name = host.backend.get_hostname()
    changed = [
        task["task"]["name"]
        for play in prediction["plays"]
        for task in play["tasks"]
        if task["hosts"].get(name, {}).get("changed")
    ]
    assert changed == []
    assert prediction["stats"][name]["ok"] > 0
