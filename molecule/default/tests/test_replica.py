"""The standby: what is written on the primary is read there, and what may go wrong with it is survived or refused."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import psycopg2
import pytest
from conftest import SITE, Play, Query, eventually
from testinfra.host import Host

# The primaries; the fixture `standby` is the other host of the cluster.
testinfra_hosts = ["pgbouncer"]

POOLER = 6432
STANDBY = "runuser -u postgres -- /usr/local/lib/mltrading-db/standby.py"


@dataclass(frozen=True)
class Cluster:
    """The two servers, and plays over them."""

    primary: str
    standby: str
    run: Play

    def play(self, **variables: object) -> subprocess.CompletedProcess[str]:
        """What concerns the servers of the site, for this cluster alone."""
        limit = ("--limit", f"{self.primary},{self.standby}", "--tags", "postgresql,postgresql_replica")
        return self.run(SITE, *limit, variables=variables or None)


@pytest.fixture
def cluster(host: Host, standby: Host, play: Play) -> Cluster:
    """This primary's cluster."""
    return Cluster(str(host.backend.get_hostname()), str(standby.backend.get_hostname()), play)


@pytest.fixture
def data(standby: Host) -> str:
    """The standby's data directory."""
    return str(standby.check_output("ls -d /var/lib/postgresql/*/main"))


@pytest.fixture
def unit(data: str) -> str:
    """The unit of a server."""
    return f"postgresql@{data.split('/')[-2]}-main"


def receives(query: Query) -> bool:
    """Whether the standby that answers receives WAL."""
    return query("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'") == "1"


def test_a_row_written_on_the_primary_is_read_on_the_standby(query: Query, query_standby: Query) -> None:
    query("CREATE TABLE replica_probe AS SELECT 'written on the primary' AS mark", "mltrading")
    assert eventually(lambda: query_standby("SELECT to_regclass('replica_probe') IS NOT NULL", "mltrading") == "t")
    assert query_standby("SELECT mark FROM replica_probe", "mltrading") == "written on the primary"
    query("DROP TABLE replica_probe", "mltrading")


def test_the_pooler_s_read_only_database_reads_on_the_standby_and_refuses_writes(
    address: str, ca: str, secret: Callable[[str], str]
) -> None:
    login = {"host": address, "port": POOLER, "dbname": "mltrading_ro", "sslmode": "verify-full", "sslrootcert": ca}
    who = {"user": "mltrading_rw", "password": secret("mltrading_rw_password")}
    with closing(psycopg2.connect(**login, **who)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery(), count(*) > 0 FROM feature_engineered_data")
        assert cursor.fetchone() == (True, True)
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            cursor.execute("DELETE FROM feature_engineered_data")


def test_replication_is_encrypted_through_a_slot_of_its_own_with_bounded_wal(query: Query) -> None:
    seen = query(
        "SELECT s.ssl, r.state, l.slot_name = r.application_name, l.wal_status,"
        " current_setting('max_slot_wal_keep_size')"
        " FROM pg_stat_replication AS r JOIN pg_stat_ssl AS s USING (pid)"
        " JOIN pg_replication_slots AS l ON l.active_pid = r.pid"
    )
    assert seen == "t|streaming|t|reserved|8GB"


def test_the_standby_believes_the_primary_by_its_certificate_s_name_alone(
    cluster: Cluster, standby: Host, query_standby: Query, address: str
) -> None:
    conninfo = query_standby("SELECT conninfo FROM pg_stat_wal_receiver")
    assert "sslmode=verify-full" in conninfo
    kept = [part for part in conninfo.split() if part.startswith(("user=", "sslmode=", "sslrootcert=", "passfile="))]
    ask = "runuser -u postgres -- psql -XAt %s -c 'SHOW in_hot_standby'"
    by_name, by_another = (
        standby.run(ask, " ".join([*kept, f"host={name}", f"hostaddr={address}", "replication=true"]))
        for name in (cluster.primary, "nonesuch")
    )
    assert by_name.stdout.strip() == "off"
    assert 'does not match host name "nonesuch"' in by_another.stderr


def test_the_replicator_s_password_is_in_its_file_and_nowhere_else(standby: Host, secret: Callable[[str], str]) -> None:
    password = secret("replicator_password")
    places = "/var/log /tmp /etc /usr/local /var/lib/postgresql /var/lib/mltrading-db"
    assert standby.run(f"grep -rlF -- %s {places}", password).stdout.split() == [
        "/var/lib/postgresql/replicator.pgpass"
    ]
    assert standby.check_output("stat -c '%U %a' /var/lib/postgresql/replicator.pgpass") == "postgres 600"
    # Looked for here: a command that looked there would carry the password itself.
    processes = standby.run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ").stdout
    assert "walreceiver" in processes
    assert password not in processes


@pytest.fixture
def stale_slots(query: Query) -> Iterator[None]:
    """Slots of a standby that is no more, and of somebody else."""
    query("SELECT pg_create_physical_replication_slot(n) FROM unnest(ARRAY['replica_gone', 'others_gone']) AS n")
    yield
    query("SELECT pg_drop_replication_slot('others_gone')")


@pytest.mark.usefixtures("stale_slots")
def test_a_setting_that_a_standby_needs_grows_there_first_and_shrinks_there_last(
    cluster: Cluster, query: Query, query_standby: Query
) -> None:
    started = "SELECT extract(epoch FROM pg_postmaster_start_time())"

    run = cluster.play(postgresql_max_connections=210)
    assert run.returncode == 0, run.stdout
    assert (query("SHOW max_connections"), query_standby("SHOW max_connections")) == ("210", "210")
    assert float(query_standby(started)) < float(query(started))
    # The slot that is ours went with that run; the other's stayed.
    assert query("SELECT string_agg(slot_name, ',') FROM pg_replication_slots WHERE NOT active") == "others_gone"

    run = cluster.play()
    assert run.returncode == 0, run.stdout
    assert (query("SHOW max_connections"), query_standby("SHOW max_connections")) == ("200", "200")
    assert float(query(started)) < float(query_standby(started))
    assert receives(query_standby)


@pytest.fixture
def moved_aside(standby: Host, unit: str, data: str) -> Iterator[str]:
    """The standby, stopped and without its data directory; it is there again afterwards, if nothing else is."""
    aside = f"{data}.test"
    standby.check_output("systemctl stop %s && mv %s %s", unit, data, aside)
    yield aside
    standby.check_output("rm -rf %s", aside)


@pytest.mark.usefixtures("moved_aside")
def test_another_cluster_s_data_is_refused_and_a_killed_copy_is_begun_again(
    cluster: Cluster, standby: Host, query: Query, query_standby: Query, data: str
) -> None:
    identifier = "SELECT system_identifier FROM pg_control_system()"
    binaries = f"/usr/lib/postgresql/{data.split('/')[-2]}/bin"
    as_postgres = "runuser -u postgres --"
    standby.check_output(f"{as_postgres} {binaries}/initdb --pgdata={data}")
    control = standby.check_output(f"{binaries}/pg_controldata {data} | grep 'system identifier'")
    standby.check_output(f"touch {data}/postmaster.opts")

    run = cluster.play()
    said = " ".join(run.stdout.split())
    assert run.returncode != 0
    assert f"its data is of system {control.split()[-1]}, and the primary's of {query(identifier)}" in said
    assert "changed: [" not in run.stdout

    standby.check_output(f"mv {data} {data}.other")
    standby.check_output(
        f"({STANDBY} clone > /dev/null 2>&1 &) ; until [ -e {data}.clone/PG_VERSION ]; do sleep 0.01; done;"
        " pkill --signal KILL --full '^/usr/bin/python3 .*/standby.py clone'"
    )
    assert standby.run(f"ls {data}").rc != 0, "the copy was complete before it could be killed"

    run = cluster.play()
    assert run.returncode == 0, run.stdout
    assert eventually(lambda: receives(query_standby))
    assert query_standby(identifier) == query(identifier)
    assert standby.run(f"ls -d {data}.clone").rc != 0
    assert standby.file(f"{data}.other/PG_VERSION").exists
    standby.check_output(f"rm -rf {data}.other")


@pytest.fixture
def lost_slot(standby: Host, query: Query, unit: str) -> Iterator[None]:
    """A standby that finds no archive, and was away until the primary gave up keeping WAL for it."""
    # Not by ALTER SYSTEM: a run takes back what wins over a declared setting.
    standby.check_output("mv /usr/bin/pgbackrest /usr/bin/pgbackrest.away")
    standby.check_output("systemctl stop %s", unit)
    query("ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'")
    query("SELECT pg_reload_conf()")
    for _ in range(4):
        query("CREATE TABLE IF NOT EXISTS wal_probe AS SELECT 1; INSERT INTO wal_probe SELECT generate_series(1, 1000)")
        query("SELECT pg_switch_wal()")
    query("CHECKPOINT")
    assert query("SELECT string_agg(wal_status, ',') FROM pg_replication_slots") == "lost"
    yield
    standby.run("mv --no-clobber /usr/bin/pgbackrest.away /usr/bin/pgbackrest")
    query("ALTER SYSTEM RESET max_slot_wal_keep_size")
    query("SELECT pg_reload_conf()")
    query("DROP TABLE wal_probe")


@pytest.mark.usefixtures("lost_slot")
def test_a_standby_whose_slot_was_lost_says_so_and_comes_back_through_the_archive(
    cluster: Cluster, standby: Host, query: Query, query_standby: Query
) -> None:
    run = cluster.play(__postgresql_replica_patience=3)
    said = " ".join(run.stdout.split())
    assert run.returncode != 0
    assert f"{cluster.standby} receives no WAL from {cluster.primary}" in said
    assert f"promote_rejoin={cluster.standby}" in said

    standby.check_output("mv /usr/bin/pgbackrest.away /usr/bin/pgbackrest")
    run = cluster.play()
    assert run.returncode == 0, run.stdout
    assert eventually(lambda: receives(query_standby))
    assert query_standby("SELECT count(*) FROM wal_probe") == query("SELECT count(*) FROM wal_probe")
    assert query("SELECT string_agg(wal_status, ',') FROM pg_replication_slots") != "lost"
