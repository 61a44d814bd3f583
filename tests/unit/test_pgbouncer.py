"""The pools that pgBouncer offers, rendered from the inventory's list of databases."""

import configparser
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader

TEMPLATES = Path(__file__).parents[2] / "roles/pgbouncer/templates"
PRIMARY = {"name": "mltrading", "host": "db1", "port": 5432}

CASES = [
    pytest.param([PRIMARY], {"mltrading": "host=db1 port=5432 dbname=mltrading"}, id="a-primary-alone"),
    pytest.param(
        [PRIMARY | {"read_only_hosts": ["db2", "db3"]}],
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
    environment.filters["comment"] = lambda text, decoration: decoration + text
    rendered = environment.get_template("pgbouncer.ini.j2").render(
        ansible_managed="managed", pgbouncer_databases=databases, __pgbouncer_settings={"listen_port": 6432}
    )
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(rendered)
    assert dict(parser["databases"]) == expected
    assert parser["pgbouncer"]["listen_port"] == "6432"
