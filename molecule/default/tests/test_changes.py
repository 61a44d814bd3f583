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
    pytest.param({"postgresql_settings": {"wrok_mem": "5MB"}}, 'configuration parameter "wrok_mem"', id="mistyped"),
    pytest.param({"postgresql_settings": {"huge_pages": "on"}}, "huge pages are needed", id="no-huge-pages"),
    pytest.param({"postgresql_settings": {"shared_buffers": "900GB"}}, "of shared memory are needed", id="no-memory"),
    pytest.param({"postgresql_settings": {"wal_level": "minimal"}}, "WAL archival cannot be enabled", id="minimal-wal"),
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
        "printf '%%s\\n' \"vacuum_cost_limit = '345'\" \"max_files_per_process = '1100'\" > %s/90-lost.conf"
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
    assert (query("SHOW vacuum_cost_limit"), query("SHOW max_files_per_process")) == ("345", "1100")

    host.check_output("rm /etc/postgresql/*/main/conf.d/90-lost.conf && touch /etc/postgresql/*/main/conf.d/10-*.conf")
    run = play(SITE, *limit)
    assert run.returncode == 0, run.stdout
    assert query("SHOW max_files_per_process") == "1000"


@pytest.fixture
def later_file(host: Host) -> Iterator[str]:
    """A file of somebody's own that wins over a declared setting."""
    path = host.check_output("echo /etc/postgresql/*/main/conf.d") + "/99-hand.conf"
    host.check_output('echo "log_lock_waits = off" > %s && chown postgres: %s', path, path)
    yield path
    host.check_output("rm -f %s", path)


def test_alter_system_of_a_declared_setting_is_shown_and_reset(host: Host, play: Play, query: Query) -> None:
    limit = ("--limit", host.backend.get_hostname(), "--tags", "postgresql")
    query("ALTER SYSTEM SET log_lock_waits = off")
    checked = play(SITE, *limit, "--check", "--diff")
    assert "-log_lock_waits = 'off'" in checked.stdout
    assert "log_lock_waits" in host.check_output("cat /var/lib/postgresql/*/main/postgresql.auto.conf")
    run = play(SITE, *limit)
    assert run.returncode == 0, run.stdout
    assert query("SHOW log_lock_waits") == "on"


def test_a_later_file_that_wins_is_refused_by_its_name(host: Host, play: Play, later_file: str) -> None:
    run = play(SITE, "--limit", host.backend.get_hostname(), "--tags", "postgresql")
    assert run.returncode != 0
    assert f"{later_file} line 1 wins with 'off'" in " ".join(run.stdout.replace("''", "'").split())


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
