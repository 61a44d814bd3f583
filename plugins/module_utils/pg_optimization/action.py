"""What a plan is made of: actions on objects, in steps that each are one transaction or one statement."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from .model import Name, Problem

if TYPE_CHECKING:
    from .connection import Composable


class Policy(Enum):
    """How a step waits.

    SHORT: one transaction that others feel; short lock timeouts with retries, cut when it runs for long.
    LONG: one transaction that works for a while on what nobody reads; waits for its locks like SHORT, then unhurried.
    CONCURRENT: one statement outside of a transaction, no lock timeout (it would leave an INVALID index), watched.
    """

    SHORT = "short"
    LONG = "long"
    CONCURRENT = "concurrent"


class Lock(NamedTuple):
    """A lock that a step takes, in the documentation's words."""

    mode: str
    on: Name

    def __str__(self) -> str:
        """Return it as a person reads it."""
        return f"{self.mode} on {self.on}"


ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"
SHARE = "SHARE"
SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
ACCESS_SHARE = "ACCESS SHARE"


@dataclass(frozen=True)
class Step:
    """Statements that belong together; `purpose` says what for."""

    purpose: str
    statements: tuple[Composable, ...]
    policy: Policy
    locks: tuple[Lock, ...]


@dataclass(frozen=True)
class Action:
    """What is to be done with one object, and why; it is described before and after, and its cost is estimated."""

    kind: str
    name: str
    action: str
    reason: str
    steps: tuple[Step, ...]
    before: str = ""
    after: str = ""
    bytes: int = 0
    seconds: float = 0.0
    tablespace: str = ""


@dataclass
class Outcome:
    """What deciding about objects gave."""

    actions: list[Action] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Take over another outcome."""
        self.actions += other.actions
        self.warnings += other.warnings
        self.problems += other.problems

    def refuse(self, title: object, problem: str) -> None:
        """Add one problem of one object."""
        self.problems.append(Problem(str(title), problem))


def step(purpose: str, policy: Policy, statements: Iterable[Composable], *locks: Lock) -> Step:
    """Return a step."""
    return Step(purpose, tuple(statements), policy, locks)
