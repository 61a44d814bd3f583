"""A new environment: the example of production with other hosts, and a vault of its own.

All that an environment says for itself is written here; the rest are the example's files as they are.
"""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import typer
import yaml

from mltrading_db.cli.environment import DONE, NAME, Environment, RefusedError, make_private, names, program, project_of
from mltrading_db.cli.inputs import checked
from mltrading_db.cli.inventory import places
from mltrading_db.cli.rules import network
from mltrading_db.cli.vaults import encrypted

EXAMPLE = "production"
HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


@dataclass(frozen=True)
class Answers:
    """What an environment says for itself. A host is written as HOST=ADDRESS."""

    primary: str = ""
    replicas: tuple[str, ...] = ()
    repository: str = ""
    pooler: str = ""
    clients: tuple[str, ...] = ()
    monitoring: tuple[str, ...] = ()
    user: str = "deploy"
    connection: str = ""


# In the order in which they are asked, and judged beside those before.
QUESTIONS = {
    "primary": "The server that takes writes, as HOST=ADDRESS",
    "repository": "The host that keeps the backups, as HOST=ADDRESS",
    "pooler": "The host that runs pgBouncer, as HOST=ADDRESS; the primary's may do it",
    "replicas": "Standbys, as HOST=ADDRESS, with spaces between them; none is well",
    "clients": "The networks that clients come from, as 10.0.1.0/24, with spaces between them",
    "monitoring": "The networks that monitoring comes from, likewise",
}
REQUIRED = ("primary", "repository", "pooler", "clients", "monitoring")
OPTIONS = {"replicas": "replica"}
HOSTS = {"primary", "replicas", "repository", "pooler"}


def host_and_address(text: str) -> tuple[str, str]:
    """A host and its address.

    Raises:
        RefusedError: the text is not HOST=ADDRESS.
    """
    host, _, address = text.partition("=")
    try:
        ipaddress.IPv4Address(address)
    except ValueError:
        # The example makes networks of addresses, by /32.
        wanted = "a host is written as HOST=ADDRESS, as db1.example.com=10.0.0.11, and its address is one of IPv4"
        raise RefusedError([f"{text!r}: {wanted}"]) from None
    if not HOST.fullmatch(host):
        raise RefusedError([f"{text!r}: a host's name is lower-case letters, digits, - and ."])
    return host, address


def as_list(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """An answer's parts."""
    return value if isinstance(value, tuple) else (value,) if value else ()


def network_problem(text: str) -> str:
    """What is wrong with a network; empty for nothing."""
    problem = network(text)
    return f"{text!r}: {problem}" if problem else ""


def host_problem(text: str, here: Mapping[str, str], elsewhere: Mapping[str, str]) -> str:
    """What is wrong with a host; `here` has the addresses of this environment's, `elsewhere` whose an address is."""
    try:
        host, address = host_and_address(text)
    except RefusedError as error:
        return error.problems[0]
    if here.get(host, address) != address:
        return f"{text!r}: {host} has the address {here[host]} already"
    twin = next((other for other, place in here.items() if place == address and other != host), "")
    if twin:
        return f"{text!r}: {twin} has this address"
    if address in elsewhere:
        return f"{text!r}: {address} belongs to {elsewhere[address]} too, and a host belongs to one environment"
    return ""


def answer_problems(name: str, answers: Answers, elsewhere: Mapping[str, str]) -> list[str]:
    """What is wrong with one answer beside those that came before it (in the order of the questions)."""
    given = as_list(getattr(answers, name))
    if name in ("clients", "monitoring"):
        return [problem for one in given if (problem := network_problem(one))]
    before = list(QUESTIONS)[: list(QUESTIONS).index(name)]
    texts = [one for other in before if other in HOSTS for one in as_list(getattr(answers, other))]
    here = dict(host_and_address(text) for text in texts)
    found = []
    for text in given:
        problem = host_problem(text, here, elsewhere)
        if name == "replicas" and not problem and text in texts:
            problem = f"{text!r}: it is named already, and a standby has a host of its own"
        found += [problem] if problem else []
        if not problem:
            here.update([host_and_address(text)])
            texts.append(text)
    return found


def asked(answers: Answers, elsewhere: Mapping[str, str]) -> Answers:
    """The answers, with those that are missing asked for; each is judged before the next question.

    Raises:
        RefusedError: nobody can be asked, or what the command line says is wrong.
    """
    given = [name for name in QUESTIONS if getattr(answers, name)]
    wrong = []
    for name in given:
        problems = answer_problems(name, answers, elsewhere)
        wrong += [f"--{OPTIONS.get(name, name)} {problem}" for problem in problems]
        # What is refused is no host that others are held against.
        answers = replace(answers, **{name: type(getattr(answers, name))()}) if problems else answers
    if wrong:
        raise RefusedError(wrong)
    missing = [name for name in REQUIRED if not getattr(answers, name)]
    if not missing:
        return answers
    if not sys.stdin.isatty():
        raise RefusedError([f"--{OPTIONS.get(name, name)} is missing: {QUESTIONS[name]}." for name in missing])
    for name in [name for name in QUESTIONS if not getattr(answers, name)]:
        answers = answered(name, answers, elsewhere)
    return answers


def answered(name: str, answers: Answers, elsewhere: Mapping[str, str]) -> Answers:
    """The answers with one more, asked for until nothing is wrong with it; those before it are kept."""
    while True:
        said = typer.prompt(QUESTIONS[name], default="" if name not in REQUIRED else None, show_default=False, err=True)
        value: Any = tuple(said.split()) if isinstance(getattr(answers, name), tuple) else said.strip()
        more = replace(answers, **{name: value})
        # A later answer may be given on the command line: it is judged beside this one.
        later = [other for other in list(QUESTIONS)[list(QUESTIONS).index(name) :] if getattr(more, other)]
        problems = [problem for other in later for problem in answer_problems(other, more, elsewhere)]
        if not problems and (value or name not in REQUIRED):
            return more
        for problem in problems or [f"{QUESTIONS[name]}."]:
            typer.echo(problem, err=True)


def taken(project: Path) -> dict[str, str]:
    """Whose each address of the environments is that are there."""
    found = {one: places(Environment(one, project)) for one in names(project)}
    return {address: one for one, hosts in found.items() for address, _ in hosts.values() if address}


def hosts_file(answers: Answers) -> str:
    """The text of hosts.yml."""
    groups = {
        "postgresql": [answers.primary, *answers.replicas],
        "backup_repository": [answers.repository],
        "pgbouncer": [answers.pooler],
        # As in the example: who keeps the backups watches the others.
        "monitoring": [answers.repository],
    }
    places = {host: address for texts in groups.values() for host, address in map(host_and_address, texts)}
    variables: dict[str, str] = {"ansible_user": answers.user}
    if answers.connection:
        variables["ansible_connection"] = answers.connection
    described_hosts: dict[str, dict[str, str]] = {host: {"ansible_host": address} for host, address in places.items()}
    if "docker" in answers.connection:
        # The container's name, as ansible_host is its address; each its own, as a delegated task reads it too.
        variables = {"ansible_connection": answers.connection}
        for host, described_host in described_hosts.items():
            described_host["ansible_docker_host"] = host
    described = {
        "all": {
            "vars": variables,
            "hosts": described_hosts,
            "children": {
                group: {"hosts": {host_and_address(text)[0]: None for text in texts}} for group, texts in groups.items()
            },
        }
    }
    text = yaml.safe_dump(described, sort_keys=False, explicit_start=True, width=120)
    return text.replace(": null\n", ":\n")


def set_variable(path: Path, name: str, value: str) -> None:
    """Give a variable of a file another value, as YAML; what stands around it is kept.

    Raises:
        RefusedError: the example does not have it in one line.
    """
    text = path.read_text(encoding="utf-8")
    changed, count = re.subn(rf"(?m)^{name}: .*$", lambda _: f"{name}: {value}", text)
    if count != 1:
        raise RefusedError([f"{path} has no line for {name}: the example has changed."])
    path.write_text(changed, encoding="utf-8")


def write(environment: Environment, answers: Answers) -> None:
    """Write the inventory without its secrets."""
    example = environment.project / "inventories" / EXAMPLE
    shutil.copytree(example, environment.folder, ignore=shutil.ignore_patterns("hosts.yml", "vault.yml*"))
    (environment.folder / "hosts.yml").write_text(hosts_file(answers), encoding="utf-8")
    variables = environment.folder / "group_vars"
    pooler = f"{host_and_address(answers.pooler)[1]}/32"
    set_variable(variables / "all/common.yml", "common_environment", environment.name)
    set_variable(variables / "all/postgresql.yml", "postgresql_primary", host_and_address(answers.primary)[0])
    clients = f"[{', '.join([pooler, *answers.clients])}]"
    set_variable(variables / "postgresql/mltrading.yml", "mltrading_client_networks", clients)
    # The servers ask each other for the use of their indexes, so what the example adds stays.
    access, watchers = variables / "postgresql/postgresql_access.yml", "postgresql_access_monitor_networks"
    servers = "postgresql_access_replication_networks"
    set_variable(access, watchers, f'"{{{{ {list(answers.monitoring)} + {servers} }}}}"')


def make_secrets(environment: Environment) -> None:
    """Make the vault, a secret for each name of the example, and the password that opens it where there is none."""
    example = environment.project / "inventories" / EXAMPLE / "group_vars/all/vault.yml.example"
    secrets = {name: token_urlsafe(24) for name in yaml.safe_load(example.read_text(encoding="utf-8"))}
    password_file = environment.vault_password_file
    make_private(password_file.parent)
    if not password_file.exists():
        password_file.touch(mode=0o600)
        password_file.write_text(token_urlsafe(32) + "\n", encoding="utf-8")
    text = encrypted(yaml.safe_dump(secrets, explicit_start=True), password_file.read_text(encoding="utf-8").strip())
    vault = environment.folder / "group_vars/all/vault.yml"
    # It is encrypted, and whoever shares the checkout reads it too.
    vault.write_text(text, encoding="utf-8")


def init(name: str, answers: Answers, *, as_json: bool = False) -> int:
    """Describe a new environment, and check it; returns the exit code."""
    project = project_of(Path.cwd())
    if not NAME.fullmatch(name):
        raise RefusedError([f"{name!r}: an environment's name is lower-case letters, digits, - and _."])
    if name in names(project) or (project / "inventories" / name).exists():
        raise RefusedError([f"inventories/{name} is there already: it is left as it is."])
    answers = asked(answers, taken(project))
    hosts_file(answers)
    environment = Environment(name, project)
    try:
        write(environment, answers)
        make_secrets(environment)
        wrong = checked(environment)[1]
    except BaseException:
        # Half an environment would be in the way of the next attempt.
        shutil.rmtree(environment.folder, ignore_errors=True)
        raise
    if wrong:
        shutil.rmtree(environment.folder)
        raise RefusedError([*wrong, f"inventories/{name} was not made."])
    password = environment.vault_password_file
    if as_json:
        made = {"environment": name, "folder": str(environment.folder), "vault_password_file": str(password)}
        typer.echo(json.dumps(made, indent=2))
        return DONE
    typer.echo(
        f"inventories/{name} is made, with a vault of its own. Its password is in {password}:\n"
        f"keep a copy elsewhere, as without it no backup can be read.\n"
        f"Next: {program()} plan {name}, and then {program()} apply {name}."
    )
    return DONE
