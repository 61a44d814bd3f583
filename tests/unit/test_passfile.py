"""Password files, read as libpq reads them: whatever the password holds."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

PROJECT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("passfile", PROJECT / "plugins/filter/passfile.py")
assert SPEC is not None
assert SPEC.loader is not None
passfile = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(passfile)

PASSWORDS = [
    pytest.param("correct horse battery", id="plain"),
    pytest.param("rep:licator:password:20", id="colons"),
    pytest.param("rep\\licator\\password\\20", id="backslashes"),
    pytest.param(r"rep:li\cat:\or\:both\\::20", id="both"),
    pytest.param("ends in a backslash--\\", id="a backslash at the end"),
    pytest.param("{{ no }} $template 'of' \"ours\" #1", id="signs of others"),
]
# A role, its inputs but the password, the name of that, and the variable that holds the file.
FILES = [
    pytest.param("postgresql_replica", {}, "postgresql_replica_password", "__postgresql_replica_pgpass", id="standby"),
    pytest.param(
        "postgresql_maintenance",
        {"postgresql_maintenance_nodes": [{"name": "db2", "host": "fd00::2"}]},
        "postgresql_maintenance_node_password",
        "__postgresql_maintenance_passfile_text",
        id="maintenance",
    ),
]


@pytest.fixture(scope="module", autouse=True)
def plugins() -> None:
    """Have Ansible find the project's filters, as its commands do."""
    init_plugin_loader()


def fields(line: str) -> list[str]:
    """What libpq reads: a field ends at a colon without a backslash before it; a backslash is taken away."""
    found = re.findall(r"((?:\\.|[^:\\])*)(?::|\Z)", line)
    return [re.sub(r"\\(.)", r"\1", field) for field in found[:5]]


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_line_is_read_back_as_it_was_meant(password: str) -> None:
    line = passfile.pgpass_line(password, "fd00::1", 5432, "trading", "monitor")
    assert fields(line) == ["fd00::1", "5432", "trading", "monitor", password]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize(("role", "given", "name", "file"), FILES)
def test_a_roles_file_holds_the_password(role: str, given: dict[str, Any], name: str, file: str, password: str) -> None:
    loader = DataLoader()
    loader.set_basedir(str(PROJECT))
    variables: dict[str, Any] = {"inventory_hostname": "db1"}
    for part in ("defaults", "vars"):
        path = str(PROJECT / "roles" / role / part / "main.yml")
        variables |= loader.load_from_file(path, trusted_as_template=True)
    variables |= {**given, name: password}
    text = Templar(loader=loader, variables=variables).template(variables[file])
    [line] = [line for line in text.splitlines() if not line.startswith("#")]
    assert fields(line)[4] == password


def test_every_password_file_is_written_by_the_filter() -> None:
    written = [
        line
        for path in (*PROJECT.glob("roles/*/vars/*.yml"), *PROJECT.glob("roles/*/templates/*"))
        for line in path.read_text().splitlines()
        if re.search(r"password.*replace.*:", line)
    ]
    assert written == []


@pytest.mark.parametrize("password", ["two\nlines", "a return\r"])
def test_what_no_line_can_carry_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="monitor at db1"):
        passfile.pgpass_line(password, "db1", 5432, "trading", "monitor")
