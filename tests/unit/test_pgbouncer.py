"""The pools that pgBouncer offers, rendered from the inventory's list of databases."""

import configparser
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader

SPEC = importlib.util.spec_from_file_location("pools", Path(__file__).parents[2] / "plugins/filter/pools.py")
assert SPEC is not None
assert SPEC.loader is not None
pools = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(pools)

TEMPLATES = Path(__file__).parents[2] / "roles/pgbouncer/templates"
PRIMARY = {"name": "mltrading", "host": "db1", "port": 5432}

CASES = [
    pytest.param([PRIMARY], {"mltrading": "host=db1 port=5432 dbname=mltrading"}, id="a-primary-alone"),
    pytest.param(
        [PRIMARY | {"read_only_hosts": ["db3", "db2"]}],
        {
            "mltrading": "host=db1 port=5432 dbname=mltrading",
            "mltrading_ro": "host=db2,db3 port=5432 dbname=mltrading",
        },
        id="a-primary-and-its-replicas",
    ),
]


@pytest.mark.parametrize(("databases", "expected"), CASES)
def test_the_replicas_are_offered_under_a_name_of_their_own(
    databases: list[dict[str, Any]], expected: dict[str, str]
) -> None:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), trim_blocks=True, autoescape=False)  # noqa: S701
    environment.filters["pool_hosts"] = pools.pool_hosts
    environment.filters["comment"] = lambda text, decoration: decoration + text
    rendered = environment.get_template("pgbouncer.ini.j2").render(
        ansible_managed="managed", pgbouncer_databases=databases, __pgbouncer_settings={"listen_port": 6432}
    )
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(rendered)
    assert dict(parser["databases"]) == expected
    assert parser["pgbouncer"]["listen_port"] == "6432"


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        pytest.param([], [], id="not-said"),
        pytest.param(["db1", "db2"], [], id="one-standby-has-its-own-name"),
        pytest.param(["db3", "db1", "db2"], ["db1,db2", "db2,db3"], id="two-standbys"),
        pytest.param(
            ["db1", "db2", "db3", "db4"],
            ["db1,db2", "db2,db3", "db2,db4", "db1,db2,db3", "db1,db2,db4", "db2,db3,db4"],
            id="three-standbys-and-one-fewer",
        ),
    ],
)
def test_a_certificate_carries_the_lists_that_its_server_may_be_on(servers: list[str], expected: list[str]) -> None:
    assert pools.pool_names(servers, "db2") == expected


def test_a_list_of_before_a_standby_came_is_still_carried() -> None:
    before = pools.pool_hosts(["db3", "db2"])
    assert all(before in pools.pool_names([f"db{n}" for n in range(1, 5)], host) for host in ("db2", "db3"))


@pytest.mark.parametrize(
    ("settings", "databases", "files"),
    [
        pytest.param({"max_client_conn": 100, "default_pool_size": 25}, 2, 1024, id="the-defaults"),
        pytest.param({"max_client_conn": 2000, "default_pool_size": 25}, 2, 5120, id="many-clients"),
        pytest.param(
            {"max_client_conn": "100", "default_pool_size": 100, "reserve_pool_size": 20}, 2, 3072, id="pools"
        ),
    ],
)
def test_open_files_follow_clients_and_pools(settings: dict[str, Any], databases: int, files: int) -> None:
    assert pools.pooler_open_files(settings, databases) == files
