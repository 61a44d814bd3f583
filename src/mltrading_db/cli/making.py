"""What a run of all roles makes of a host, as far as the inventory says it: databases, roles, jobs, files.

A plan says so of a blank host, where a check sees files alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mltrading_db.cli.declared import defaults
from mltrading_db.cli.expressions import every_task
from mltrading_db.cli.inventory import Inventory, templates_of
from mltrading_db.cli.problems import Place, Walk, each, whole_run


@dataclass
class Making:
    """What a host gets: databases and their owners, roles in words, jobs and their schedules, entries of the pooler."""

    databases: dict[str, str] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    pooled: list[str] = field(default_factory=list)


def making(inventory: Inventory, host: str) -> Making:
    """What a run of all roles makes of a host."""
    made = Making()
    for include, place in whole_run(Walk(inventory, host, set(), set())):
        role, entry = include.get("name"), include.get("tasks_from", "main")
        if role == "postgresql_access" and entry == "main":
            made.databases.update(
                (str(name), str(owner))
                for name, owner in each(inventory, place, "postgresql_access_databases", "name", "owner")
            )
            for name, login, state, groups in each(
                inventory, place, "postgresql_access_roles", "name", "login", "state", "member_of"
            ):
                words = ["cannot log in" if login is False else "may log in", *(f"a member of {one}" for one in groups)]
                made.roles.update({str(name): ", ".join(words)} if state != "absent" else {})
        elif role == "common" and entry == "jobs":
            made.jobs.update((str(n), str(s)) for n, s in each(inventory, place, "common_jobs", "name", "schedule"))
        elif role == "pgbouncer" and entry == "main":
            made.pooled = [str(name) for (name,) in each(inventory, place, "pgbouncer_databases", "name")]
    return made


def files_of(inventory: Inventory, host: str, role: str, name: str) -> str:
    """The files that a task of a role writes, by the task itself: of one that holds a secret a run says nothing."""
    project = inventory.environment.project
    variables = {**defaults(project), **inventory.variables[host], "role_path": str(project / "roles" / role)}
    for path in sorted((project / "roles" / role / "tasks").glob("*.yml")):
        for task in every_task(templates_of(path) or []):
            if task.get("name") != name:
                continue
            if "ansible.builtin.copy" in task:
                return str(inventory.rendered(task["ansible.builtin.copy"].get("dest", ""), variables))
            if "host_files" in task:
                found = each(
                    inventory, Place(role, {**variables, "files": task["host_files"]["files"]}), "files", "path"
                )
                return f"of {', '.join(str(one) for (one,) in found)}" if found else ""
    return ""
