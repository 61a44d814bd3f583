"""One run: observe, plan and, unless it is a check, apply, measure how long others waited, and look again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from .. import apply, blockers, lock
from ..action import ACCESS_EXCLUSIVE, Action, Lock, Policy, Step
from ..connection import Session, connect
from ..errors import OptimizationError, ServerError
from ..model import Name, Problem
from ..plan import Plan
from ..run import Report, Request, check_space, refusal
from ..savepoint import NOT_A_REFUSAL
from .model import Facts, Wanted, twin_of
from .observe import observe
from .plan import choose_cut, plan

APPLICATION = "postgresql_partition"


@dataclass
class Result:
    """What the report of a run has beside that of the optimization module."""

    report: Report
    partitioned: bool = False
    cut: str | None = None
    history: str | None = None
    stall: float | None = None

    def result(self, error: OptimizationError | None = None) -> dict[str, Any]:
        """Return the result as the module returns it."""
        result = self.report.result(error)
        result.pop("undeclared")
        for action in result["actions"]:
            action.setdefault("stall_seconds", None)
        history = self.report.encoding.outward(self.history)
        more = {"partitioned": self.partitioned, "cut": self.cut, "history": history}
        return {**result, **more, "write_stall_seconds": self.stall}


class Stall:
    """The longest time for which one attempt of a step stood in the way of others.

    From the first statement of the attempt to its end: a lock that is waited for makes later comers wait as well.
    """

    def __init__(self) -> None:
        """Begin with the first attempt."""
        self.longest = 0.0
        self._begin = time.monotonic()

    def pause(self, seconds: float) -> None:
        """Sleep between two attempts."""
        self.end()
        time.sleep(seconds)
        self._begin = time.monotonic()

    def end(self) -> None:
        """Take the time of the attempt that is over."""
        self.longest = max(self.longest, time.monotonic() - self._begin)


@contextmanager
def _tried(session: Session) -> Iterator[None]:
    with session.rolled_back():
        session.settings({"lock_timeout": "5s", "statement_timeout": "60s"}, local=True)
        yield


def _rehearse(session: Session, wanted: Wanted, made: Plan) -> list[Problem]:
    """Make the twin in a transaction that is rolled back: what the server refuses is known before the first change.

    Foreign keys are left out: they lock the table that they refer to.
    """
    action = next((item for item in made.actions if item.name == str(twin_of(wanted.table))), None)
    if action is None:
        return []
    with _tried(session):
        for statement in action.steps[0].statements:
            text = session.render(statement)
            if " FOREIGN KEY (" in text:
                continue
            try:
                session.execute(statement)
            except ServerError as error:
                if error.sqlstate is None or error.sqlstate.startswith(NOT_A_REFUSAL):
                    raise
                return [Problem(f"table {wanted.table}", f"the server refuses: {error.message} ({text})")]
    return []


def _decide(session: Session, wanted: Wanted, request: Request, result: Result) -> Plan:
    """Observe and plan; refuse what cannot work."""
    facts = observe(session, wanted)
    made = plan(wanted, facts)
    result.report.plan(session, made)
    _describe(wanted, facts, result)
    if not made.problems:
        problems = check_space(made, facts.found, session.server, request.space)
        result.report.problems = [*problems, *_rehearse(session, wanted, made)]
    if result.report.problems:
        raise refusal(result.report.problems)
    return made


def _describe(wanted: Wanted, facts: Facts, result: Result) -> None:
    result.partitioned = facts.partition_key is not None
    lowest = next((part for part in facts.partitions if part.lowest), None)
    if lowest is not None:
        result.history, result.cut = str(lowest.name), lowest.upper.isoformat() if lowest.upper else None
    elif not result.report.problems:
        result.history, result.cut = str(facts.history(wanted.table)), choose_cut(wanted, facts).isoformat()
    for _, constraint in facts.checks:
        result.report.warnings.append(
            f"an interrupted run left {constraint.name}: until a run ends well, rows from that day on are refused"
        )


def _in_the_way(step: Step, wanted: Wanted) -> bool:
    return step.policy is Policy.SHORT and Lock(ACCESS_EXCLUSIVE, wanted.table) in step.locks


def _apply_action(session: Session, action: Action, wanted: Wanted, request: Request, result: Result) -> float | None:
    """Execute the steps of one action; return how long others were kept waiting, None where they were not."""
    longest: float | None = None
    for step in action.steps:
        if step.policy is Policy.CONCURRENT:
            result.report.changed = True
        stall = Stall()
        try:
            apply.run_step(session, step, request.patience, stall.pause)
        finally:
            stall.end()
            if _in_the_way(step, wanted):
                longest = max(longest or 0.0, stall.longest)
                result.stall = max(result.stall or 0.0, round(stall.longest, 3))
        result.report.changed = True
    return None if longest is None else round(longest, 3)


def _apply(session: Session, made: Plan, wanted: Wanted, request: Request, result: Result) -> None:
    for action, said in zip(made.actions, result.report.actions, strict=True):
        begin = time.monotonic()
        try:
            said["stall_seconds"] = _apply_action(session, action, wanted, request, result)
        except OptimizationError as error:
            said["state"] = "failed"
            error.message = f"{action.kind} {action.name}: {error.message}"
            _warn_of_the_refusal(wanted, result)
            raise
        said.update(state="done", seconds=round(time.monotonic() - begin, 3))


def _warn_of_the_refusal(wanted: Wanted, result: Result) -> None:
    """Say in which state a run leaves the table that failed between the constraint and the exchange."""
    done = {(said["kind"], said["action"]): said["name"] for said in result.report.actions if said["state"] == "done"}
    name = done.get(("constraint", "create"))
    if name is not None and ("table", "partition") not in done:
        result.report.warnings.append(
            f"the table now refuses rows from {result.cut} on, by the constraint {name}: run this again before it, "
            f"or ALTER TABLE {wanted.table} DROP CONSTRAINT {name.rpartition('.')[2]}"
        )


def _warn_of_blockers(session: Session, made: Plan, wanted: Wanted, result: Result) -> None:
    if any(step.policy is Policy.CONCURRENT for action in made.actions for step in action.steps):
        rows = blockers.of_build(session, [wanted.table])
        if rows:
            who = blockers.sentence(rows)
            result.report.warnings.append(f"builds will wait for these sessions to end their transactions: {who}")


def _verify(session: Session, wanted: Wanted, result: Result) -> None:
    """Look again: whatever is still to do is a failure."""
    facts = observe(session, wanted)
    left = plan(wanted, facts)
    _describe(wanted, facts, result)
    if left.actions or left.problems:
        names = [f"{item.kind} {item.name} ({item.reason})" for item in left.actions]
        names += [f"{item.object}: {item.problem}" for item in left.problems]
        raise OptimizationError(f"every step succeeded, and there is still something to do: {'; '.join(names)}")


def run(request: Request, wanted: Wanted, result: Result) -> None:
    """Partition the table, or with `check` only say how.

    Raises:
        OptimizationError: with what to report; `result` has what was done until then.
    """
    session = connect(
        {**request.connection, "application_name": APPLICATION},
        session_role=request.session_role,
        search_path=request.search_path,
        session_settings=request.session_settings,
    )
    report = result.report
    report.connected(session.server)
    inward = session.server.encoding.inward
    wanted = replace(wanted, table=Name(*map(inward, wanted.table)), column=inward(wanted.column))
    try:
        with report.worded():
            _run(session, wanted, request, result)
    finally:
        report.queries = session.queries
        session.close()


def _run(session: Session, wanted: Wanted, request: Request, result: Result) -> None:
    made = _decide(session, wanted, request, result)
    result.report.changed = bool(made.actions)
    if request.check or not made.actions:
        return
    result.report.changed = False
    lock.take_within(session, request.lock_wait)
    made = _decide(session, wanted, request, result)
    _warn_of_blockers(session, made, wanted, result)
    _apply(session, made, wanted, request, result)
    _verify(session, wanted, result)
