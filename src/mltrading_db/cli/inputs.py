"""What is wrong with an environment, found before anything runs: one line a problem, with variable, value and rule.

The roles' own meta/argument_specs.yml are the source: which variables there are, their types and choices, and what is
required. What a type cannot say follows from how variables are named here: a _port is a port, _networks are networks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mltrading_db.cli import server_settings
from mltrading_db.cli.declared import all_options, defaults, options, served, tags_of, yaml_of
from mltrading_db.cli.environment import NAME, Environment, names
from mltrading_db.cli.inventory import OPEN_VALUE, Inventory, Undefined, load, places, problem_with
from mltrading_db.cli.masks import MASK, hidden, is_secret
from mltrading_db.cli.problems import refusals
from mltrading_db.cli.rules import COUNTS, HOSTS, RULES, not_negative

# Variables that Ansible itself reads, and those that the playbooks take on the command line.
ANSIBLES_OWN = re.compile(r"ansible_|interpreter_python\Z")


# What ansible-playbook has beside the tags of a playbook.
TAGS_OF_ANSIBLE = {"all", "always", "never", "tagged", "untagged"}


def tag_problems(playbook: Path, tags: str) -> list[str]:
    """The tags of --tags that a playbook does not have: it would run nothing of them, and end well."""
    known = tags_of(playbook)
    wrong_tags = [tag for tag in tags.split(",") if tag and tag not in known | TAGS_OF_ANSIBLE]
    return [f"--tags {tag}: {playbook.stem} has no such tag ({', '.join(sorted(known))})" for tag in wrong_tags]


def shown(name: str, value: object) -> str:
    """A value as a line shows it."""
    return MASK if is_secret(name) else repr(hidden(name, value))


def value_problems(name: str, option: dict[str, Any], value: Any, inventory: Inventory) -> Iterator[str]:
    """What is wrong with a variable's value, each as value and rule."""
    said = problem_with(name, option, value)
    if said:
        yield f"{shown(name, value)}: {said.replace(repr(value), shown(name, value))}"
        return
    if name == "postgresql_settings":
        yield from (f"{{{line}}}" for line in server_settings.problems(value))
    parts = option.get("options") or {}
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict):
            for key in parts.keys() & one.keys():
                within = value_problems(f"_{key}", parts[key], one[key], inventory)
                yield from (f"{{{key}: {problem}}}" for problem in within)
            continue
        if one in ("", None) or "{{" in str(one):
            continue
        rule = next((check for ending, check in RULES if re.search(ending, name)), None)
        rule = rule or (not_negative if option.get("type") in COUNTS else None)
        problem = rule(one) if rule else ""
        if not problem and HOSTS.search(name) and one not in inventory.hosts:
            problem = f"it is no host of this environment ({', '.join(inventory.hosts)})"
        if problem:
            yield f"{shown(name, one)}: {problem}"


def missing(inventory: Inventory, host: str) -> Iterator[str]:
    """What the roles that a host is given need and nobody has set."""
    project = inventory.environment.project
    for role in served(project / "playbooks/site.yml"):
        if host not in inventory.hosts_of(role.pattern):
            continue
        for name, option in options(project, role.role, role.entry_point).items():
            if not option.get("required"):
                continue
            value = inventory.value(host, name, defaults(project))
            if isinstance(value, Undefined):
                yield f"{name}: {value.reason}; role {role.role} needs it"
            elif value in ("", [], {}, None):
                yield f"{name}: is not set; role {role.role} needs it"


def wrong(inventory: Inventory, host: str) -> Iterator[str]:
    """What is wrong with the variables that a host is given."""
    project = inventory.environment.project
    known = all_options(project)
    for name in sorted(known.keys() & inventory.variables[host].keys()):
        value = inventory.value(host, name, defaults(project))
        if isinstance(value, Undefined):
            yield f"{name}: {value.reason}"
        elif value is not OPEN_VALUE:
            yield from (f"{name} = {problem}" for problem in value_problems(name, known[name], value, inventory))


def host_problems(inventory: Inventory, host: str) -> list[str]:
    """What is missing and what is wrong on a host; a variable once, and what needs it rather than that it is wrong."""
    needed = list(missing(inventory, host))
    names_needed = {line.partition(":")[0] for line in needed}
    found = needed + [line for line in wrong(inventory, host) if line.partition(":")[0] not in names_needed]
    return found + list(refusals(inventory, host, found))


def unknown_variables(inventory: Inventory) -> Iterator[str]:
    """Variables that no role has and no other value reads: mostly one that is misspelled."""
    project = inventory.environment.project
    known = {*all_options(project), *defaults(project)}
    texts = [str(one.value) for one in inventory.said] + [
        path.read_text() for path in (project / "playbooks").glob("*.yml")
    ]
    read = set(re.findall(r"[a-z_][a-z0-9_]*", " ".join(texts)))
    for one in inventory.said:
        if one.name in known | read or ANSIBLES_OWN.match(one.name):
            continue
        meant = get_close_matches(one.name, known, n=1)
        hint = f"; is {meant[0]} meant?" if meant else ""
        value = shown(one.name, one.value)
        yield f"{one.name} = {value}: no role has such a variable{hint} ({one.file.relative_to(project)})"


def shape_problems(inventory: Inventory) -> Iterator[str]:
    """What is wrong with the hosts and groups."""
    project = inventory.environment.project
    plays = [play for path in (project / "playbooks").glob("*.yml") for play in yaml_of(path)]
    patterns = {group for play in plays for group in str(play.get("hosts", "all")).split(":")} - {"all"}
    for group in sorted(set(inventory.groups) - patterns - {"all", "ungrouped"}):
        meant = get_close_matches(group, patterns, n=1)
        yield f"group {group}: no playbook serves it{f'; is {meant[0]} meant?' if meant else ''}"
    for host in inventory.groups.get("ungrouped", []):
        yield f"host {host}: it stands in no group ({', '.join(sorted(patterns))})"
    if not inventory.groups.get("postgresql"):
        yield "group postgresql: it is empty; an environment has a server"
    keepers = inventory.groups.get("backup_repository", [])
    if len(keepers) > 1:
        yield f"group backup_repository = {', '.join(keepers)}: one host keeps the repository"


def primary_problems(inventory: Inventory) -> Iterator[str]:
    """Two primaries, or one that is no server."""
    servers = inventory.groups.get("postgresql", [])
    found = {host: inventory.value(host, "postgresql_primary") for host in servers}
    named = {str(value) for value in found.values() if value is not OPEN_VALUE and not isinstance(value, Undefined)}
    if len(named) > 1:
        yield f"postgresql_primary = {' and '.join(sorted(named))}: an environment has one primary"
    for name in sorted(named & set(inventory.hosts) - set(servers)):
        yield f"postgresql_primary = {name!r}: it is not in group postgresql"


def name_problems(inventory: Inventory) -> Iterator[str]:
    """An environment that calls itself otherwise than its folder."""
    name = inventory.environment.name
    if not NAME.fullmatch(name):
        yield f"inventories/{name}: an environment's name is lower-case letters, digits, - and _"
    for found in sorted({str(inventory.value(host, "common_environment")) for host in inventory.hosts}):
        if found != name and not isinstance(inventory.value(inventory.hosts[0], "common_environment"), Undefined):
            yield f"common_environment = {found!r}: the environment is inventories/{name}"


def shared_hosts(inventory: Inventory) -> Iterator[str]:
    """Addresses that stand twice, and hosts that are another environment's too: by address, else by name."""
    mine = places(inventory.environment)
    for host, (place, _) in mine.items():
        twins = [other for other, (found, _) in mine.items() if other < host and place and found == place]
        yield from (f"ansible_host = {place!r}: both {twin} and {host} have it" for twin in twins)
    for name in names(inventory.environment.project):
        if name == inventory.environment.name:
            continue
        others = places(Environment(name, inventory.environment.project))
        for host, (place, way) in mine.items():
            named = others.get(host)
            # Two addresses tell two hosts of one name apart, and so does how they are reached.
            same_name = named and not (place and named[0]) and way == named[1]
            if same_name or (place and place in {found for found, _ in others.values()}):
                where = f" ({place})" if place else ""
                yield f"host {host}{where}: it belongs to {name} too, and a host belongs to one environment"


def problems(inventory: Inventory) -> list[str]:
    """Everything that is wrong with an environment, each line once, with the hosts that it is about."""
    found = [
        *shape_problems(inventory),
        *name_problems(inventory),
        *primary_problems(inventory),
        *shared_hosts(inventory),
        *unknown_variables(inventory),
    ]
    by_problem: dict[str, list[str]] = {}
    for host in inventory.hosts:
        for problem in host_problems(inventory, host):
            by_problem.setdefault(problem, []).append(host)
    found += [f"{problem} ({', '.join(dict.fromkeys(hosts))})" for problem, hosts in by_problem.items()]
    return list(dict.fromkeys(found))


def checked(environment: Environment) -> tuple[Inventory, list[str]]:
    """An environment's inventory, and what is wrong with it."""
    inventory = load(environment)
    return inventory, problems(inventory)
