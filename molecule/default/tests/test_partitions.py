"""A table is partitioned on a whole host, and Debian's own pg_partman makes its months: 4.7 on Debian 12, 5.2 on 13."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Play, Query
from testinfra.host import Host

# The primaries. A standby has all of it from them.
testinfra_hosts = ["pgbouncer"]

PROBE = Path(__file__).parent / "probe_partitions.yml"
PARTITIONS = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'probe_bars'::regclass"
NEWEST = "SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'probe_bars'::regclass"


@pytest.fixture
def bars(host: Host, query: Query) -> Iterator[None]:
    """A table with a year of rows; what the test has brought goes with it, and the site's own job is put back."""
    host.check_output("cp --archive /etc/mltrading-db/partitions.env /var/tmp/partitions.env")
    query("CREATE TABLE probe_bars (id bigserial PRIMARY KEY, at timestamptz NOT NULL)")
    query("INSERT INTO probe_bars (at) SELECT now() - n * interval '1 day' FROM generate_series(0, 364) n")
    yield
    for statement in ("DROP TABLE probe_bars", "DROP EXTENSION pg_partman", "DROP SCHEMA partman"):
        query(statement)
    host.check_output("mv /var/tmp/partitions.env /etc/mltrading-db/partitions.env")


@pytest.mark.usefixtures("bars")
def test_a_table_is_partitioned_where_it_is_confirmed_and_its_months_are_made(
    host: Host, play: Play, query: Query
) -> None:
    name = host.backend.get_hostname()
    unconfirmed = play(PROBE, "--limit", name)
    assert unconfirmed.returncode != 0
    assert f"-e partition_table_confirm={name}" in " ".join(unconfirmed.stdout.split())
    assert query("SELECT relkind FROM pg_class WHERE relname = 'probe_bars'") == "r"

    confirmed = play(PROBE, "--limit", name, variables={"probe_confirm": name})
    assert confirmed.returncode == 0, confirmed.stdout
    assert "The table was locked for" in confirmed.stdout
    assert query("SELECT count(*) FROM probe_bars") == "365"
    query(f"DROP TABLE {query(NEWEST)}")
    before = int(query(PARTITIONS))

    assert host.run("/usr/local/lib/mltrading-db/dbjob partitions").rc == 0
    assert int(query(PARTITIONS)) > before
    assert query("SELECT retention IS NULL AND retention_keep_table FROM partman.part_config") == "t"

    again = play(PROBE, "--limit", name)
    assert again.returncode == 0, again.stdout
    assert "Nothing is left to do" in again.stdout
    assert "changed=0" in again.stdout
