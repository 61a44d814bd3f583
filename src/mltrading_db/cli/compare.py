"""What differs between two environments, as it is written: expressions are compared, not what they come to."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

from mltrading_db.cli.environment import DONE, find
from mltrading_db.cli.inventory import Inventory, load
from mltrading_db.cli.masks import MASK, hidden, secrets_of
from mltrading_db.cli.show import columns

MISSING = "(not set)"


@dataclass(frozen=True)
class Difference:
    """One variable of a group or host that two environments do not have in common."""

    scope: str
    name: str
    one: str
    other: str


def values(inventory: Inventory) -> dict[tuple[str, str], Any]:
    """Every variable as it is written, and the hosts of each group, by where it stands and its name."""
    groups = {name: hosts for name, hosts in inventory.groups.items() if name not in ("all", "ungrouped")}
    found: dict[tuple[str, str], Any] = {("group", name): ", ".join(hosts) for name, hosts in groups.items()}
    return found | {(said.scope, said.name): said.value for said in inventory.said}


def shown(name: str, value: object) -> str:
    """A value as it is shown; of a secret nothing, but for an expression, which is none."""
    if value == MISSING:
        return MISSING
    seen = hidden(name, value)
    return str(seen if isinstance(seen, str) else json.dumps(seen, default=str))


def settled(name: str, value: object) -> set[str]:
    """The secrets of a value, but for expressions."""
    return {secret for secret in secrets_of(name, value) if "{{" not in secret}


def differences(one: Inventory, other: Inventory) -> list[Difference]:
    """What differs, and secrets that do not although they should."""
    left, right = values(one), values(other)
    found = []
    for scope, name in sorted({*left, *right}):
        before, after = left.get((scope, name), MISSING), right.get((scope, name), MISSING)
        if MISSING not in (before, after) and settled(name, before) & settled(name, after):
            found.append(Difference(scope, name, MASK, "the same secret: make another"))
        elif before != after:
            found.append(Difference(scope, name, shown(name, before), shown(name, after)))
    return found


def diff(one: str, other: str, *, as_json: bool) -> int:
    """Print what differs; returns the exit code."""
    found = differences(load(find(one)), load(find(other)))
    if as_json:
        sys.stdout.write(json.dumps([asdict(line) for line in found], indent=2, ensure_ascii=False) + "\n")
        return DONE
    rows = [("variable", one, other), *((f"{line.scope}: {line.name}", line.one, line.other) for line in found)]
    sys.stdout.write("\n".join(columns(rows) if found else [f"{one} and {other} say the same."]) + "\n")
    return DONE
