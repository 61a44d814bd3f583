"""Decide about extended statistics: made, filled and marked in one transaction, so that they never stand empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import naming, sqlbuild
from .action import SHARE_UPDATE_EXCLUSIVE, Action, Lock, Outcome, Policy, step
from .connection import sql
from .model import Name, Statistics
from .state import Found, FoundStatistics
from .twins import StatisticsDefinition

if TYPE_CHECKING:
    from .connection import Composable


def _describe(name: Name, table: Name, definition: StatisticsDefinition, target: int, comment: str) -> str:
    lines = [
        f"CREATE STATISTICS {name} ({sqlbuild.statistics_kinds(definition.kinds)}) ON {definition.columns} FROM {table}"
    ]
    lines += [f"  target: {target}"] if target >= 0 else []
    lines += [f"  comment: {comment}"] if comment else []
    return "\n".join(lines) + "\n"


def describe(found: FoundStatistics) -> str:
    """Return a found statistics object for a difference view."""
    definition = StatisticsDefinition(found.columns, found.kinds)
    return _describe(found.name, found.table, definition, found.target, naming.own_comment(found.comment))


def drop(name: Name) -> Composable:
    """Return the statement that drops it, unless it went with a materialized view that the same run exchanged."""
    return sqlbuild.text("DROP STATISTICS IF EXISTS {}", sqlbuild.ident(name))


def _compare(item: Statistics, canonical: StatisticsDefinition, existing: FoundStatistics) -> list[str]:
    reasons = []
    if existing.table != item.table:
        reasons.append(f"is on {existing.table}")
    if existing.columns != canonical.columns:
        reasons.append(f"is on {existing.columns}")
    if existing.kinds != canonical.kinds:
        reasons.append(f"is of {sqlbuild.statistics_kinds(existing.kinds) or 'expressions'}")
    return reasons


def decide(item: Statistics, canonical: StatisticsDefinition | None, found: Found) -> Outcome:
    """Decide about one extended statistics object, which only its owner may change."""
    outcome = _decide(item, canonical, found)
    existing = found.statistics.get(item.name)
    if outcome.actions and existing is not None and not existing.owned:
        outcome = Outcome()
        outcome.refuse(item, f"belongs to {existing.owner}, and {found.role} is not a member of that role")
    return outcome


def _decide(item: Statistics, canonical: StatisticsDefinition | None, found: Found) -> Outcome:
    outcome = Outcome()
    existing = found.statistics.get(item.name)
    locks = (Lock(SHARE_UPDATE_EXCLUSIVE, item.table),)
    if not item.present:
        if existing is not None:
            removal = step("remove", Policy.SHORT, [drop(item.name)], Lock(SHARE_UPDATE_EXCLUSIVE, existing.table))
            reason = "is declared absent"
            outcome.actions.append(
                Action("statistics", str(item.name), "drop", reason, (removal,), before=describe(existing))
            )
        return outcome
    if canonical is None:
        return outcome
    if existing is not None and existing.table != item.table and not naming.marked(existing.comment):
        outcome.refuse(item, f"exists on table {existing.table}, and was not made by this module")
        return outcome
    reasons = ["does not exist"] if existing is None else _compare(item, canonical, existing)
    name, table = sqlbuild.ident(item.name), sqlbuild.ident(item.table)
    kept = naming.own_comment(existing.comment) if existing is not None else ""
    comment = kept if item.comment is None else item.comment
    target = item.target if item.target is not None else existing.target if existing is not None else -1
    before = "" if existing is None else describe(existing)
    after = _describe(item.name, item.table, canonical, target, comment)
    set_target = sqlbuild.text("ALTER STATISTICS {} SET STATISTICS {}", name, sql.Literal(target))
    analyze = sqlbuild.text("ANALYZE {}", table)
    if reasons:
        statements = [] if existing is None else [drop(item.name)]
        statements.append(sqlbuild.create_statistics(item, name, table))
        statements += [set_target] if target >= 0 else []
        statements += [sqlbuild.comment_on("STATISTICS", name, naming.mark(comment)), analyze]
        what = "create" if existing is None else "replace"
        outcome.actions.append(
            Action(
                "statistics",
                str(item.name),
                what,
                "; ".join(reasons),
                (step("make and fill", Policy.LONG, statements, *locks),),
                before,
                after,
            )
        )
        return outcome
    assert existing is not None  # noqa: S101 - else there is a reason
    statements = []
    if existing.target != target:
        reasons.append(f"has the target {existing.target}")
        statements += [set_target, analyze]
    if kept != comment:
        reasons.append(f"has the comment {kept!r}")
        text = naming.mark(comment) if naming.marked(existing.comment) else comment
        statements.append(sqlbuild.comment_on("STATISTICS", name, text))
    if statements:
        alter = step("alter", Policy.LONG, statements, *locks)
        outcome.actions.append(
            Action("statistics", str(item.name), "alter", "; ".join(reasons), (alter,), before, after)
        )
    return outcome
