"""What wins over a declared setting, as the server says it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.pg_settings.cluster import Cluster, SettingsError

# kind, name, declared, drop_in, value, winner, statement: roles/postgresql/files/declared_settings.sql.
Override = dict[str, Any]
REMEDIES = {
    "file": "Take it out there, or declare it in the role's variable",
    "start": "Take the option out of the server's start (pg_ctl.conf, the unit, environment)",
    "twice": "Declare it once: the second role has a variable for it",
}
SECRET = re.compile(r"(password=)\S+", re.IGNORECASE)


@dataclass(frozen=True)
class Server:
    """Where a server is asked, as the user whom it runs as."""

    cluster: Cluster
    socket: Path
    port: int

    def say(self, *statements: str) -> str:
        """Have it carry out statements, each by itself; return what it says to them."""
        where = ["--host", str(self.socket), "--port", str(self.port), "--username", "postgres", "--dbname", "postgres"]
        words = [word for statement in statements for word in ("--command", statement)]
        more = ["--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--set=ON_ERROR_STOP=1"]
        done: subprocess.CompletedProcess[str] = self.cluster.run(
            "psql", *more, *where, "--command", "SET statement_timeout = '30s'", *words
        )
        if done.returncode:
            raise SettingsError(f"the server does not say what its settings come from: {done.stderr.strip()}")
        return done.stdout


def find(server: Server, query: str) -> list[Override]:
    """Return what wins over declared settings."""
    found: list[Override] = json.loads(server.say(query))
    return [{**one, "value": SECRET.sub(r"\1********", str(one["value"]))} for one in found]


def unwanted(found: Sequence[Override]) -> list[str]:
    """Return a sentence for each that only a person can take away."""
    return [
        f"{one['name']} is declared as '{one['declared']}' in {one['drop_in']}, and {one['winner']} wins with "
        f"'{one['value']}'. {REMEDIES[one['kind']]}."
        for one in found
        if one["kind"] in REMEDIES
    ]


def told(found: Sequence[Override]) -> list[str]:
    """Return a sentence for each that a role or a database has of its own."""
    return [
        f"{one['winner']} has {one['name']} = '{one['value']}', where the server has '{one['declared']}'. "
        f"To take it away: {one['statement']}"
        for one in found
        if one["kind"] == "role"
    ]


def shown(one: Override) -> dict[str, str]:
    """Return before and after of one that is reset, as Ansible shows them."""
    header = f"{one['name']} (ALTER SYSTEM)"
    before = f"{one['name']} = '{one['value']}'\n"
    after = f"{one['name']} = '{one['declared']}'\n"
    return {"before_header": header, "after_header": one["drop_in"], "before": before, "after": after}


def reset(server: Server, by_system: Sequence[Override]) -> None:
    """Take away what ALTER SYSTEM had set, and have the server read its files."""
    server.say(*[one["statement"] for one in by_system], "SELECT pg_reload_conf()")
