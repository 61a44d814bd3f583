"""What was changed by hand: what a run would overwrite, and what no run has made, with the ways out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from mltrading_db.cli import changes, plans, show, ways_out
from mltrading_db.cli.environment import DRIFTED, program
from mltrading_db.cli.events import HIDDEN, Recap
from mltrading_db.cli.session import Session, confirm, session

Drift = dict[str, Any]
LONGEST = 160
NOBODY = "nobody has said"
# What a host says otherwise than the repository, whatever was accepted of it.
ALWAYS_WRONG = {"overridden setting", "login rule of a removed role"}
# A reload or a restart changes nothing that is declared: what waits for it is drift of a setting, if it is. Nor does a
# look at what was changed.
TAKES_UP = re.compile(r"\b(reload|restart|look now)", re.IGNORECASE)
# What each host has of its own. All else a standby has from its primary, and settings of a role or a database too.
OWN = {
    "setting",
    "overridden setting",
    "login rule",
    "login rule of a removed role",
    "login rules that no role asks for",
    "cron line",
    "file",
}
# The kinds of steps that put right what a host calls so; where there is none, any.
STEPS = {
    "role": {"users and privileges"},
    "privileges": {"users and privileges"},
    "index": {"objects of the database"},
    "table": {"objects of the database"},
    "constraint": {"objects of the database"},
    "view": {"objects of the database"},
    "materialized view": {"objects of the database"},
    "extension": {"databases"},
    "file": {"files", "jobs", "settings", "login rules"},
    "cron line": {"jobs", "files"},
    "login rule": {"login rules"},
    "setting": {"settings", "files"},
    "overridden setting": {"settings"},
}


def overwritten(recap: Recap, environment: str) -> list[Drift]:
    """What the repository says otherwise, from a check."""
    return [
        {
            "host": step["host"],
            "kind": step["kind"],
            "name": plans.title(step).partition(": ")[2],
            "right": "repository",
            "why": step.get("why", []),
            "keep": f"say it in a variable of role {step['role'] or 'mltrading'}",
            "undo": f"{program()} apply {environment} --limit {step['host']}",
            "undo_in": "",
            "about": sorted(about(step)),
        }
        for step in plans.steps(recap.changes)
        if not (step["kind"] in ("services", "other steps") and TAKES_UP.search(step["task"]))
    ]


def about(step: plans.Step) -> set[str]:
    """The names and paths that a step puts right, as a host may call them too."""
    if step.get("what") == HIDDEN:
        return {HIDDEN}
    named = {str(action.get("name", "")) for action in step.get("details", [])}
    what = str(step.get("what", ""))
    # Of a role a step says its name, and behind a colon what becomes of it.
    what = what.partition(":")[0] if step["action"] in ("postgresql_user", "postgresql_membership") else what
    named |= set(re.split(r"[\s,:]+", what)) | set(step.get("settings", []))
    return {part for name in named if name for part in (name, name.rpartition(".")[2] or name, name.rpartition("/")[2])}


def is_of_role(found: Drift) -> bool:
    """Whether it is a setting that the catalog has, of a role or of everybody in a database."""
    return bool(found["kind"] == "setting" and re.match(r"of (every )?role\b", found["name"]))


def is_of(found: Drift, known: Drift) -> bool:
    """Whether what differs on a host is what a step there puts right: by its path, by its name, or by its file."""
    kinds = STEPS["role"] if is_of_role(found) else STEPS.get(found["kind"], {known["kind"]})
    if found["host"] != known["host"] or known["kind"] not in kinds:
        return False
    # A step with secrets does not say what it is about; a role or a file that was there before is one that it has made.
    if HIDDEN in known["about"]:
        made = found["kind"] in ("role", "file") or is_of_role(found)
        return made and any(line.startswith("-") for line in found["why"])
    name = found["name"].rpartition(": ")[2].removeprefix("database ")
    if found["kind"] == "login rule":
        said = {"pg_hba.conf"}
    elif is_of_role(found):
        # What a role has in one database is not the step's.
        said = {name.removeprefix("of role ")} - {name}
    elif found["kind"] in ("file", "cron line"):
        said = {found["name"].partition(": ")[0]}
    else:
        said = {name, name.rpartition(".")[2]}
    for line in found["why"] if found["kind"] == "setting" else []:
        said |= set(re.findall(r" by ([\w.-]+\.conf)", line))
    return bool(said & set(known["about"]))


def merged(known: Iterable[Drift], found: Iterable[Drift]) -> list[Drift]:
    """Each thing once: what the repository says otherwise goes before what it knows nothing of.

    Several steps of a run may be about one thing. Where they do not say what is different, the host does.
    """
    once: dict[tuple[str, str, str], Drift] = {}
    for one in known:
        first = once.setdefault((one["host"], one["kind"], one["name"]), {**one, "why": []})
        first["why"] += [line for line in one["why"] if line not in first["why"]]
    silent = [one for one in once.values() if not one["why"]]
    left = []
    for one in found:
        same = [other for other in once.values() if is_of(one, other)]
        for other in same if one["kind"] != "file" else []:
            if other in silent:
                other["why"] += [f"{line[:1]}{one['name']}: {line[1:]}" for line in one["why"]]
        left += [] if same else [one]
    return [{key: value for key, value in one.items() if key != "about"} for one in [*once.values(), *left]]


def of_primary(found: Iterable[Drift], primary: str) -> list[Drift]:
    """What differs, without what a standby has from its primary, where that is said of the primary."""

    def told(one: Drift) -> tuple[str, str, tuple[str, ...]]:
        return one["kind"], one["name"], tuple(one["why"])

    found = list(found)
    there = {told(one) for one in found if one["host"] == primary}
    return [
        one
        for one in found
        if one["host"] == primary or told(one) not in there or (one["kind"] in OWN and not is_of_role(one))
    ]


def unknown(answers: Mapping[str, Any], environment: str) -> Iterator[Drift]:
    """What differs from what the last run of all roles left, and what is wrong whatever it was."""
    for host, answer in sorted(answers.items()):
        for one in answer["differences"]:
            before, now = one["accepted"], one["found"]
            way = ways_out.way_out(one, ways_out.Where(environment, host))
            yield {
                "host": host,
                "kind": one["kind"],
                "name": one["name"],
                "right": "repository" if one["kind"] in ALWAYS_WRONG else NOBODY,
                "why": [
                    f"{sign}{' '.join(text.split())}" for sign, text in (("-", before), ("+", now)) if text is not None
                ],
                "keep": way.keep,
                "undo": way.undo,
                "undo_in": way.database,
            }


def left_fragments(answers: Mapping[str, Any], named: Mapping[str, set[str]], environment: str) -> Iterator[Drift]:
    """The files of login rules that no role writes any more: the host has them, and no task of a check names them."""
    for host, answer in sorted(answers.items()):
        written = {path for path in named.get(host, set()) if "/pg_hba.d/" in path}
        for path in answer["rule_fragments"] if written else []:
            if path not in written:
                again = f"{program()} apply {environment} --limit {host} --tags postgresql_access"
                yield {
                    "host": host,
                    "kind": "login rules that no role asks for",
                    "name": path,
                    "right": "repository",
                    "why": [],
                    "keep": "ask for them in a variable of a role: docs/operations/access.md",
                    "undo": f"on {host}: sudo rm {shlex.quote(path)}; then: {again}",
                    "undo_in": "",
                }


def by_hand(session_made: Session, limit: str) -> tuple[list[Drift], list[str]]:
    """All drift of an environment, and the hosts that nothing is known of."""
    declared = session_made.run("site", check=True, limit=limit)
    if session_made.code():
        return [], []
    answers = session_made.run("check_drift", limit=limit).answers
    name = session_made.environment.name
    new = [host for host, answer in sorted(answers.items()) if not answer["known"]]
    found = as_declared(of_primary(unknown(answers, name), changes.primary(session_made)), declared.named)
    left = list(left_fragments(answers, declared.named, name))
    known_paths = {(one["host"], one["name"]) for one in left}
    found = [one for one in found if (one["host"], one["name"]) not in known_paths]
    return merged(overwritten(declared, name), [*left, *found]), new


def as_declared(found: Iterable[Drift], named: Mapping[str, set[str]]) -> list[Drift]:
    """What differs, without the files that a check has found to be as the repository says."""
    return [one for one in found if not (one["kind"] == "file" and one["name"] in named.get(one["host"], set()))]


def shown(found: list[Drift], new: list[str]) -> RenderableType:
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
        where = f", in database {drift_found['undo_in']}" if drift_found["undo_in"] else ""
        lines.append(Text(f"    {right}. To undo it{where}:"))
        lines += [Text(f"        {line}") for line in drift_found["undo"].splitlines()]
        lines.append(Text(f"    To keep it: {drift_found['keep']}"))
    lines.append(Text(f"{len(found)} things differ." if found else "Nothing was changed by hand."))
    return Group(*lines)


def taken(accepted: list[Drift], code: int) -> RenderableType:
    """What the hosts are held to from now on, a line each."""
    lines = [Text(f"{one['host']}: {one['kind']} {one['name']}") for one in accepted]
    end = "Not recorded on every host." if code else f"{len(accepted)} things are accepted as they are."
    return Group(*lines, Text(end))


def drift(name: str, options: Mapping[str, Any], *, as_json: bool, verbosity: int) -> int:
    """Look for drift, or accept it; returns the exit code."""
    with session("drift", name, as_json=as_json, verbosity=verbosity) as made:
        if options["accept"]:
            confirm(made.environment, options["confirm"], f"{name} would be held to what it is now.")
            recap = made.run("check_drift", limit=options["limit"], quiet=True)
            if made.code():
                return made.end(recap, check=False)
            accepted = of_primary(unknown(recap.answers, name), changes.primary(made))
            made.audit(recap, accept=True)
            if not as_json:
                show.say(made.console, taken(accepted, made.code()))
            return made.finish(recap, check=False, more={"accepted": accepted})
        found, new = by_hand(made, options["limit"])
        last = made.recaps.get("check_drift", made.recaps["site"])
        if made.code():
            return made.end(last, check=True)
        if not as_json:
            show.say(made.console, shown(found, new))
        return made.finish(
            last, check=True, more={"drift": found, "unknown_hosts": new}, code=DRIFTED if found else None
        )
