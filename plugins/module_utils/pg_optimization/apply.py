"""Apply: execute the steps of a plan, each with the timeouts that its kind of step needs.

Every step can be cut off at any moment: what it leaves is recognised by the next run, which goes on from there.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from . import blockers, lock
from .action import Action, Policy, Step
from .connection import Row, Session
from .errors import DEADLOCK, LOCK_NOT_AVAILABLE, OptimizationError, ServerError

QUERY_CANCELED = "57014"


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds.

    lock_timeout: the longest single wait of a step that others feel while it waits.
    lock_budget: all the waits of one such step together.
    build_wait: how long a concurrent build may do nothing but wait for other sessions.
    """

    lock_timeout: float = 1.0
    lock_budget: float = 60.0
    build_wait: float = 600.0


class StepError(OptimizationError):
    """A step that failed, with the server's words and who was in the way."""


def ladder(longest: float) -> Callable[[int], float]:
    """Return the lock timeout of each attempt: from 0.1 s, doubled, to the longest."""
    return lambda attempt: min(0.1 * 2**attempt, longest)


def _milliseconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"


# Undefined function, table, object, column; no such schema.
_UNDEFINED = {"42883", "42P01", "42704", "42703", "3F000"}
_FUNCTION = re.compile(r'\bfunction ("[^"]+"|[^\s(]+(?:\([^)]*\))?)')


def path_hint(sqlstate: str | None, context: str | None, version: int) -> str:
    """Return what helps where a function of the user's does not find what it names, or nothing.

    From PostgreSQL 17 on, indexes are built and views are filled with a search path of the server's own.
    """
    called = _FUNCTION.findall(context or "")
    if sqlstate not in _UNDEFINED or not called:
        return ""
    name = called[0].strip('"')
    own = "builds indexes and fills views with the search_path pg_catalog, pg_temp alone"
    why = f"PostgreSQL {version // 10000} {own}" if version >= 170000 else "it may rely on another search_path"  # noqa: PLR2004
    return (
        f"\nHINT: function {name} does not find what it names: {why}. "
        f"Write the schemas in its body, or ALTER FUNCTION {name} SET search_path = …"
    )


def _failure(session: Session, step: Step, error: ServerError, rows: list[Row]) -> StepError:
    message = error.message + path_hint(error.sqlstate, error.context, session.server.number)
    if rows:
        message += f"\nIn the way: {blockers.sentence(rows)}"
    return StepError(message, sqlstate=error.sqlstate, statement=error.statement, blockers=rows, step=step.purpose)


def _attempt(session: Session, step: Step, timeout: float) -> None:
    with session.transaction():
        statement_timeout = "0" if step.policy is Policy.LONG else _milliseconds(max(30.0, timeout * 10))
        session.settings({"lock_timeout": _milliseconds(timeout), "statement_timeout": statement_timeout}, local=True)
        for statement in step.statements:
            session.execute(statement)


def _in_transaction(session: Session, step: Step, patience: Patience, sleep: Callable[[float], None]) -> None:
    """Run a step in one transaction; while somebody holds what it needs, let go, wait a little and try again."""
    deadlock_timeout = session.server.deadlock_timeout
    longest = patience.lock_timeout
    if step.policy is Policy.SHORT:
        # Where two wait for each other it is this step that gives way, before the server chooses one of them.
        longest = min(longest, deadlock_timeout / 2)
    timeout = ladder(longest)
    end = time.monotonic() + patience.lock_budget
    attempt = 0
    wait = timeout(attempt)
    while True:
        try:
            _attempt(session, step, wait)
            return
        except ServerError as error:
            if error.sqlstate not in {LOCK_NOT_AVAILABLE, DEADLOCK}:
                raise _failure(session, step, error, []) from error
            rows = blockers.holders(session, step.locks)
            if time.monotonic() >= end:
                raise _failure(session, step, error, rows) from error
        pause = timeout(attempt) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret
        sleep(min(pause, max(0.0, end - time.monotonic())))
        attempt += 1
        # Autovacuum yields to who has waited for longer than the server's deadlock_timeout, and to nobody else.
        autovacuum = bool(rows) and all(row["autovacuum"] for row in rows)
        wait = deadlock_timeout * 1.5 if autovacuum else timeout(attempt)


def _concurrently(session: Session, step: Step, patience: Patience) -> None:
    """Run a statement outside of a transaction, without a lock timeout, watched from a second connection."""
    session.settings({"lock_timeout": "0", "statement_timeout": "0"})
    with blockers.Watch(session, patience.build_wait) as watch:
        try:
            for statement in step.statements:
                session.execute(statement)
        except ServerError as error:
            failure = error
        else:
            return
    if watch.gave_up:
        message = f"gave up: it did nothing but wait for other sessions for {patience.build_wait:g} s"
        failure = ServerError(message, failure.sqlstate, failure.statement, failure.context)
    raise _failure(session, step, failure, watch.blockers if failure.sqlstate in {QUERY_CANCELED, DEADLOCK} else [])


def _skipped(session: Session) -> list[str]:
    """Return the warnings in which the server says that it did not do what it was told, and forget the notices."""
    notices = [notice.strip() for notice in session.connection.notices]
    session.connection.notices.clear()
    return [notice for notice in notices if notice.startswith("WARNING") and "skipping" in notice]


def run_step(session: Session, step: Step, patience: Patience, sleep: Callable[[float], None] = time.sleep) -> None:
    """Execute one step.

    Raises:
        StepError: the server's error with the statement, its sqlstate and, for a lock, the sessions in the way.
    """
    if not lock.holds(session):
        raise StepError(
            "the session has lost the lock that excludes other runs: a reconnection, or a pooler in between"
        )
    session.connection.notices.clear()
    if step.policy is Policy.CONCURRENT:
        _concurrently(session, step, patience)
    else:
        _in_transaction(session, step, patience, sleep)
    if skipped := _skipped(session):
        raise StepError("; ".join(skipped), statement=session.render(step.statements[-1]), step=step.purpose)


def run(
    session: Session,
    actions: tuple[Action, ...],
    patience: Patience,
    touched: Callable[[], None],
    done: Callable[[Action, float], None],
) -> None:
    """Execute the actions in order.

    Args:
        session: that holds the lock.
        actions: of the plan.
        patience: how long to wait.
        touched: called as soon as something may have changed: a build that fails has left something too.
        done: called with each action and the seconds that it took.
    """
    for action in actions:
        begin = time.monotonic()
        for step in action.steps:
            if step.policy is Policy.CONCURRENT:
                touched()
            run_step(session, step, patience)
            touched()
        done(action, time.monotonic() - begin)
