"""What differs on a host from what is accepted of it: the decision of playbooks/check_drift.yml.

The answer of playbooks/files/host_state.py has the accepted state and the one now, each a mapping of "kind: name" to a
value, and what only the server knows of the second. What an application makes for itself is no drift: a table, view or
schema of a role that is no superuser. What came or went with a table or view is said by it: one thing, one item.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

Answer = dict[str, Any]
# What has another description since: not compared until a run has taken it over.
RESHAPED = ("table: ", "constraint: ", "index: ", "privileges: ", "view: ", "materialized view: ")
INDEX_OF = re.compile(r" ON (?:ONLY )?(.+?) USING ")


def is_new_of_application(key: str, answer: Answer) -> bool:
    """Whether an application has made a thing for itself; what is added to one that was there is another matter."""
    return key in answer["of_application"] and key not in answer["accepted"] and key not in answer["part_of"]


def wholes(key: str, answer: Answer) -> set[str]:
    """What a thing is, or was by what was accepted of it, a part of; of several names one is there."""
    if key in answer["part_of"]:
        return {answer["part_of"][key]}
    kind, _, rest = key.partition(": ")
    database, _, name = rest.partition(": ")
    table = INDEX_OF.search(answer["accepted"].get(key, ""))
    names = {"index": table[1] if table else "", "constraint": name.rpartition(": ")[0], "privileges": name}
    whole = names.get(kind, "")
    texts = {whole, whole.removeprefix("public.")} - {""}
    return {f"{one}: {database}: {text}" for one in ("table", "view", "materialized view") for text in texts}


def is_said_by_its_whole(key: str, answer: Answer) -> bool:
    """Whether a thing came or went with a table or view, or has its privileges from another owner of it."""
    accepted, found = answer["accepted"], answer["found"]
    for whole in wholes(key, answer):
        came, went = whole in found and whole not in accepted, whole in accepted and whole not in found
        follows = key.startswith("privileges: ") and whole.startswith("table: ")
        if came or went or (follows and whole in found and accepted[whole] != found[whole]):
            return True
    return False


def overridden(answer: Answer) -> Iterator[dict[str, Any]]:
    """The settings of a role's file that another file wins over, ALTER SYSTEM's being one."""
    accepted = answer["accepted"] or {}
    for key, value in answer["lines"].items():
        kind, _, name = key.partition(": ")
        if kind != "line":
            continue
        lines = [line.partition("\t")[::2] for line in value.splitlines()]
        declared = [(file, said) for file, said in lines if file in answer["written_by_roles"]]
        winner, said = lines[-1]
        if declared and winner not in answer["written_by_roles"] and accepted.get(f"overridden: {name}") != value:
            file, before = declared[-1]
            yield {
                "kind": "overridden setting",
                "name": name,
                "accepted": f"{before} by {file}",
                "found": f"{said} by {winner}",
            }


def rules_for_nobody(answer: Answer) -> Iterator[dict[str, Any]]:
    """The login rules of roles that are not there."""
    for key, value in answer["lines"].items():
        kind, _, name = key.partition(": ")
        if kind == "rule for nobody":
            yield {"kind": "login rule of a removed role", "name": name, "accepted": None, "found": value}


def host_differences(answer: Answer) -> dict[str, Any]:
    """Return what differs, the name apart from its kind; None is what is not there.

    `known` is whether the host has an accepted state. What holds without one is said of every host.
    """
    accepted, found = answer["accepted"], answer["found"]
    always = [*overridden(answer), *rules_for_nobody(answer)]
    said = {one["name"] for one in always if one["kind"] == "overridden setting"}
    differences = []
    for key in sorted({*accepted, *found} if accepted is not None else ()):
        kind, _, name = key.partition(": ")
        if (
            accepted.get(key) == found.get(key)
            or kind in ("overridden", "format")
            or (kind == "setting" and name in said)
        ):
            continue
        if key.startswith(RESHAPED) and accepted.get("format") != found.get("format"):
            continue
        if is_new_of_application(key, answer) or is_said_by_its_whole(key, answer):
            continue
        differences.append({"kind": kind, "name": name, "accepted": accepted.get(key), "found": found.get(key)})
    return {
        "known": accepted is not None,
        "differences": [*always, *differences],
        "rule_fragments": answer["rule_fragments"],
    }


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[[Answer], dict[str, Any]]]:
        """Return the filters by name."""
        return {"host_differences": host_differences}
