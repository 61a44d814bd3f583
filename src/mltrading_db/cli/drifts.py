"""What was changed by hand: what a run would overwrite, and what no run has made, with the ways out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from mltrading_db.cli import plans
from mltrading_db.cli.environment import DRIFTED
from mltrading_db.cli.events import Recap
from mltrading_db.cli.session import Session, confirm, session

Drift = dict[str, Any]
LONGEST = 160
# How each kind is undone by hand, and where the repository would say it. {name} is the thing.
UNDO = {
    "setting": ("ALTER SYSTEM RESET {name}, then SELECT pg_reload_conf()", "postgresql_settings"),
    "login rule": ("take the line out of pg_hba.conf", "postgresql_access_roles of the role it is for"),
    "role": ("DROP ROLE, or ALTER ROLE as it was", "mltrading_roles or postgresql_access_roles"),
    "privileges": ("GRANT and REVOKE as it was", "mltrading_privileges or mltrading_databases"),
    "index": ("DROP INDEX CONCURRENTLY, or mldb apply where it is declared", "mltrading_indexes"),
    "materialized view": (
        "mldb apply where it is declared, else DROP MATERIALIZED VIEW",
        "mltrading_materialized_views",
    ),
    "view": ("DROP VIEW, or CREATE VIEW as it was", "the application that owns it"),
    "extension": ("DROP EXTENSION", "the extensions of mltrading_databases"),
    "cron line": ("take the line out of the file", "a job of the role that it belongs to (docs/operations/jobs.md)"),
    "file": ("mldb apply where a role writes it, else remove it", "the template or the variable of its role"),
}
OTHERWISE = ("as it was", "the role that it belongs to")


def overwritten(recap: Recap) -> list[Drift]:
    """What the repository says otherwise, from a check."""
    return [
        {
            "host": step["host"],
            "kind": step["kind"],
            "name": plans.title(step).partition(": ")[2],
            "right": "repository",
            "why": step.get("why", []),
            "keep": f"say it in a variable of role {step['role'] or 'mltrading'}",
            "undo": f"mldb apply ENV --limit {step['host']}" + (f" --tags {step['role']}" if step["role"] else ""),
        }
        for step in plans.steps(recap)
    ]


def unknown(answers: Mapping[str, Any]) -> Iterator[Drift]:
    """What differs from what the last run of all roles left; null is a host that has had none."""
    for host, found in sorted(answers.items()):
        for one in found if isinstance(found, list) else []:
            undo, where = UNDO.get(one["kind"], OTHERWISE)
            before, now = one["accepted"], one["found"]
            yield {
                "host": host,
                "kind": one["kind"],
                "name": one["name"],
                "right": "nobody has said",
                "why": [f"-{before}"] * (before is not None) + [f"+{now}"] * (now is not None),
                "keep": f"declare it in {where}, or take it as it is: mldb drift ENV --limit {host} --accept",
                "undo": undo.format(name=one["name"]),
            }


def by_hand(session_made: Session, limit: str) -> tuple[list[Drift], list[str]]:
    """All drift of an environment, and the hosts that nothing is known of."""
    declared = session_made.run("site", check=True, limit=limit)
    if session_made.code():
        return [], []
    answers = session_made.run("check_drift", limit=limit).answers
    new = [host for host, found in sorted(answers.items()) if found in (None, "")]
    return overwritten(declared) + list(unknown(answers)), new


def shown(found: list[Drift], new: list[str], name: str) -> RenderableType:
    """Drift, one block each."""
    lines = [
        Text(f"{host} has had no run of all roles yet: what it has beyond the repository is not known.") for host in new
    ]
    for drift_found in found:
        lines.append(Text(f"{drift_found['host']}: {drift_found['kind']} {drift_found['name']}", style="bold"))
        lines += [
            Text(f"    {line[:LONGEST]}", style={"+": "green", "-": "red"}.get(line[:1], "dim"))
            for line in drift_found["why"]
        ]
        right = "the repository says otherwise" if drift_found["right"] == "repository" else "the repository is silent"
        lines.append(Text(f"    {right}. To undo it: {drift_found['undo'].replace('ENV', name)}"))
        lines.append(Text(f"    To keep it: {drift_found['keep'].replace('ENV', name)}"))
    lines.append(Text(f"{len(found)} things differ." if found else "Nothing was changed by hand."))
    return Group(*lines)


def drift(name: str, options: Mapping[str, Any], *, as_json: bool, verbosity: int) -> int:
    """Look for drift, or accept it; returns the exit code."""
    with session("drift", name, as_json=as_json, verbosity=verbosity) as made:
        if options["accept"]:
            confirm(made.environment, options["confirm"], f"{name} would be held to what it is now.")
            recap = made.run("check_drift", limit=options["limit"])
            if not made.code():
                made.audit(recap, accept=True)
            return made.end(recap, check=False)
        found, new = by_hand(made, options["limit"])
        last = made.recaps.get("check_drift", made.recaps["site"])
        if made.code():
            return made.end(last, check=True)
        if not as_json:
            made.console.print(shown(found, new, name))
        return made.finish(
            last, check=True, more={"drift": found, "unknown_hosts": new}, code=DRIFTED if found else None
        )
