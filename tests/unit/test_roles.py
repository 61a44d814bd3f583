"""Every role keeps to the one shape that docs/architecture.md describes."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from mltrading_db.role_readme import rendered

PROJECT = Path(__file__).parents[2]
ROLES = sorted(path for path in (PROJECT / "roles").iterdir() if path.is_dir())
PLAYBOOKS = sorted((PROJECT / "playbooks").glob("*.yml"))
# Files that a role writes. A template of a query is none, and PgBouncer's list of users knows no comments.
WRITTEN = [*PROJECT.glob("roles/*/templates/**/*.j2"), *PROJECT.glob("templates/**/*.j2")]
TEMPLATES = sorted(path for path in WRITTEN if path.name != "userlist.txt.j2" and not path.name.endswith(".sql.j2"))
TASK_FILES = sorted(PROJECT.glob("roles/*/tasks/**/*.yml"))

# What a contents page is made of.
IMPORTS = {f"ansible.builtin.{verb}_{what}" for verb in ("import", "include") for what in ("tasks", "role")}
# A playbook that describes a state carries a noun: a role's name, or one of these.
NOUNS = {path.name for path in ROLES} | {"site", "backup_repository"}
# A playbook that does something once carries a verb and a noun.
VERBS = {
    "check",
    "drill",
    "load",
    "measure",
    "partition",
    "promote",
    "rebuild",
    "record",
    "rejoin",
    "report",
    "restore",
    "rotate",
    "run",
    "take",
    "upgrade",
    "verify",
}

each_role = pytest.mark.parametrize("role", [pytest.param(path, id=path.name) for path in ROLES])
each_playbook = pytest.mark.parametrize("playbook", [pytest.param(path, id=path.stem) for path in PLAYBOOKS])
each_task_file = pytest.mark.parametrize(
    "file", [pytest.param(path, id=str(path.relative_to(PROJECT / "roles"))) for path in TASK_FILES]
)
each_template = pytest.mark.parametrize(
    "template", [pytest.param(path, id=str(path.relative_to(PROJECT))) for path in TEMPLATES]
)


def mappings(paths: list[Path]) -> dict[str, Any]:
    """The files' top-level mappings, merged."""
    return {key: value for path in paths for key, value in (yaml.safe_load(path.read_text()) or {}).items()}


@cache
def defaults(role: Path) -> dict[str, Any]:
    """The role's inputs: defaults/main.yml, or the files of defaults/main/."""
    return mappings(sorted([*role.glob("defaults/main.yml"), *role.glob("defaults/main/*.yml")]))


@cache
def entry_points(role: Path) -> dict[str, dict[str, Any]]:
    """The options of each entry point, by its name."""
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    return {name: spec.get("options", {}) for name, spec in specs.items()}


@cache
def options(role: Path) -> dict[str, dict[str, Any]]:
    """The options of all entry points together."""
    return {name: option for spec in entry_points(role).values() for name, option in spec.items()}


def is_template(value: object) -> bool:
    """Whether a default is computed, so that no specification can name its value."""
    return "{{" in str(value)


def strings(node: object) -> Iterator[str]:
    """Every string value below a YAML node; keys are names that are given, not read."""
    if isinstance(node, dict):
        for value in node.values():
            yield from strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from strings(value)
    elif isinstance(node, str):
        yield node


@cache
def expressions_of(role: Path) -> list[str]:
    """Every YAML value and every template expression of the role: where it reads variables."""
    yaml_files = [
        path for folder in ("tasks", "handlers", "vars", "defaults") for path in role.glob(f"{folder}/**/*.yml")
    ]
    read = [text for path in yaml_files for text in strings(yaml.safe_load(path.read_text()))]
    return read + [text for path in role.glob("templates/**/*.j2") for text in expressions(path.read_text())]


def names_read(role: Path) -> set[str]:
    """Every word among these: a superset of the variables that the role reads."""
    return {word for text in expressions_of(role) for word in re.findall(r"\b[a-z_][a-z0-9_]*\b", text)}


def expressions(template: str) -> list[str]:
    """What stands between a template's double braces and percent braces."""
    return re.findall(r"\{[{%].*?[%}]\}", template, flags=re.DOTALL)


def play_tasks(playbook: Path) -> list[dict[str, Any]]:
    """The tasks of a playbook's plays."""
    sections = ("pre_tasks", "tasks", "post_tasks", "handlers")
    return [task for play in yaml.safe_load(playbook.read_text()) for name in sections for task in play.get(name, [])]


@each_role
def test_every_default_is_specified(role: Path) -> None:
    assert set(defaults(role)) - set(options(role)) == set()


@each_role
def test_every_option_has_a_default_or_is_required_of_the_caller(role: Path) -> None:
    optional = {name for name, option in options(role).items() if not option.get("required", False)}
    assert optional - set(defaults(role)) == set()


@each_role
def test_what_is_required_has_no_default_but_an_empty_one(role: Path) -> None:
    required = {name for name, option in options(role).items() if option.get("required", False)}
    assert {name for name in required if defaults(role).get(name)} == set()


@each_role
def test_a_default_in_the_specification_is_the_one_in_defaults(role: Path) -> None:
    specified = {name: option["default"] for name, option in options(role).items() if "default" in option}
    found = {name: value for name, value in defaults(role).items() if name in specified and not is_template(value)}
    assert {name: specified[name] for name in found} == found


@each_role
def test_every_option_says_what_it_is(role: Path) -> None:
    assert [
        name for name, option in options(role).items() if not (option.get("description") and option.get("type"))
    ] == []


@each_role
def test_every_input_carries_the_roles_prefix(role: Path) -> None:
    names = set(defaults(role)) | set(options(role))
    assert {name for name in names if not name.startswith(f"{role.name}_")} == set()


@each_role
def test_every_constant_carries_the_roles_prefix_with_two_underscores(role: Path) -> None:
    constants = mappings(sorted(role.glob("vars/*.yml")))
    assert {name for name in constants if not name.startswith(f"__{role.name}_")} == set()


@each_role
def test_the_readme_is_what_make_docs_would_write(role: Path) -> None:
    assert (role / "README.md").read_text() == rendered(role)


@each_role
def test_the_tasks_fit_in_seven_files_beside_the_contents_page(role: Path) -> None:
    assert len([path for path in role.glob("tasks/**/*.yml") if path.name != "main.yml"]) <= 7


@each_role
def test_main_is_a_contents_page(role: Path) -> None:
    page = role / "tasks/main.yml"
    assert len(page.read_text().splitlines()) <= 40
    assert [task["name"] for task in yaml.safe_load(page.read_text()) if not IMPORTS & set(task)] == []


@each_role
def test_a_role_reads_no_other_roles_variables(role: Path) -> None:
    others = {name for other in ROLES if other != role for name in defaults(other)}
    assert names_read(role) & others == set()


@each_role
def test_a_role_names_no_inventory_group(role: Path) -> None:
    named = [
        name for text in expressions_of(role) for name in re.findall(r"\bgroups(?:\['|\.)(\w+)|\b(group_names)\b", text)
    ]
    assert {name or "group_names" for name, _ in named} <= {"all"}


@each_task_file
def test_a_task_file_fits_on_a_page(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 80


@each_template
def test_a_template_begins_by_saying_that_it_is_managed(template: Path) -> None:
    assert template.read_text().startswith("{{ ansible_managed | comment")


@each_playbook
def test_a_playbook_is_named_after_a_state_or_an_operation(playbook: Path) -> None:
    verb, _, noun = playbook.stem.partition("_")
    assert playbook.stem in NOUNS or (verb in VERBS and noun)


@each_playbook
def test_a_playbook_for_a_state_is_a_list_of_roles(playbook: Path) -> None:
    own_tasks = [task["name"] for task in play_tasks(playbook) if not IMPORTS & set(task)]
    assert own_tasks == [] or playbook.stem not in NOUNS


def test_only_a_host_whose_python_is_unknown_is_asked_by_raw() -> None:
    """A module never gets a terminal; over SSH raw may, and psql then starts a pager that waits for a key."""
    found = [path for path in [*TASK_FILES, *PLAYBOOKS] if "ansible.builtin.raw:" in path.read_text()]

    assert [str(path.relative_to(PROJECT)) for path in found] == ["playbooks/check_hosts.yml"]


def test_roles_and_playbooks_were_found() -> None:
    assert {"common", "mltrading", "pgbouncer", "postgresql", "tls"} <= {path.name for path in ROLES}
    assert {"site", "postgresql", "pgbouncer", "mltrading"} <= {path.stem for path in PLAYBOOKS}
    assert TEMPLATES
