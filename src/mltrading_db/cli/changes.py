"""Safe change: what applying would do, whether that is still so, and the run itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mltrading_db.cli import connect, inputs, making, pages, plans, show
from mltrading_db.cli.environment import RefusedError, program
from mltrading_db.cli.events import HIDDEN, Change, Recap
from mltrading_db.cli.session import Session, confirm, provenance, session


@dataclass(frozen=True)
class Wanted:
    """What `mldb apply` was told."""

    env: str
    check: bool = False
    limit: str = ""
    tags: str = ""
    plan: Path | None = None
    older: bool = False
    restart: bool = False
    confirm: str = ""


# Restarts, which an environment may allow only to whoever asks for them.
ALLOWED = {"postgresql_restart_allowed": True, "pgbouncer_restart_allowed": True}


def apply(wanted: Wanted, *, as_json: bool, verbosity: int) -> int:
    """Apply an environment; returns the exit code."""
    with session("apply", wanted.env, as_json=as_json, verbosity=verbosity) as made:
        limit, tags = wanted.limit, wanted.tags
        hold_to_tags(made, tags)
        if wanted.plan:
            limit, tags = same_scope(wanted, plans.read(wanted.plan))
        if not wanted.check:
            confirm(made.environment, wanted.confirm, f"{wanted.env} would be changed.")
        if wanted.plan:
            hold_to(made, plans.read(wanted.plan))
            if made.code():
                return made.end(made.recaps["site"], check=True)
        allowed = ALLOWED if wanted.restart else {}
        if wanted.check:
            recap = made.run("site", allowed, check=True, limit=limit, tags=tags)
        else:
            recap = made.change("site", allowed, limit=limit, tags=tags, older=wanted.older)
        found = connect.servers_of(made.inventory)
        ways = list(connect.ways(found)) if found and not wanted.check else []
        closing = ["How to connect; passwords are where the environment keeps its secrets:", *connect.lines(ways)]
        more = {"connect": [vars(way) for way in ways]}
        return made.end(recap, check=wanted.check, closing=closing if ways else [], more=more)


def plan(wanted: Wanted, *, as_json: bool, verbosity: int) -> int:
    """Make a plan, save it and show it; returns the exit code."""
    with session("plan", wanted.env, as_json=as_json, verbosity=verbosity) as made:
        hold_to_tags(made, wanted.tags)
        recap = made.run("site", check=True, limit=wanted.limit, tags=wanted.tags)
        if made.code():
            return made.end(recap, check=True)
        steps = steps_of(made, recap)
        states: dict[str, dict[str, Any]] = {}
        if steps:
            states = made.run("check_state", limit=wanted.limit, quiet=True).answers
            if made.code():
                return made.end(recap, check=True)
        found = plans.Plan(
            environment=wanted.env,
            limit=wanted.limit,
            tags=wanted.tags,
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            commit=str(provenance(made.environment)["commit"]),
            digest=plans.digest(steps),
            steps=steps,
        )
        path = wanted.plan or made.record.folder / "plan.json"
        plans.write(path, found)
        contexts = {host: (state.get("server") or {}).get("contexts", {}) for host, state in states.items()}
        allowed_by = f"{program()} apply {wanted.env} --restart"
        takes = plans.taken_up(steps, contexts, primary(made), waiting(made), allowed_by)
        seen = seen_of(made, states, wanted.tags)
        if not as_json:
            show.say(made.console, show.page(pages.page(steps, takes, seen)))
            made.console.print(
                f"Saved. To do this and nothing else: {program()} apply {wanted.env} --plan {path}", soft_wrap=True
            )
        risky = [{"kind": kind, "what": line} for kind, line in pages.risks(steps, takes, seen)]
        more = {"plan": str(path), "steps": steps, "taken_up": takes, "risks": risky}
        return made.finish(recap, check=True, more=more)


def steps_of(made: Session, recap: Recap) -> list[plans.Step]:
    """The steps of a check; one with a secret says the file that it is about, by its task."""

    def named(change: Change) -> Change:
        if change.what != HIDDEN:
            return change
        return replace(change, what=making.files_of(made.inventory, change.host, change.role, change.task) or HIDDEN)

    return plans.steps([named(change) for change in recap.changes])


def seen_of(made: Session, states: dict[str, dict[str, Any]], tags: str) -> pages.Seen:
    """What is known of the hosts beside the steps."""
    named = {primary(made), *(host for host, state in states.items() if not state.get("provisioned"))}
    return pages.Seen(
        states=states,
        makings={host: making.making(made.inventory, host) for host in sorted(named) if host in made.inventory.hosts},
        servers=made.inventory.groups["postgresql"],
        primary=primary(made),
        copies=not tags or "postgresql_replica" in tags.split(","),
        whole=not tags,
    )


def hold_to_tags(made: Session, tags: str) -> None:
    """Refuse tags that no role has.

    Raises:
        RefusedError: there is one.
    """
    wrong = inputs.tag_problems(made.environment.project / "playbooks/site.yml", tags)
    if wrong:
        raise RefusedError([*wrong, "Nothing was changed."])


def primary(made: Session) -> str:
    """The environment's primary."""
    servers = made.inventory.groups["postgresql"]
    return str(made.inventory.value(servers[0], "postgresql_primary"))


def waiting(made: Session) -> set[str]:
    """The servers that are not restarted unless somebody asks for it."""
    servers = made.inventory.groups["postgresql"]
    return {host for host in servers if made.inventory.value(host, "postgresql_restart_allowed") is False}


def same_scope(wanted: Wanted, plan: plans.Plan) -> tuple[str, str]:
    """The hosts and roles of a plan, which nothing else may be said beside.

    Raises:
        RefusedError: the plan is of another environment, or other hosts or roles are asked for.
    """
    if plan.environment != wanted.env:
        raise RefusedError([f"{wanted.plan} is a plan for {plan.environment}, not for {wanted.env}."])
    if (wanted.limit or plan.limit, wanted.tags or plan.tags) != (plan.limit, plan.tags):
        raise RefusedError([f"{wanted.plan} was made for --limit '{plan.limit}' --tags '{plan.tags}'; leave them out."])
    return plan.limit, plan.tags


def hold_to(made: Session, plan: plans.Plan) -> None:
    """Refuse a plan that is no longer what would be done.

    Raises:
        RefusedError: the hosts, or the repository, have moved since it was made.
    """
    commit = str(provenance(made.environment)["commit"])
    if plan.commit != commit:
        line = f"The plan no longer holds: it was made from commit {plan.commit or '(none)'}, and this is {commit}."
        raise RefusedError([line, "Nothing was changed. Plan again."])
    recap = made.run("site", check=True, limit=plan.limit, tags=plan.tags)
    if made.code():
        return
    now = steps_of(made, recap)
    if plans.digest(now) != plan.digest:
        raise RefusedError(
            ["The plan no longer holds:", *plans.moved(plan.steps, now), "Nothing was changed. Plan again."]
        )
