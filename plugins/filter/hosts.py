"""Filters that say what a host lacks of what the roles need (docs/operations/host_requirements.md)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MEMORY_MB = 900
FREE_MB = 3000
# With the time that the question takes on its way.
CLOCK_SECONDS = 60
# What the roles listen on beside PostgreSQL, whose own role looks at a cluster that is there.
PORTS = {6432: "pgBouncer", 8432: "pgBackRest", 9090: "Prometheus", 9093: "Alertmanager", 9100: "the node exporter"}


def is_loopback(address: str) -> bool:
    """Tell whether an address reaches the host itself alone."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def name_problems(host: str, addresses: Mapping[str, Sequence[str]], owners: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what is wrong with the names of an environment's hosts, as one host resolves them.

    Args:
        host: the host that was asked.
        addresses: the addresses that it found for each name.
        owners: the addresses that each host has, as the host itself says.
    """
    unknown = sorted(name for name, found in addresses.items() if not found)
    alone = len(addresses) == 1
    problems = []
    if unknown:
        problems.append(
            f"{host} does not resolve {', '.join(unknown)}: give the names of all hosts to the DNS, or to /etc/hosts of"
            f" {host} with their addresses"
        )
    for name, found in sorted(addresses.items()):
        if found and not alone and all(map(is_loopback, found)):
            problems.append(
                f"{host} resolves {name} to {', '.join(found)}, where its services do not listen: take the name out of"
                " that line of /etc/hosts, and give it its address"
            )
        elif found and owners.get(name) and not set(found) & set(owners[name]) and not any(map(is_loopback, found)):
            problems.append(
                f"{host} resolves {name} to {', '.join(found)}, and {name} has {', '.join(owners[name])}: correct the"
                " DNS or /etc/hosts"
            )
    return problems


def host_problems(found: Mapping[str, Any], host: str, answers: Mapping[str, Any], is_new: bool) -> list[str]:
    """Return what a host lacks, a sentence each with the host and the remedy; empty where it has all.

    Args:
        found: what the module host_requirements returned of this host.
        host: its name in the inventory.
        answers: the same of every host, by name.
        is_new: whether no role has run on this host yet.
    """
    owners = {name: list(answer.get("own_addresses", [])) for name, answer in answers.items()}
    problems = name_problems(host, found["addresses"], owners)
    if abs(found["clock_offset"]) > CLOCK_SECONDS:
        problems.append(
            f"the clock of {host} is {found['clock_offset']:+.0f} s off the controller's: have chrony or"
            " systemd-timesyncd set it"
        )
    if found["memory_mb"] < MEMORY_MB:
        problems.append(f"{host} has {found['memory_mb']} MB of memory: {MEMORY_MB} MB is the least")
    if not is_new:
        return problems
    problems += [
        f"{host} has {free} MB free at {path}: {FREE_MB} MB is the least for packages and an empty cluster"
        for path, free in sorted(found["free_mb"].items())
        if free < FREE_MB
    ]
    if found["mirrors"]:
        problems.append(f"{host} does not resolve its package mirrors {', '.join(found['mirrors'])}: see its DNS")
    problems += [
        f"port {port} of {host} is taken, and {owner} is to listen there: stop what listens (ss -ltnp), or move it"
        for port, owner in PORTS.items()
        if port in found["listening"]
    ]
    return problems


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by their names in a template."""
        return {"host_problems": host_problems}
