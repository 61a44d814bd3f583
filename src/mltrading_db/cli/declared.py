"""What the files of the repository declare: a playbook's roles and tags, the roles' options, defaults and constants."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from mltrading_db.cli.environment import RefusedError
from mltrading_db.cli.inventory import templates_of
from mltrading_db.role_readme import specs_of


@dataclass(frozen=True)
class Served:
    """A role of a play, by its entry point, and the hosts that the play names."""

    role: str
    entry_point: str
    pattern: str


@cache
def read_once(path: Path) -> Any:
    """A YAML file by its real path."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def yaml_of(path: Path) -> Any:
    """A YAML file of the repository, which does not change while a command runs."""
    return read_once(path.resolve())


@cache
def served(playbook: Path) -> tuple[Served, ...]:
    """The roles that a playbook runs, those of the playbooks that it imports included."""
    found: list[Served] = []
    for play in yaml_of(playbook):
        if "ansible.builtin.import_playbook" in play:
            found += served(playbook.parent / play["ansible.builtin.import_playbook"])
            continue
        pattern = str(play["hosts"])
        found += [Served(role["role"], "main", pattern) for role in play.get("roles", [])]
        for task in play.get("tasks", []):
            role = task.get("ansible.builtin.import_role") or task.get("ansible.builtin.include_role")
            if role and "vars" not in task:
                found.append(Served(role["name"], role.get("tasks_from", "main"), pattern))
    return tuple(found)


@cache
def tags_of(playbook: Path) -> frozenset[str]:
    """The tags of a playbook: those of its roles and tasks, and of the playbooks that it imports."""
    found: set[str] = set()
    for play in yaml_of(playbook):
        if "ansible.builtin.import_playbook" in play:
            found |= tags_of(playbook.parent / play["ansible.builtin.import_playbook"])
        for one in (play, *play.get("roles", []), *play.get("pre_tasks", []), *play.get("tasks", [])):
            tags = one.get("tags", [])
            found |= {tags} if isinstance(tags, str) else set(tags)
    return frozenset(found)


@cache
def specs_of_role(role: Path) -> dict[str, Any]:
    """The entry points of a role with their options.

    Raises:
        RefusedError: the role does not say them, with what is missing.
    """
    try:
        return specs_of(role)
    except ValueError as error:
        raise RefusedError([str(error)]) from None


@cache
def options(project: Path, role: str, entry_point: str = "") -> dict[str, Any]:
    """The options of a role's entry point, or of all of them."""
    specs = specs_of_role(project / "roles" / role)
    wanted = [specs[entry_point]] if entry_point in specs else [] if entry_point else list(specs.values())
    return {name: option for spec in wanted for name, option in (spec.get("options") or {}).items()}


@cache
def defaults(project: Path) -> dict[str, Any]:
    """The defaults and constants of all roles, whose names begin with their role's; their texts are templates."""
    files = [path for place in ("defaults", "vars") for path in sorted(project.glob(f"roles/*/{place}/**/*.yml"))]
    return {key: value for path in files for key, value in (templates_of(path) or {}).items()}


@cache
def all_options(project: Path) -> dict[str, Any]:
    """The options of every role."""
    roles = sorted(path.parent.name for path in (project / "roles").glob("*/tasks"))
    return {name: option for role in roles for name, option in options(project, role).items()}
