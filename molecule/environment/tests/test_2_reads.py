"""Reads are spread over the standbys, each verified by its name, and a standby that dies costs seconds."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from conftest import NAME, address, container
from controller import Controller, command

pytestmark = [pytest.mark.core, pytest.mark.timeout(600)]

STANDBYS = ("db2", "db3")
ANSWERED_BY = """
SELECT host(inet_server_addr()), pg_is_in_recovery(), ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()
"""


def secret(anna: Controller, name: str) -> str:
    """A secret of the environment's vault."""
    vault = anna.checkout / f"inventories/{NAME}/group_vars/all/vault.yml"
    key = anna.home / f".config/mltrading-db/{NAME}/vault_password"
    text = command("ansible-vault", "view", vault, "--vault-password-file", key, env=anna.environment())
    return next(line.split(": ", 1)[1].strip("'\"") for line in text.splitlines() if line.startswith(f"{name}:"))


@pytest.fixture(scope="module")
def login(anna: Controller) -> dict[str, object]:
    """How a reader reaches the pooler, whose name it verifies."""
    return {
        "host": "pool1",
        "hostaddr": address("pool1"),
        "port": 6432,
        "dbname": "mltrading_ro",
        "user": "mltrading_ro",
        "password": secret(anna, "mltrading_ro_password"),
        "sslmode": "verify-full",
        "sslrootcert": str(anna.home / f".config/mltrading-db/{NAME}/ca/ca.crt"),
        "connect_timeout": 60,
    }


def servers(login: dict[str, object], times: int) -> Counter[str]:
    """The addresses of the servers that so many reads at once were answered by."""
    connections = [psycopg2.connect(**login) for _ in range(times)]
    found: Counter[str] = Counter()
    for connection in connections:
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(ANSWERED_BY)
            ((server, follows, encrypted),) = cursor.fetchall()
            assert (follows, encrypted) == (True, True)
            found[str(server)] += 1
    return found


@pytest.fixture
def dead() -> Iterator[str]:
    """A standby whose host is gone, and comes back."""
    subprocess.run(["docker", "pause", container("db3")], check=True, capture_output=True)
    yield "db3"
    subprocess.run(["docker", "unpause", container("db3")], check=True, capture_output=True)


def test_reads_are_spread_over_both_standbys(login: dict[str, object]) -> None:
    found = servers(login, 12)
    assert set(found) == {address(host) for host in STANDBYS}


def test_a_standby_that_is_gone_leaves_the_reads_to_the_other(login: dict[str, object], dead: str) -> None:
    assert dead not in {host for host in STANDBYS if address(host) in servers(login, 4)}
