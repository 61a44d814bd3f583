"""How an application connects: writes and reads, straight and through the pooler, verified by name; never a password.

`ways` asks the inventory, the rest is pure. Every way is one conninfo of libpq, as drivers on it take too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mltrading_db.cli.declared import defaults
from mltrading_db.cli.inventory import Inventory
from mltrading_db.cli.problems import Place, each


@dataclass(frozen=True)
class Servers:
    """What the inventory says of an environment's servers and poolers."""

    primary: str
    standbys: tuple[str, ...]
    port: int
    database: str
    # Of a pooler's host: its port, and the databases that it offers.
    poolers: dict[str, tuple[int, tuple[str, ...]]]
    writer: str
    reader: str
    authority: str


@dataclass(frozen=True)
class Way:
    """One way to connect: what for, and the conninfo."""

    use: str
    conninfo: str


def conninfo(**parts: object) -> str:
    """A conninfo of libpq; a value with a space or a quote is written in quotes."""

    def quoted(value: str) -> str:
        if value and not any(sign in value for sign in " '\\"):
            return value
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"

    return " ".join(f"{name}={quoted(str(value))}" for name, value in parts.items() if value != "")


def ways(servers: Servers) -> Iterator[Way]:
    """The ways to connect; a list of servers leads to the primary whoever it is, and reads go on without standbys."""
    verified = {"sslmode": "verify-full", "sslrootcert": servers.authority}
    hosts = (servers.primary, *servers.standbys)

    def straight(use: str, hosts: tuple[str, ...], user: str, wanted: str) -> Way:
        wanted = wanted if servers.standbys else ""
        where = {"host": ",".join(hosts), "port": servers.port, "dbname": servers.database, "user": user}
        return Way(use, conninfo(**where, **verified, target_session_attrs=wanted))

    yield straight("writes", hosts, servers.writer, "read-write")
    yield straight("reads", (*servers.standbys, servers.primary), servers.reader, "prefer-standby")
    for host, (port, databases) in servers.poolers.items():
        for database in databases:
            reads = database != servers.database
            use, user = ("reads, pooled", servers.reader) if reads else ("writes, pooled", servers.writer)
            yield Way(use, conninfo(host=host, port=port, dbname=database, user=user, **verified))


def lines(found: list[Way]) -> list[str]:
    """The ways as lines that can be pasted."""
    width = max((len(way.use) for way in found), default=0)
    return [f'  {way.use:<{width}}  psql "{way.conninfo}"' for way in found]


def servers_of(inventory: Inventory) -> Servers | None:
    """What the inventory says; None where it does not say enough without the hosts."""
    project = inventory.environment.project

    def value(host: str, name: str) -> Any:
        return inventory.value(host, name, defaults(project))

    members = inventory.groups.get("postgresql", [])
    primary = value(members[0], "postgresql_primary") if members else None
    if not isinstance(primary, str) or primary not in members:
        return None
    port, database = value(primary, "postgresql_port"), value(primary, "mltrading_database")
    writer, reader = value(primary, "mltrading_read_write_role"), value(primary, "mltrading_read_only_role")
    authority, folder = value(primary, "tls_provided_ca"), value(primary, "tls_ca_dir")
    authority = authority if isinstance(authority, str) and authority else f"{folder}/ca.crt"
    poolers = {}
    for host in inventory.groups.get("pgbouncer", []):
        place = Place("", {**defaults(project), **inventory.variables[host]})
        offered = each(inventory, place, "pgbouncer_databases", "name", "read_only_hosts")
        names = [name for one, reads in offered for name in (str(one), *([f"{one}_ro"] if reads else []))]
        poolers[host] = (value(host, "pgbouncer_listen_port"), tuple(names))
    texts = (database, writer, reader)
    numbers = (port, *(port for port, _ in poolers.values()))
    if not all(isinstance(one, str) for one in texts) or not all(str(one).isdecimal() for one in numbers):
        return None
    standbys = tuple(host for host in members if host != primary)
    return Servers(primary, standbys, int(port), database, poolers, writer, reader, authority)
