"""What must hold of every file of the repository."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[2]

# Spelled in two halves, so that this file does not hold what it looks for.
FORBIDDEN = [
    pytest.param(r"\|\|\s*tr" + r"ue\b", id="a command whose failure is swallowed"),
    pytest.param(r"\bignore_" + r"errors:", id="a task whose failure is swallowed"),
    pytest.param(r"(?<![\w.])/wor" + r"k/", id="a path of one machine"),
    pytest.param(r"BEGIN [A-Z ]*PRIVATE" + r" KEY", id="a private key"),
    pytest.param(r"(?i)\bPASSWORD '[^':%{]" + r"+'", id="a password in SQL"),
    pytest.param(r"\bPGPASS" + r"WORD:", id="a password in a task's environment"),
    pytest.param(r"\bpytest\.(mark\.)?(skip|x" + r"fail)", id="a test that may not run"),
    pytest.param(r"# no" + r"qa\s*$", id="a linter silenced without saying which rule"),
]
SECRET_NAME = re.compile(r"(password|passphrase|secret|token)$", re.IGNORECASE)

FOLDERS = [".ci", ".config", "docs", "inventories", "lab", "molecule", "playbooks", "plugins", "roles", "src", "tests"]
TARGETS = [
    "bench",
    "docs",
    "help",
    "lab",
    "lab-down",
    "lab-hosts",
    "lint",
    "report",
    "test",
    "test-fast",
    "test-faults",
]
ENVIRONMENTS = ["dev", "lab", "production", "staging"]


def repository_files() -> list[Path]:
    """Every text file that is, or is about to be, under version control."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in listed.stdout.splitlines() if (path := PROJECT / name).is_file()]


FILES = repository_files()
DOCUMENTS = [path for path in FILES if path.suffix in {".yml", ".yaml", ".example"} and path.name != "requirements.yml"]
TEXTS = {path: path.read_text() for path in FILES if path.suffix not in {".png", ".gz", ".parquet"}}


def literal_secrets(node: Any) -> list[str]:
    """The names below a YAML node that sound like a secret and hold a plain value."""
    if isinstance(node, list):
        return [name for item in node for name in literal_secrets(item)]
    if not isinstance(node, dict):
        return []
    here = [key for key, value in node.items() if SECRET_NAME.search(str(key)) and is_literal(value)]
    return here + [name for value in node.values() for name in literal_secrets(value)]


def is_literal(value: object) -> bool:
    """Whether a value could be used as a secret as it stands: neither empty, nor computed, nor a placeholder."""
    return isinstance(value, str) and value != "" and "{{" not in value and not value.startswith("CHANGE_ME")


def documents(path: Path) -> list[Any]:
    """The YAML documents of a file."""
    return list(yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_no_file_contains(pattern: str) -> None:
    expression = re.compile(pattern, re.MULTILINE)
    assert [str(path.relative_to(PROJECT)) for path, text in TEXTS.items() if expression.search(text)] == []


def test_no_yaml_file_holds_a_secret_in_clear_text() -> None:
    found = {path.relative_to(PROJECT): literal_secrets(documents(path)) for path in DOCUMENTS}
    assert {str(path): names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        pytest.param({"monitor_password": "abc"}, ["monitor_password"], id="a plain value"),
        pytest.param({"roles": [{"name": "a", "password": "abc"}]}, ["password"], id="a plain value in a list"),
        pytest.param({"monitor_password": "{{ vault_password }}"}, [], id="a reference"),
        pytest.param({"monitor_password": ""}, [], id="nothing"),
        pytest.param({"monitor_password": {"type": "str"}}, [], id="a specification"),
        pytest.param({"monitor_password": "CHANGE_ME (20 characters or more)"}, [], id="a placeholder"),
    ],
)
def test_a_secret_in_clear_text_is_recognised(node: dict[str, Any], expected: list[str]) -> None:
    assert literal_secrets(node) == expected


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_tree_has_its_folder(folder: str) -> None:
    assert any(path.is_relative_to(PROJECT / folder) for path in FILES)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_environment_has_hosts_and_variables(environment: str) -> None:
    folder = PROJECT / "inventories" / environment
    assert (folder / "hosts.yml").is_file()
    assert list(folder.glob("group_vars/*/*.yml"))


def test_the_makefile_offers_a_dozen_commands_at_most_each_with_its_help() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    targets = re.findall(r"^([a-z][a-z-]*):(?!=)(.*)$", makefile, flags=re.MULTILINE)
    assert [name for name, rest in targets if "## " not in rest] == []
    assert set(TARGETS) <= {name for name, _ in targets}
    assert len(targets) <= 12


def test_ansible_lint_runs_at_the_production_profile_and_skips_nothing() -> None:
    config = yaml.safe_load((PROJECT / ".config/ansible-lint.yml").read_text())
    assert (config["profile"], config["skip_list"], config["warn_list"]) == ("production", [], [])


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_inventory_holds_nothing_that_would_be_read_as_a_list_of_hosts(environment: str) -> None:
    folder = PROJECT / "inventories" / environment
    assert {path.name for path in folder.iterdir()} <= {"hosts.yml", "group_vars", "host_vars"}
