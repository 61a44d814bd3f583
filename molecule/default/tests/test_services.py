"""What runs on the servers and on the pooler's host, and where it listens."""

import pytest
from testinfra.host import Host

testinfra_hosts = ["postgresql"]

# PostgreSQL's major version is the Debian release's own.
MAJOR_VERSIONS = {"bookworm": "15", "trixie": "17"}


def listens_on(host: Host, port: int) -> set[str]:
    """The addresses that the port is served on."""
    listening = host.check_output(
        "ss --listening --tcp --numeric --no-header 'sport = :%s' | awk '{print $4}'", str(port)
    )
    return {line.rpartition(":")[0] for line in listening.splitlines()}


def test_the_cluster_runs_starts_at_boot_and_listens_on_named_addresses_only(host: Host) -> None:
    service = host.service(f"postgresql@{MAJOR_VERSIONS[host.system_info.codename]}-main")
    assert service.is_running
    assert service.is_enabled
    assert listens_on(host, 5432) == {"127.0.0.1", host.interface("eth0").addresses[0]}


@pytest.fixture
def pooler(host: Host) -> Host:
    """The pooler's host of this server's cluster."""
    return host.get_host(f"docker://{str(host.backend.get_hostname())[:-3]}db1")


def test_the_pooler_runs_starts_at_boot_and_listens_on_named_addresses_only(pooler: Host) -> None:
    service = pooler.service("pgbouncer")
    assert service.is_running
    assert service.is_enabled
    assert listens_on(pooler, 6432) == {"127.0.0.1", pooler.interface("eth0").addresses[0]}
