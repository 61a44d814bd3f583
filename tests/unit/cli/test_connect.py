"""How to connect is said at the end of an apply: each way as one conninfo, verified by name, without a password."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from mltrading_db.cli import connect
from mltrading_db.cli.environment import Environment
from mltrading_db.cli.inventory import load

SERVERS = connect.Servers(
    primary="db1",
    standbys=("db2", "db3"),
    port=5432,
    database="mltrading",
    poolers={"pool1": (6432, ("mltrading", "mltrading_ro"))},
    writer="mltrading_rw",
    reader="mltrading_ro",
    authority="/home/me/ca/ca.crt",
)
TLS = "sslmode=verify-full sslrootcert=/home/me/ca/ca.crt"


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        pytest.param(
            SERVERS,
            {
                "writes": f"host=db1,db2,db3 port=5432 dbname=mltrading user=mltrading_rw {TLS}"
                " target_session_attrs=read-write",
                "reads": f"host=db2,db3,db1 port=5432 dbname=mltrading user=mltrading_ro {TLS}"
                " target_session_attrs=prefer-standby",
                "writes, pooled": f"host=pool1 port=6432 dbname=mltrading user=mltrading_rw {TLS}",
                "reads, pooled": f"host=pool1 port=6432 dbname=mltrading_ro user=mltrading_ro {TLS}",
            },
            id="two standbys and a pooler",
        ),
        pytest.param(
            replace(SERVERS, standbys=(), poolers={}),
            {
                "writes": f"host=db1 port=5432 dbname=mltrading user=mltrading_rw {TLS}",
                "reads": f"host=db1 port=5432 dbname=mltrading user=mltrading_ro {TLS}",
            },
            id="a server alone",
        ),
    ],
)
def test_each_way_is_one_conninfo(servers: connect.Servers, said: dict[str, str]) -> None:
    assert {way.use: way.conninfo for way in connect.ways(servers)} == said


@pytest.mark.parametrize(
    ("value", "written"),
    [
        pytest.param("/home/me/ca.crt", "sslrootcert=/home/me/ca.crt", id="plain"),
        pytest.param("/home/my own/ca.crt", "sslrootcert='/home/my own/ca.crt'", id="a space"),
        pytest.param("/it's\\ca.crt", r"sslrootcert='/it\'s\\ca.crt'", id="a quote and a backslash"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_a_value_is_written_as_libpq_reads_it(value: str, written: str) -> None:
    assert connect.conninfo(sslrootcert=value) == written


def test_the_inventory_says_who_takes_writes_and_where_the_authority_is(environment: Environment) -> None:
    found = connect.servers_of(load(environment))
    assert found is not None
    assert (found.primary, found.standbys, found.port) == ("t-db1.example.net", ("t-db2.example.net",), 5432)
    assert found.poolers == {"t-pool1.example.net": (6432, ("mltrading", "mltrading_ro"))}
    assert found.authority.endswith("/.config/mltrading-db/trial/ca/ca.crt")


def test_an_own_authority_and_another_port_are_said(environment: Environment, put: Callable[[str, str], None]) -> None:
    put("all/zz.yml", "postgresql_port: 5433\ntls_provided_ca: /etc/own.crt\nmltrading_database: prices\n")
    found = connect.servers_of(load(environment))
    assert found is not None
    assert (found.port, found.authority, found.database) == (5433, "/etc/own.crt", "prices")


def test_no_password_is_said(environment: Environment) -> None:
    inventory = load(environment)
    found = connect.servers_of(inventory)
    assert found is not None
    text = "\n".join(connect.lines(list(connect.ways(found))))
    assert [secret for secret in inventory.secrets() if secret in text] == []
    assert all(line.startswith("  ") and 'psql "' in line for line in text.splitlines())


def test_what_only_the_hosts_know_is_not_said(environment: Environment, put: Callable[[str, str], None]) -> None:
    put("all/zz.yml", "postgresql_port: \"{{ ansible_facts['x'] }}\"\n")
    assert connect.servers_of(load(environment)) is None
