"""Filters for the pooler: a pool's list of hosts, what certificates carry for it, and the open files it needs.

pgBouncer before 1.25 compares the whole list of hosts, as it stands in pgbouncer.ini, with the names of a certificate
(pgbouncer issue 1300). So each server's certificate carries, beside its own name, the lists that it is on; 1.25 and
newer compare each host's own name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations

# Roles that log in to one database, and what pgBouncer opens beside connections: its log, sockets, and files of TLS.
ROLES = 10
OTHER_FILES = 64


def pool_hosts(hosts: Iterable[str]) -> str:
    """Return the list of hosts as pgbouncer.ini has it: sorted, so that the order of an inventory is no difference."""
    return ",".join(sorted(set(hosts)))


def pool_names(servers: Iterable[str], host: str) -> list[str]:
    """Return the lists of two or more standbys that `host` may be on, whichever of the servers is the primary.

    A list has all servers but the primary, or all but the primary and one more: the latter is what a pooler offers
    until a run that adds a standby reaches it, and once a standby was taken out of it, before the servers know.
    """
    known = sorted(set(servers))
    sizes = {len(known) - 1, len(known) - 2}
    lists = (found for size in sorted(sizes) if size > 1 for found in combinations(known, size) if host in found)
    return [pool_hosts(found) for found in lists]


def pooler_open_files(settings: Mapping[str, object], databases: int) -> int:
    """Return how many files pgBouncer may have open at once with these settings, in steps of 1,024.

    A client has one connection and, while it is served, one to a server; each pool of a role and database keeps its
    idle ones beside.
    """
    clients, pool, reserve = (
        int(str(settings.get(name, 0))) for name in ("max_client_conn", "default_pool_size", "reserve_pool_size")
    )
    needed = 2 * clients + databases * ROLES * (pool + reserve) + OTHER_FILES
    return -(-needed // 1024) * 1024


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by their names in a template."""
        return {"pool_hosts": pool_hosts, "pool_names": pool_names, "pooler_open_files": pooler_open_files}
