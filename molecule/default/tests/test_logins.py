"""Who may log in where: each role that may does, over the pooler and beside it, and each that may not is refused."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from conftest import SITE, Play, Query
from testinfra.host import Host

# The pooler is on the primary's host.
testinfra_hosts = ["pgbouncer"]

Login = Callable[..., str]

SERVER, POOLER = 5432, 6432


@pytest.fixture
def login(address: str, ca: str, secret: Callable[[str], str]) -> Login:
    """Logs in from the controller and returns who the server says it is."""

    def connect(role: str, port: int, **changes: str) -> str:
        parameters = {
            "host": address,
            "port": str(port),
            "user": role,
            "password": secret(f"{role}_password"),
            "dbname": "mltrading",
            "sslmode": "verify-full",
            "sslrootcert": ca,
            "connect_timeout": "10",
        } | changes
        with closing(psycopg2.connect(**parameters)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_user, count(*) FROM models")
            row = cursor.fetchone()
            assert row is not None
            return str(row[0])

    return connect


@pytest.fixture
def expired_role(query: Query) -> Iterator[str]:
    """A role that could read the database until yesterday, by rights and password those of mltrading_ro."""
    query(
        "CREATE ROLE mltrading_expired LOGIN VALID UNTIL 'yesterday' IN ROLE mltrading_ro;"
        "UPDATE pg_authid SET rolpassword = (SELECT rolpassword FROM pg_authid WHERE rolname = 'mltrading_ro')"
        " WHERE rolname = 'mltrading_expired'"
    )
    yield "mltrading_expired"
    query("DROP ROLE mltrading_expired")


MAY = [
    pytest.param("mltrading_rw", SERVER, id="read-write-at-the-server"),
    pytest.param("mltrading_rw", POOLER, id="read-write-at-the-pooler"),
    pytest.param("mltrading_ro", SERVER, id="read-only-at-the-server"),
    pytest.param("mltrading_ro", POOLER, id="read-only-at-the-pooler"),
]


@pytest.mark.parametrize(("role", "port"), MAY)
def test_a_role_that_may_logs_in_over_verified_tls(login: Login, role: str, port: int) -> None:
    assert login(role, port) == role


MAY_NOT = [
    pytest.param("mltrading_rw", {"password": "wrong-password-of-20-characters"}, id="wrong-password"),
    pytest.param("mltrading_rw", {"password": ""}, id="no-password"),
    pytest.param("mltrading_rw", {"sslmode": "disable"}, id="no-tls"),
    pytest.param("mltrading_rw", {"dbname": "nonesuch"}, id="unknown-database"),
    pytest.param("mltrading_rw", {"dbname": "postgres"}, id="another-database"),
    pytest.param("mltrading_rw", {"dbname": "template1"}, id="template-database"),
    pytest.param("mltrading_rw", {"user": "nobody"}, id="unknown-role"),
    pytest.param("mltrading_rw", {"user": "postgres"}, id="superuser"),
    pytest.param("mltrading_rw", {"user": "mltrading_owner"}, id="the-owner"),
    pytest.param("replicator", {}, id="the-replicator"),
    pytest.param("mltrading_rw", {"dbname": "pgbouncer"}, id="the-pooler-s-console"),
    pytest.param("mltrading_rw", {"dbname": "pgbouncer", "user": "pgbouncer", "password": ""}, id="the-console-s-user"),
    pytest.param("mltrading_ro", {"user": "mltrading_expired"}, id="expired"),
]


@pytest.mark.usefixtures("expired_role")
@pytest.mark.parametrize("port", [pytest.param(SERVER, id="server"), pytest.param(POOLER, id="pooler")])
@pytest.mark.parametrize(("role", "changes"), MAY_NOT)
def test_a_role_that_may_not_is_refused(login: Login, role: str, port: int, changes: dict[str, str]) -> None:
    with pytest.raises(psycopg2.OperationalError):
        login(role, port, **changes)


def test_the_pooler_is_not_told_the_secret_of_an_expired_role(query: Query, expired_role: str) -> None:
    told = "SELECT count(*) FROM pgbouncer.get_auth('mltrading_expired')"
    assert query(told, "mltrading") == "0"
    query(f"ALTER ROLE {expired_role} VALID UNTIL 'infinity'")
    assert query(told, "mltrading") == "1"


def test_the_authentication_role_reads_no_table(login: Login) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        login("pgbouncer_auth", SERVER)


def test_another_authority_is_not_believed(login: Login, foreign_ca: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
        login("mltrading_rw", SERVER, sslrootcert=foreign_ca)


def test_every_network_session_is_encrypted(login: Login, query: Query) -> None:
    login("mltrading_rw", POOLER)
    unencrypted = query(
        "SELECT count(*) FROM pg_stat_activity AS a JOIN pg_stat_ssl AS s USING (pid)"
        " WHERE a.client_addr IS NOT NULL AND NOT s.ssl"
    )
    assert unencrypted == "0"


def test_the_pool_is_the_guide_s(host: Host) -> None:
    shown = host.check_output(
        "runuser -u pgbouncer -- psql -X -A -t -F= -h /run/pgbouncer -p 6432 -U pgbouncer pgbouncer -c 'SHOW CONFIG'"
    )
    values = dict(line.split("=")[:2] for line in shown.splitlines())
    expected = {"listen_port": "6432", "pool_mode": "session", "max_client_conn": "100", "default_pool_size": "25"}
    assert {name: values[name] for name in expected} == expected


@pytest.fixture
def own_certificate(host: Host, address: str, foreign_ca: str, tmp_path: Path) -> dict[str, str]:
    """The variables of a certificate for this host that another authority signed."""
    key, certificate, folder = tmp_path / "own.key", tmp_path / "own.crt", Path(foreign_ca).parent
    name = host.backend.get_hostname()
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},DNS:localhost,IP:{address}"]
    signed = ["-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-keyout", key, "-out", certificate]
    subprocess.run([*command.split(), *names, *signed], check=True, capture_output=True)
    return {
        "tls_provided_certificate": str(certificate),
        "tls_provided_key": str(key),
        "tls_provided_ca": foreign_ca,
    }


def test_a_certificate_that_is_brought_along_is_served(
    host: Host, play: Play, login: Login, foreign_ca: str, own_certificate: dict[str, str]
) -> None:
    limit = ("--limit", str(host.backend.get_hostname()), "--tags", "postgresql")
    run = play(SITE, *limit, variables=own_certificate)
    assert run.returncode == 0, run.stdout
    assert login("mltrading_ro", SERVER, sslrootcert=foreign_ca) == "mltrading_ro"
    with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
        login("mltrading_ro", SERVER)

    run = play(SITE, *limit)
    assert run.returncode == 0, run.stdout
    assert login("mltrading_ro", SERVER) == "mltrading_ro"
