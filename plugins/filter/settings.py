"""Filters for a server's settings: how a value is written, what is wrong with them, and which server restarts when."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?")
# Settings of which a standby must have no less than its primary, in the order in which pg_controldata says them.
GUARDED = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)


def setting_value(value: Any) -> str:
    """Return a value as a configuration file has it, in quotes, in which a backslash is an escape."""
    text = str(value).replace("\\", "\\\\").replace("'", "''")
    return f"'{text}'"


def settings_problems(settings: Mapping[str, Any], reserved: Collection[str], standbys: int = 0) -> list[str]:
    """Return what is wrong with declared settings, a sentence each.

    `reserved` are the names that may not be declared; the server reads names without regard to case. `standbys` is how
    many servers follow the same primary.
    """
    found = []
    lower = {str(name).lower(): value for name, value in settings.items()}
    if len(lower) < len(settings):
        found.append("two of its names are one to the server, which reads them without regard to case.")
    refused = sorted(set(lower) & {name.lower() for name in reserved})
    if refused:
        found.append(f"{', '.join(refused)} has a variable of its own or is not to be weakened.")
    for name, value in settings.items():
        if not NAME.fullmatch(str(name)):
            found.append(f"'{name}' is no name of a setting.")
        elif value is None or isinstance(value, list | dict):
            found.append(f"{name} is a word, a number, or true or false, and not {value!r}.")
        elif re.search(r"[\r\n\0]", str(value)):
            found.append(f"{name} has more than one line.")
    if standbys:
        if str(lower.get("wal_level", "replica")).lower() == "minimal":
            found.append("with wal_level 'minimal' no standby can follow.")
        senders = str(lower.get("max_wal_senders", 10))
        if senders.isdecimal() and int(senders) <= standbys:
            found.append(f"max_wal_senders {senders} leaves none for a backup or a copy beside {standbys} standbys.")
    return found


def restart_turn(answer: Mapping[str, Any], primary: bool, allowed: bool, began: int) -> str:
    """Return when a server takes its turn of a restart: none, first, second or last.

    A standby must have no less of some settings than its primary: where they grow it goes before it, where they shrink
    after. A server that this very run has started, which `began` at a second since 1970, serves nobody yet.
    """
    if not answer.get("restart"):
        return "none"
    if not allowed and int(answer["started"]) < int(began):
        return "none"
    if primary:
        return "second"
    return "last" if answer.get("shrinks") else "first"


def restart_obstacles(
    servers: Iterable[Mapping[str, Any]], here: str, primary: str, left: Collection[str]
) -> dict[str, Any]:
    """Return whom a server's restart misses: a primary each of its standbys, a standby its primary.

    `servers` are the variables of the play's hosts, `left` those that have not failed. The answer has `hosts`, whether
    one of them did not come back from its restart (`restart_failed`), and what they said (`said`).
    """
    missing = [
        server
        for server in servers
        if server.get("postgresql_primary") == primary
        and server["inventory_hostname"] not in left
        and ((server["inventory_hostname"] != primary) if here == primary else server["inventory_hostname"] == primary)
    ]
    restarts = [server.get("__postgresql_restarted") or {} for server in missing]
    said = [
        f"{server['inventory_hostname']}: {restart['msg']}"
        if restart.get("failed")
        else f"{server['inventory_hostname']} has failed or did not answer earlier in this run."
        for server, restart in zip(missing, restarts, strict=True)
    ]
    return {
        "hosts": [server["inventory_hostname"] for server in missing],
        "restart_failed": any(restart.get("failed") for restart in restarts),
        "said": " ".join(said),
    }


def answer_of(server: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a server has said last of what it has not taken up; {} where it was not asked."""
    for name in ("__postgresql_reloaded", "__postgresql_pending"):
        rows = (server.get(name) or {}).get("query_result")
        if rows:
            found: Mapping[str, Any] = rows[0]
            return found
    return {}


def standby_shortages(servers: Sequence[Mapping[str, Any]], here: str, primary: str) -> list[str]:
    """Return in what a standby would have less than its primary, with which it would not start; a sentence each.

    A primary is told of all of its standbys, a standby of itself.
    """
    by_name = {server["inventory_hostname"]: answer_of(server).get("wanted") for server in servers}
    most = by_name.get(primary) or []
    return [
        f"{name} would have {setting} = {wanted}, and {primary} {of_primary}"
        for name in sorted(by_name)
        if name != primary and here in (name, primary)
        for setting, wanted, of_primary in zip(GUARDED, by_name[name] or [], most, strict=False)
        if int(wanted) < int(of_primary)
    ]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by their names in a template."""
        return {
            "setting_value": setting_value,
            "settings_problems": settings_problems,
            "restart_turn": restart_turn,
            "restart_obstacles": restart_obstacles,
            "standby_shortages": standby_shortages,
        }
