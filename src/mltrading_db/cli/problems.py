"""What the roles themselves refuse, asked before anything runs: their assertions, with the variables of each host.

No host is asked. The way to an assertion is the one that a run takes: the roles of playbooks/site.yml and what they
include, with the variables that they are given. An assertion, or one part of a list of problems, is left to the host
where it, a condition on the way to it, or anything that it refers to has a name that only a run knows (`RUNTIME`,
`run_names`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from mltrading_db.cli.declared import all_options, defaults
from mltrading_db.cli.expressions import REFERENCE, WORD, every_task, listed, names_in, referred, segments
from mltrading_db.cli.inventory import Inventory, Undefined, templates_of
from mltrading_db.cli.server_settings import problems as setting_problems

# What Ansible knows of a host or of a task once it runs.
RUNTIME = {"ansible_facts", "ansible_local", "ansible_failed_result", "ansible_failed_task"}
# True before anything ran, whatever the name: it says that a question is asked once.
NOT_ASKED_YET = re.compile(r"\b[A-Za-z_]\w* is not defined\b")
LOOP = re.compile(r"(?:\{%-? set [^{]*%\}\s*)*\{%-?\s*for \w+ in (\w+)\s")
# How assertions name a list of sentences, of which each is a problem.
PROBLEMS = re.compile(r"\b__\w+_problems\b")
INCLUDES = ("ansible.builtin.include_role", "ansible.builtin.import_role")
TASK_FILES = ("ansible.builtin.include_tasks", "ansible.builtin.import_tasks")
ASSERT = "ansible.builtin.assert"


@dataclass(frozen=True)
class Place:
    """Where a walk is: the role, and all variables as a task there has them."""

    role: str
    variables: dict[str, Any]


@dataclass(frozen=True)
class Walk:
    """One host's way through the roles, and what was said of it before: names in it are not said again."""

    inventory: Inventory
    host: str
    seen: set[tuple[str, str]]
    said: set[str]


@cache
def run_names(project: Path) -> frozenset[str]:
    """The names that tasks give to what they find: registered, or set."""
    found: set[str] = set()
    for path in sorted(project.glob("roles/*/tasks/*.yml")):
        for task in every_task(templates_of(path) or []):
            found |= {str(task["register"])} if "register" in task else set()
            found |= {str(name) for name in task.get("ansible.builtin.set_fact") or {}}
    return frozenset(found)


def waits(names: set[str], place: Place, project: Path) -> bool:
    """Whether something with these names can be told on the host alone."""
    unknown = RUNTIME | (run_names(project) | {"item"}) - place.variables.keys()
    return bool(referred(names, place.variables) & unknown)


def elements(part: str, place: Place) -> Iterator[Place]:
    """A part that goes over a variable's list is asked for each element by itself, so that one does not hide others."""
    found = LOOP.match(part)
    name = found[1] if found else ""
    value = place.variables.get(name)
    while isinstance(value, str) and (given := REFERENCE.fullmatch(value)):
        value = place.variables.get(given[1])
    if not isinstance(value, list):
        yield place
        return
    for one in value:
        yield replace(place, variables={**place.variables, name: [one]})


def asked(ask: Callable[[Any, dict[str, Any]], Any], text: Any, names: set[str], walk: Walk, place: Place) -> Any:
    """What a template or a condition comes to, worked out once for all hosts of which it reads the same."""
    read = sorted((referred(names, place.variables) & place.variables.keys()) - {"hostvars", "groups"})
    key = (ask.__name__, str(text), *((name, repr(place.variables[name])) for name in read))
    if key not in walk.inventory.memo:
        walk.inventory.memo[key] = ask(text, place.variables)
    return walk.inventory.memo[key]


def sentences(name: str, walk: Walk, place: Place) -> Iterator[str | Undefined]:
    """What a list of problems says, without what is left to the host or about what was said before."""
    project = walk.inventory.environment.project

    def is_open(names: set[str], one: Place) -> bool:
        return waits(names, one, project) or bool(referred(names, one.variables) & walk.said)

    value = place.variables.get(name, "")
    for part in segments(value) if isinstance(value, str) else []:
        names = names_in(part)
        whole = None if is_open(names, place) else asked(walk.inventory.rendered, part, names, walk, place)
        if whole is None or isinstance(whole, Undefined):
            places = [one for one in elements(part, place) if not is_open(names, one)]
            answers = [asked(walk.inventory.rendered, part, names, walk, one) for one in places]
        else:
            answers = [whole]
        for found in answers:
            if isinstance(found, Undefined):
                yield found
            elif isinstance(found, list):
                yield from map(str, found)
            else:
                # A sentence may go over lines, and ends with a full stop.
                yield from (" ".join(one.split()) for one in re.split(r"(?<=\.)\n", str(found or "")) if one.strip())


def subject(name: str, place: Place, project: Path) -> str:
    """The variable that a list of problems is about, if it is about one: the one that a person sets."""
    read = names_in(place.variables.get(name)) & all_options(project).keys()
    if len(read) != 1:
        return ""
    option = read.pop()
    given = REFERENCE.fullmatch(str(place.variables.get(option, "")))
    return given[1] if given else option


def plain(text: str, host: str) -> str:
    """A sentence without the host at its beginning, which the line ends with: many hosts say the same."""
    said = re.sub(rf"\A{re.escape(host)}: ", "", " ".join(text.split()))
    return re.sub(rf"\A{re.escape(host)} ", "it ", said)


def refused(task: dict[str, Any], walk: Walk, place: Place) -> Iterator[str]:
    """What an assertion has against the variables, a line each."""
    project = walk.inventory.environment.project
    details = task[ASSERT]
    whole = False
    for condition in listed(details["that"]):
        lists = PROBLEMS.findall(str(condition))
        for name in lists:
            about = subject(name, place, project)
            for sentence in sentences(name, walk, place):
                if isinstance(sentence, Undefined):
                    yield from failed(sentence, walk)
                else:
                    yield f"{about}: {sentence}" if about and about not in sentence else sentence
        names = names_in(condition, bare=True)
        if lists or waits(names, place, project) or referred(names, place.variables) & walk.said:
            continue
        found = asked(walk.inventory.holds, condition, names, walk, place)
        if isinstance(found, Undefined):
            yield from failed(found, walk)
        whole |= found is False
    if whole:
        said = walk.inventory.rendered(details["fail_msg"], place.variables)
        yield plain(said, walk.host) if isinstance(said, str) else f"'{details['that']}' does not hold"


def failed(found: Undefined, walk: Walk) -> Iterator[str]:
    """A check that the variables do not let be made, unless what it needs is said already."""
    if not set(WORD.findall(found.reason)) & walk.said:
        yield found.reason


def reached(task: dict[str, Any], walk: Walk, place: Place) -> bool:
    """Whether a run comes to a task, as far as that can be told from here."""
    project = walk.inventory.environment.project
    for condition in listed(task.get("when")):
        names = names_in(NOT_ASKED_YET.sub("true", str(condition)), bare=True)
        if waits(names, place, project) or asked(walk.inventory.holds, condition, names, walk, place) is not True:
            return False
    return True


def turns(task: dict[str, Any], walk: Walk, place: Place) -> Iterator[Place]:
    """The places of a task's turns: one, or one for each item of its loop."""
    inner = replace(place, variables={**place.variables, **(task.get("vars") or {})})
    if "loop" not in task:
        yield inner
        return
    if waits(names_in(task["loop"]), inner, walk.inventory.environment.project):
        return
    items = walk.inventory.rendered(task["loop"], inner.variables)
    name = (task.get("loop_control") or {}).get("loop_var", "item")
    for item in items if isinstance(items, list) else []:
        yield replace(inner, variables={**inner.variables, name: item})


def stops(tasks: list[dict[str, Any]], walk: Walk, place: Place) -> Iterator[tuple[dict[str, Any], Place]]:
    """The assertions of tasks and the roles that they include, and so on within these, each with its variables."""
    project = walk.inventory.environment.project
    for task in tasks:
        if not leads(task, place.role, project) or not reached(task, walk, place):
            continue
        for inner in turns(task, walk, place):
            for include in INCLUDES:
                if include in task:
                    yield task[include], inner
                    yield from stops_of_role(task[include], walk, inner, given=bool(task.get("vars")))
            for include in TASK_FILES:
                if include in task:
                    file = task[include]["file"] if isinstance(task[include], dict) else task[include]
                    yield from stops(tasks_of(project, inner.role, file), walk, inner)
            yield from stops(task.get("block") or [], walk, inner)
            if ASSERT in task:
                yield task, inner


@cache
def file_leads(project: Path, role: str, file: str, above: frozenset[tuple[str, str]] = frozenset()) -> bool:
    """Whether a file of tasks has an assertion, or includes one; `above` are those that it is included by."""
    if (role, file) in above:
        return False
    return any(leads(task, role, project, above | {(role, file)}) for task in tasks_of(project, role, file))


def leads(task: dict[str, Any], role: str, project: Path, above: frozenset[tuple[str, str]] = frozenset()) -> bool:
    """Whether there is an assertion in a task, or behind it: the way to any other is not worked out."""
    if ASSERT in task or any(leads(one, role, project, above) for one in task.get("block") or []):
        return True
    for include in (task[name] for name in INCLUDES if name in task):
        if file_leads(project, str(include["name"]), f"{include.get('tasks_from', 'main')}.yml", above):
            return True
    files = [task[name] for name in TASK_FILES if name in task]
    return any(file_leads(project, role, one["file"] if isinstance(one, dict) else one, above) for one in files)


def tasks_of(project: Path, role: str, file: str) -> list[dict[str, Any]]:
    """The tasks of one file of a role."""
    return templates_of(project / "roles" / role / "tasks" / file) or []


def stops_of_role(
    include: dict[str, Any], walk: Walk, place: Place, *, given: bool
) -> Iterator[tuple[dict[str, Any], Place]]:
    """The stops of a role's entry point; without variables of its own they are made once."""
    project, role, entry = walk.inventory.environment.project, str(include["name"]), include.get("tasks_from", "main")
    if not given and (role, entry) in walk.seen:
        return
    walk.seen.update([] if given else [(role, entry)])
    variables = {**place.variables, "role_path": str(project / "roles" / role), "role_name": role}
    yield from stops(tasks_of(project, role, f"{entry}.yml"), walk, Place(role, variables))


@cache
def plays(playbook: Path) -> tuple[dict[str, Any], ...]:
    """The plays of a playbook, those of the playbooks that it imports included."""
    found: list[dict[str, Any]] = []
    for play in templates_of(playbook):
        imported = play.get("ansible.builtin.import_playbook")
        found += plays(playbook.parent / imported) if imported else [play]
    return tuple(found)


def whole_run(walk: Walk) -> Iterator[tuple[dict[str, Any], Place]]:
    """The stops of a run of all roles on a host."""
    inventory, project = walk.inventory, walk.inventory.environment.project
    for play in plays(project / "playbooks/site.yml"):
        hosts = inventory.hosts_of(str(play["hosts"]))
        if walk.host not in hosts:
            continue
        magic = {"ansible_play_hosts": hosts, "ansible_play_hosts_all": hosts, "ansible_check_mode": False}
        magic["playbook_dir"] = str(project / "playbooks")
        variables = {**defaults(project), **inventory.variables[walk.host], **magic, **(play.get("vars") or {})}
        roles = [{INCLUDES[0]: {"name": role["role"]}, "vars": role.get("vars")} for role in play.get("roles") or []]
        tasks = [*(play.get("pre_tasks") or []), *roles, *(play.get("tasks") or [])]
        yield from stops(tasks, walk, Place("", variables))


def each(inventory: Inventory, place: Place, name: str, *keys: str) -> list[tuple[Any, ...]]:
    """Some keys of the items of a variable that is a list; those that only a host knows are left out."""
    columns = ", ".join(f"item.{key} | default('')" for key in keys)
    template = "{%- set found = [] -%}{%- for item in " + name + " -%}{%- set _ = found.append([" + columns + "]) -%}"
    found = inventory.rendered(template + "{%- endfor -%}{{ found }}", place.variables)
    return [tuple(one) for one in found] if isinstance(found, list) else []


def session_problems(inventory: Inventory, place: Place) -> Iterator[str]:
    """What is wrong with the settings that roles have for their sessions."""
    for name, settings in each(inventory, place, "postgresql_access_roles", "name", "settings"):
        yield from (f"role '{name}', settings: {line}" for line in setting_problems(settings, session=True))


def refusals(inventory: Inventory, host: str, said: list[str]) -> Iterator[str]:
    """What a run of all roles would refuse on a host; what `said` names is known, and not said again."""
    walk = Walk(inventory, host, set(), {name for line in said for name in WORD.findall(line)} & known(inventory))
    for task, place in whole_run(walk):
        if ASSERT in task:
            yield from (f"{line} [role {place.role}]" for line in refused(task, walk, place))
        elif task.get("name") == "postgresql_access":
            yield from session_problems(inventory, place)


def known(inventory: Inventory) -> set[str]:
    """The names of variables that a person sets."""
    return {*all_options(inventory.environment.project), *(one.name for one in inventory.said)}
