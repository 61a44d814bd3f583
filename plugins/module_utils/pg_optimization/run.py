"""One run: observe, plan and, unless it is a check, apply and look again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from . import apply, blockers, declaration, lock, space
from .action import Action, Policy
from .connection import Row, Server, Session, connect
from .encoding import Encoding
from .errors import OptimizationError, RefusedError
from .look import look
from .model import Declaration, Problem
from .plan import Plan, plan
from .state import Found


@dataclass(frozen=True)
class Space:
    """What to do about disk space: a policy (when_known, required, off), bytes given by hand, bytes to leave free."""

    policy: str = "when_known"
    given: Mapping[str, int] = field(default_factory=dict)
    reserve: int = 0
    local: bool = False


def bytes_given(free_space: Mapping[str, Any]) -> dict[str, int]:
    """Return free_space as numbers.

    Raises:
        RefusedError: a value is no number of bytes.
    """
    given = {}
    for name, value in free_space.items():
        try:
            given[str(name)] = int(value)
        except (TypeError, ValueError) as error:
            text = f"free_space of tablespace {name} is {value!r} and not a number of bytes"
            raise RefusedError(text) from error
    return given


@dataclass(frozen=True)
class Request:
    """Everything that a run is given."""

    params: Mapping[str, Any]
    connection: Mapping[str, Any]
    session_role: str | None = None
    search_path: tuple[str, ...] = ("public",)
    session_settings: Mapping[str, str] = field(default_factory=dict)
    patience: apply.Patience = field(default_factory=apply.Patience)
    lock_wait: float = 60.0
    space: Space = field(default_factory=Space)
    check: bool = False


class Report:
    """Collects the result, which has the same keys on every path."""

    def __init__(self) -> None:
        """Begin with nothing done."""
        self.server: Server | None = None
        self.actions: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self.problems: list[Problem] = []
        self.undeclared: list[str] = []
        self.changed = False
        self.queries = 0
        self.encoding = Encoding()

    def connected(self, server: Server) -> None:
        """Take over what the connection found."""
        self.server, self.encoding = server, server.encoding

    @contextmanager
    def worded(self) -> Iterator[None]:
        """Have an error of the block say for a person what it says of the database."""
        try:
            yield
        except OptimizationError as error:
            error.message = self.encoding.outward(error.message)
            raise

    def plan(self, session: Session, made: Plan) -> None:
        """Take over a plan."""
        self.actions = [action_result(session, action) for action in made.actions]
        self.warnings = list(made.warnings)
        self.problems = list(made.problems)
        self.undeclared = list(made.undeclared)

    def result(self, error: OptimizationError | None = None) -> dict[str, Any]:
        """Return the result as the module returns it."""
        facts = error.facts if error is not None else {}
        result = {
            "changed": self.changed,
            "actions": self.actions,
            "warnings": self.warnings,
            "problems": [{"object": item.object, "problem": item.problem} for item in self.problems],
            "undeclared": self.undeclared,
            "blockers": [dict(row) for row in facts.get("blockers") or []],
            "sqlstate": facts.get("sqlstate"),
            "statement": facts.get("statement"),
            "server_version": self.server.version if self.server else None,
            "database": self.server.database if self.server else None,
            "role": self.server.role if self.server else None,
            "query_count": self.queries,
        }
        return dict(self.encoding.outward(result))


def action_result(session: Session, action: Action) -> dict[str, Any]:
    """Return an action as the module returns it; a step of several statements is shown with its BEGIN and COMMIT."""
    statements: list[str] = []
    for step in action.steps:
        texts = [session.render(statement) for statement in step.statements]
        statements += texts if step.policy is Policy.CONCURRENT else ["BEGIN", *texts, "COMMIT"]
    locks = dict.fromkeys(str(lock) for step in action.steps for lock in step.locks)
    return {
        "kind": action.kind,
        "name": action.name,
        "action": action.action,
        "reason": action.reason,
        "statements": statements,
        "locks": list(locks),
        "before": action.before,
        "after": action.after,
        "estimated_bytes": action.bytes,
        "estimated_seconds": action.seconds,
        "state": "planned",
        "seconds": None,
    }


def check_space(made: Plan, found: Found, server: Server, options: Space) -> list[Problem]:
    """Return why the builds would not fit."""
    if options.policy == "off":
        return []
    needed = space.needed(made.actions, found.default_tablespace, found.work_memory)
    problems = []
    for room in space.rooms(needed, found, server.data_directory, local=options.local, given=options.given):
        if room.free is None:
            if options.policy == "required":
                problems.append(Problem(str(room), "its free space is not known: give it in free_space"))
        elif room.free - options.reserve < room.needed:
            size, free = space.human(room.needed), space.human(room.free)
            text = f"the builds need about {size}, WAL and sorting included; {free} are free"
            if options.reserve:
                text += f", of which {space.human(options.reserve)} are to stay"
            problems.append(Problem(str(room), text))
    return problems


def refusal(problems: list[Problem]) -> RefusedError:
    """Return the refusal of a declaration, with every problem in its message."""
    lines = [f"{item.object}: {item.problem}" for item in problems]
    return RefusedError("the declaration is refused, nothing was changed:\n" + "\n".join(f"- {line}" for line in lines))


def _decide(session: Session, wanted: Declaration, offline: list[Problem], request: Request, report: Report) -> Plan:
    """Observe and plan; refuse what is wrong."""
    found, canonical = look(session, wanted, request.patience)
    made = plan(wanted, canonical, found)
    report.plan(session, made)
    report.problems = [*offline, *report.problems]
    if not report.problems:
        report.problems = check_space(made, found, session.server, request.space)
    if report.problems:
        raise refusal(report.problems)
    _warn_of_blockers(session, made, report)
    return made


def _warn_of_blockers(session: Session, made: Plan, report: Report) -> None:
    tables = [
        lock.on
        for action in made.actions
        for step in action.steps
        if step.policy is Policy.CONCURRENT
        for lock in step.locks
    ]
    rows: list[Row] = blockers.of_build(session, tables) if tables else []
    if rows:
        report.warnings.append(
            f"builds will wait for these sessions to end their transactions: {blockers.sentence(rows)}"
        )


def _apply(session: Session, made: Plan, request: Request, report: Report) -> None:
    results = dict(zip(map(id, made.actions), report.actions, strict=True))
    current: list[Action] = list(made.actions)

    def touched() -> None:
        report.changed = True

    def done(action: Action, seconds: float) -> None:
        results[id(action)].update(state="done", seconds=round(seconds, 3))
        current.remove(action)

    try:
        with session.own_formats(local=False):
            apply.run(session, made.actions, request.patience, touched, done)
    except OptimizationError as error:
        results[id(current[0])]["state"] = "failed"
        error.message = f"{current[0].kind} {current[0].name}: {error.message}"
        raise


def _verify(session: Session, wanted: Declaration, patience: apply.Patience) -> None:
    """Look again: a state that still differs is a failure, not a success to be repeated."""
    found, canonical = look(session, wanted, patience)
    left = plan(wanted, canonical, found).actions
    if left:
        names = "; ".join(f"{action.kind} {action.name} ({action.reason})" for action in left)
        raise OptimizationError(f"every step succeeded, and the database still differs from the declaration: {names}")


def run(request: Request, report: Report) -> None:
    """Bring the database to what is declared, or with `check` only say how.

    Raises:
        OptimizationError: with what to report; `report` has what was done until then.
    """
    wanted, offline = declaration.parse(request.params)
    report.problems = list(offline)
    try:
        session = connect(
            request.connection,
            session_role=request.session_role,
            search_path=request.search_path,
            session_settings=request.session_settings,
        )
    except OptimizationError as error:
        if offline:
            raise refusal([*offline, Problem("connection", error.message)]) from error
        raise
    report.connected(session.server)
    try:
        with report.worded():
            _run(session, request, report, wanted, offline)
    finally:
        report.queries = session.queries
        session.close()


def _run(session: Session, request: Request, report: Report, wanted: Declaration, offline: list[Problem]) -> None:
    encoding = session.server.encoding
    if encoding != Encoding():
        wanted, offline = declaration.parse(encoding.inward(request.params), encoding)
    made = _decide(session, wanted, offline, request, report)
    report.changed = bool(made.actions)
    if request.check or not made.actions:
        return
    report.changed = False
    lock.take_within(session, request.lock_wait)
    made = _decide(session, wanted, offline, request, report)
    _apply(session, made, request, report)
    _verify(session, wanted, request.patience)
