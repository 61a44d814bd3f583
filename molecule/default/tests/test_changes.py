"""What happens to a change: a wrong one is refused before anything is touched, a lost one taken up by the next run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import SITE, Play, Query
from testinfra.host import Host

# The primaries: what befalls a setting there may befall it anywhere.
testinfra_hosts = ["pgbouncer"]

RELEASES = ("bookworm", "trixie")

REFUSED = [
    pytest.param(
        {"postgresql_listen_addresses": ["*"]}, "postgresql_listen_addresses (*) names addresses", id="a-wildcard"
    ),
    pytest.param({"postgresql_primary": "nonesuch"}, "postgresql_primary ('nonesuch')", id="an-unknown-primary"),
    pytest.param({"postgresql_settings": {"fsync": "off"}}, "postgresql_settings leaves out", id="a-guarded-setting"),
    pytest.param({"postgresql_settings": {"work_mem": "plenty"}}, "work_mem", id="a-wrong-value"),
    pytest.param({"postgresql_port": 5433}, "on port 5432, and the inventory asks for", id="another-port"),
    pytest.param({"common_environment": "other"}, "is recorded as a host of 'test'", id="another-environment"),
    pytest.param(
        {"mltrading_rw_password": "short"},
        "role 'mltrading_rw': its password is missing, shorter",
        id="a-short-password",
    ),
    pytest.param(
        {"mltrading_client_networks": ["0.0.0.0/0"]}, "network '0.0.0.0/0' is not an address", id="the-whole-world"
    ),
    pytest.param({"pgbouncer_auth_password": ""}, "pgbouncer_auth_password is missing", id="no-password"),
]


@pytest.mark.parametrize(("variables", "message"), REFUSED)
def test_a_wrong_input_is_refused_with_its_reason_and_nothing_changes(
    play: Play, variables: dict[str, object], message: str
) -> None:
    run = play(SITE, variables=variables)
    said = " ".join((run.stdout + run.stderr).split())
    assert run.returncode != 0
    assert message in said
    assert all(f"{release}-" in said for release in RELEASES)
    assert "changed: [" not in run.stdout


@pytest.fixture
def lost_settings(host: Host) -> Iterator[None]:
    """A drop-in that a play wrote before it was killed: one setting to reload, one that needs a restart."""
    drop_in = "/etc/postgresql/*/main/conf.d/90-lost.conf"
    folder = host.check_output("echo /etc/postgresql/*/main/conf.d")
    host.check_output(
        "printf '%%s\\n' \"work_mem = '12345kB'\" \"max_files_per_process = '1100'\" > %s/90-lost.conf"
        " && chown postgres: %s/90-lost.conf",
        folder,
        folder,
    )
    yield
    host.check_output(f"rm -f {drop_in}")


@pytest.mark.usefixtures("lost_settings")
def test_what_a_killed_play_left_in_the_files_is_taken_up_by_the_next_run(host: Host, play: Play, query: Query) -> None:
    limit = ("--limit", host.backend.get_hostname(), "--tags", "postgresql")
    assert query("SHOW max_files_per_process") == "1000"
    run = play(SITE, *limit)
    assert run.returncode == 0, run.stdout
    assert (query("SHOW work_mem"), query("SHOW max_files_per_process")) == ("12345kB", "1100")

    host.check_output("rm /etc/postgresql/*/main/conf.d/90-lost.conf && touch /etc/postgresql/*/main/conf.d/10-*.conf")
    run = play(SITE, *limit)
    assert run.returncode == 0, run.stdout
    assert query("SHOW max_files_per_process") == "1000"


def test_rules_that_the_server_refuses_are_put_back_and_named(host: Host, play: Play, query: Query) -> None:
    rules = "cat /etc/postgresql/*/main/pg_hba.conf"
    before = host.check_output(rules)
    run = play(Path(__file__).parent / "probe_access.yml", "--limit", host.backend.get_hostname())
    query("DROP ROLE probe")
    assert run.returncode != 0
    assert "the server refuses pg_hba.conf line" in " ".join(run.stdout.split())
    assert host.check_output(rules) == before
    assert query("SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL") == "0"
    assert host.check_output("ls /etc/postgresql/*/main/pg_hba.d | grep -v '~$'").split() == [
        "00-cluster.conf",
        "50-mltrading.conf",
        "50-monitoring.conf",
        "50-pgbouncer.conf",
        "50-probe.conf.refused",
        "99-reject.conf",
    ]
    host.check_output("rm /etc/postgresql/*/main/pg_hba.d/50-probe.conf.refused")
