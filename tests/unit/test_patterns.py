"""What a pattern lets through: `$` also stands before a newline at the end, so that none may end an input's pattern."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

PROJECT = Path(__file__).parents[2]
ROLES = PROJECT / "roles"
SIGNS = "twenty signs of ASCII"
PYTHON = [
    path
    for folder in ("src", "plugins", "roles", "playbooks")
    for path in sorted((PROJECT / folder).rglob("*"))
    if path.is_file() and (path.suffix == ".py" or path.read_bytes().startswith(b"#!/usr/bin/env python3"))
]
YAML = sorted(path for folder in ("roles", "playbooks") for path in (PROJECT / folder).rglob("*.yml"))
# Each pattern that a test of Ansible's takes: a literal that ends in $, or a constant that does.
OPEN = re.compile(r"""(?:match|search)'?[(,] *'[^']*\$'|^__\w+: ['"]?\^.*\$['"]?$""", re.MULTILINE)
# Lines of a host's answer that splitlines() has parted: there is no newline in them.
LINES = re.compile(r"stdout_lines \| select\('search'")


def init() -> None:
    """Have Ansible find the project's filters, as its commands do."""
    init_plugin_loader()


def ends_open(call: ast.Call) -> bool:
    """Whether a call of re is given a pattern that ends in $, and that is not of several lines."""
    of_re = (
        isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) and call.func.value.id == "re"
    )
    if not of_re or re.search(r"MULTILINE|\(\?m\)", ast.unparse(call)):
        return False
    pattern = call.args[0]
    text = pattern.value if isinstance(pattern, ast.Constant) else ast.unparse(pattern)
    return bool(re.search(r"(?<!\\)\$['\"]?\Z", str(text)))


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(PROJECT)))
def test_no_pattern_of_a_program_ends_before_a_newline(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Call) and ends_open(node)] == []


def test_no_pattern_of_a_role_ends_before_a_newline() -> None:
    found = [
        f"{path.relative_to(PROJECT)}: {line.strip()}"
        for path in YAML
        for line in path.read_text().splitlines()
        if OPEN.search(line) and not LINES.search(line)
    ]
    assert found == []


def problems(role: str, **given: Any) -> str:
    """What a role says of its inputs."""
    init()
    loader = DataLoader()
    loader.set_basedir(str(PROJECT))
    variables: dict[str, Any] = {"inventory_hostname": "db1", "ansible_facts": {}, "common_jobs_window": ""}
    for part in ("defaults", "vars"):
        variables |= loader.load_from_file(str(ROLES / role / part / "main.yml"), trusted_as_template=True)
    text = Templar(loader=loader, variables=variables | given).template(variables[f"__{role}_problems"])
    return str(text or "").strip()


def access(**role: Any) -> dict[str, Any]:
    """One role of postgresql_access."""
    return {"postgresql_access_roles": [{"name": "reader", "password": SIGNS, "databases": ["a"]} | role]}


POOLS = {"pgbouncer_databases": [{"name": "a", "host": "db1", "port": 5432}]}
CASES = [
    pytest.param("postgresql_access", access(), access(password=SIGNS + "\n"), id="password of a role"),
    pytest.param("postgresql_access", access(), access(name="reader\n"), id="name of a role"),
    pytest.param(
        "postgresql_access",
        access(networks=["10.0.0.0/24"]),
        access(networks=["10.0.0.0/24\n"]),
        id="network of a role",
    ),
    pytest.param(
        "pgbouncer",
        POOLS | {"pgbouncer_auth_password": SIGNS + '"'},
        POOLS | {"pgbouncer_auth_password": SIGNS + "\n"},
        id="password of the pooler",
    ),
]


@pytest.mark.parametrize(("role", "right", "wrong"), CASES)
def test_a_newline_at_the_end_is_refused(role: str, right: dict[str, Any], wrong: dict[str, Any]) -> None:
    assert problems(role, **right) == ""
    assert problems(role, **wrong) != ""
