"""What an inventory says, read by Ansible's own code. This file and vaults.py alone import it.

Values are templated as far as the controller can: what needs a host's facts, or would make a password, is left open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

from mltrading_db.cli.environment import Environment, RefusedError
from mltrading_db.cli.masks import secrets_of
from mltrading_db.cli.vaults import have_opened, is_encrypted, is_open, vault_secrets

# Asked for on the hosts, or made on first use: nothing to be settled here.
OPEN = re.compile(r"ansible_facts|ansible_play_hosts|inventory_hostname")
MADE_ON_FIRST_USE = re.compile(r"lookup\(\s*'ansible\.builtin\.password'")
READ = {"", ".yml", ".yaml", ".json"}  # the endings of the files of variables that Ansible reads

# Before the first template: it finds the collections' lookups and filters.
init_plugin_loader([])


class OpenValue:
    """A value that is settled on the hosts."""

    def __repr__(self) -> str:
        """For a person."""
        return "(settled on the host)"


OPEN_VALUE = OpenValue()


@dataclass(frozen=True)
class Undefined:
    """A value that cannot be had, and why: mostly a variable that nobody has set."""

    reason: str


@dataclass(frozen=True)
class Said:
    """One variable as it is written: where, and its value without templating."""

    scope: str
    name: str
    value: Any
    file: Path


@dataclass
class Inventory:
    """The hosts, groups and variables of an environment."""

    environment: Environment
    groups: dict[str, list[str]]
    hosts: list[str]
    variables: dict[str, dict[str, Any]]
    loader: Any
    said: list[Said]
    # What was worked out already (problems.py).
    memo: dict[Any, Any] = field(default_factory=dict)

    def value(self, host: str, name: str, defaults: dict[str, Any] | None = None) -> Any:
        """A variable of a host as a role would get it, OPEN_VALUE, or Undefined with the reason."""
        found = {**(defaults or {}), **self.variables[host]}
        if name not in found:
            return Undefined("is not set")
        return self.templated(found[name], found)

    def templated(self, value: Any, variables: dict[str, Any]) -> Any:
        """A value with its expressions replaced."""
        if OPEN.search(str(value)):
            return OPEN_VALUE
        try:
            return Templar(loader=self.loader, variables=variables).template(value)
        except Exception as error:  # whatever a template raises, it is the value that is wrong
            return unsettled(error)

    def rendered(self, text: Any, variables: dict[str, Any]) -> Any:
        """What a template of the repository gives, a part of one too, or OPEN_VALUE, or Undefined."""
        try:
            text = trust_as_template(text) if isinstance(text, str) else text
            return Templar(loader=self.loader, variables=variables).template(text)
        except Exception as error:  # as above
            return unsettled(error)

    def holds(self, condition: Any, variables: dict[str, Any]) -> bool | OpenValue | Undefined:
        """Whether a condition of a task holds."""
        try:
            return bool(Templar(loader=self.loader, variables=variables).evaluate_conditional(condition))
        except Exception as error:  # as above
            return unsettled(error)

    def hosts_of(self, pattern: str) -> list[str]:
        """The hosts of a play's pattern, which is groups with colons between them, in the inventory's order."""
        found = {host for group in pattern.split(":") for host in self.groups.get(group, [])}
        return [host for host in self.hosts if host in found]

    def settle_passwords(self, host: str) -> None:
        """Take the passwords that are made on first use from their files: a template would make them."""
        folder = self.value(host, "local_secrets")
        for name, value in self.variables[host].items():
            if MADE_ON_FIRST_USE.search(str(value)):
                path = Path(str(folder)) / name
                self.variables[host][name] = path.read_text().strip() if path.is_file() else token_hex(16)

    def secrets(self) -> set[str]:
        """The values of all secrets: of the variables that are named as such, and of the files that keep them."""
        found: set[str] = set()
        for host in self.hosts:
            variables = self.variables[host]
            written = [one for name in variables if name != "hostvars" for one in secrets_of(name, variables[name])]
            values = [self.templated(secret, variables) for secret in written]
            found |= {value for value in values if isinstance(value, str)}
            folder = self.value(host, "local_secrets")
            if isinstance(folder, str) and Path(folder).is_dir():
                found |= {path.read_text().strip() for path in Path(folder).iterdir() if path.is_file()}
        return found | {secret.bytes.decode() for _, secret in vault_secrets(self.environment)}


class SettledHostVars(HostVars):  # type: ignore[misc]  # Ansible has no types
    """What a template sees of other hosts: their variables as they were settled, each templated as its own host's."""

    def __init__(self, settled: dict[str, dict[str, Any]], manager: Any, variables: Any, loader: Any) -> None:
        """Take the variables by host; the rest is Ansible's own."""
        super().__init__(manager, variables, loader)
        self.settled = settled

    def raw_get(self, host_name: str) -> Any:
        """The variables of a host as they are written."""
        return self.settled[host_name] if host_name in self.settled else super().raw_get(host_name)


def unsettled(error: Exception) -> OpenValue | Undefined:
    """What stands for a value that a template could not give: open where only a host knows it, else why."""
    reason = " ".join(str(error).split())
    if OPEN.search(reason):
        return OPEN_VALUE
    missing = re.search(r"'([A-Za-z_][A-Za-z0-9_]*)' is undefined", reason)
    return Undefined(f"needs {missing[1]}, which is not set" if missing else f"cannot be worked out: {reason}")


@cache
def read_templates(path: Path) -> Any:
    """A YAML file by its real path, as Ansible reads it."""
    return DataLoader().load_from_file(str(path), cache="none", trusted_as_template=True)


def templates_of(path: Path) -> Any:
    """A YAML file of the repository whose texts are templates; it does not change while a command runs."""
    return read_templates(path.resolve())


def variable_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of variables below an inventory that Ansible reads, each with the group or host that it is of."""
    found = [path for place in ("group_vars", "host_vars") for path in folder.glob(f"{place}/**/*") if path.is_file()]
    for path in sorted(found):
        within = path.relative_to(folder).parts
        if path.suffix in READ and not any(part.startswith(".") or part.endswith("~") for part in within):
            yield (within[1] if len(within) > 2 else path.stem), path  # noqa: PLR2004


def written(environment: Environment, loader: Any) -> tuple[list[Said], list[str]]:
    """Every variable as it is written, and what could not be read."""
    said, unreadable = [], []
    for scope, path in variable_files(environment.folder):
        try:
            found = loader.load_from_file(str(path), cache="none", unsafe=False) or {}
        except AnsibleError as error:
            reason = "it is encrypted, and no password opens it" if is_encrypted(path) else " ".join(str(error).split())
            unreadable.append(f"{path.relative_to(environment.project)}: {reason}")
            continue
        sealed = [] if not isinstance(found, dict) else [name for name, value in found.items() if not is_open(value)]
        if sealed:
            names = ", ".join(map(str, sealed))
            unreadable.append(f"{path.relative_to(environment.project)}: {names}: encrypted, and no password opens it")
            continue
        if not isinstance(found, dict):
            unreadable.append(f"{path.relative_to(environment.project)}: it holds no variables")
            continue
        said += [Said(scope, str(name), value, path) for name, value in found.items()]
    for scope, variables in described(environment):
        said += [Said(scope, name, value, environment.folder / "hosts.yml") for name, value in variables.items()]
    return said, unreadable


def hosts_file(environment: Environment) -> dict[str, Any]:
    """The groups of hosts.yml as they are written.

    Raises:
        RefusedError: it is no YAML.
    """
    path = environment.folder / "hosts.yml"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise RefusedError([f"{path}: {' '.join(str(error).split())}"]) from None
    return found if isinstance(found, dict) else {}


def below(groups: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Groups and those below them, by name."""
    for name, group in groups.items() if isinstance(groups, dict) else []:
        if isinstance(group, dict):
            yield str(name), group
            yield from below(group.get("children"))


def described(environment: Environment) -> Iterator[tuple[str, dict[str, Any]]]:
    """The variables of hosts.yml, each with the group or host that it is of."""
    for name, group in below(hosts_file(environment)):
        yield name, group.get("vars") or {}
        for host, variables in (group.get("hosts") or {}).items():
            yield str(host), variables or {}


def places(environment: Environment) -> dict[str, tuple[str, str]]:
    """The hosts of hosts.yml, each with its address, if it has one, and how it is reached; no vault is opened."""
    groups = dict(below(hosts_file(environment)))
    everywhere = groups.get("all", {}).get("vars") or {}
    found: dict[str, dict[str, Any]] = {}
    for group in groups.values():
        for host, variables in (group.get("hosts") or {}).items():
            found.setdefault(str(host), {**everywhere}).update({**(group.get("vars") or {}), **(variables or {})})
    # A configuration of SSH gives names an address, so that two of them may mean two hosts by one name.
    ways = {"ansible_connection": "ssh", "ansible_ssh_common_args": ""}
    return {
        host: (str(variables.get("ansible_host", "")), " ".join(str(variables.get(*way)) for way in ways.items()))
        for host, variables in found.items()
    }


def load(environment: Environment) -> Inventory:
    """Read an inventory.

    Raises:
        RefusedError: Ansible cannot read it, with every file that it is about.
    """
    loader = DataLoader()
    secrets = vault_secrets(environment)
    loader.set_vault_secrets(secrets)
    have_opened(secrets)
    said, unreadable = written(environment, loader)
    if unreadable:
        way_out = (
            f"The vault's password is read from {environment.vault_password_file}, or $ANSIBLE_VAULT_PASSWORD_FILE."
        )
        raise RefusedError([*unreadable, *([way_out] if any("encrypted" in line for line in unreadable) else [])])
    manager = InventoryManager(loader=loader, sources=[str(environment.folder)])
    variables = VariableManager(loader=loader, inventory=manager)
    groups = {name: [host.name for host in group.get_hosts()] for name, group in manager.groups.items()}
    hosts = [host.name for host in manager.get_hosts()]
    by_host = {host.name: dict(variables.get_vars(host=host)) for host in manager.get_hosts()}
    inventory = Inventory(environment, groups, hosts, by_host, loader, said)
    by_name = SettledHostVars(by_host, manager, variables, loader)
    for found in by_host.values():
        found["hostvars"] = by_name
    for host in hosts:
        inventory.settle_passwords(host)
    return inventory


def problem_with(name: str, option: dict[str, Any], value: Any) -> str:
    """What Ansible's own validator has against a value of an option of meta/argument_specs.yml; empty for nothing."""
    spec = {name: {key: part for key, part in option.items() if key not in ("description", "required", "default")}}
    result = ArgumentSpecValidator(spec).validate({name: value})
    return "; ".join(result.error_messages)
