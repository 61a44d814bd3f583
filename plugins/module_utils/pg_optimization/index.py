"""Decide about the indexes of ordinary tables and materialized views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from . import compare, duties, naming, space, sqlbuild
from .action import ACCESS_EXCLUSIVE, SHARE, SHARE_UPDATE_EXCLUSIVE, Action, Lock, Outcome, Policy, Step, step
from .connection import sql
from .model import Index, Name
from .state import Definition, Found, FoundIndex

if TYPE_CHECKING:
    from .connection import Composable

LEFT = "remove what an interrupted run left"


def drop_step(found: FoundIndex, purpose: str = "remove the old one", name: Name | None = None) -> Step:
    """Return the step that drops an index, which by then may have another name.

    It does not block, but for a partitioned index, which can be dropped in no other way.
    """
    name = name or found.name
    if found.partitioned:
        statement = sqlbuild.text("DROP INDEX {}", sqlbuild.ident(name))
        locks = [Lock(ACCESS_EXCLUSIVE, table) for table in (found.table, *found.partitions, name)]
        return step(purpose, Policy.SHORT, [statement], *locks)
    statement = sqlbuild.text("DROP INDEX CONCURRENTLY {}", sqlbuild.ident(name))
    return step(purpose, Policy.CONCURRENT, [statement], Lock(SHARE_UPDATE_EXCLUSIVE, found.table))


def build_step(index: Index, name: Name, table: Name, *, concurrently: bool, tablespace: str | None = None) -> Step:
    """Return the step that builds an index under a name."""
    declared = index if tablespace is None else replace(index, tablespace=tablespace)
    statement = sqlbuild.create_index(
        declared, sql.Identifier(name.name), sqlbuild.ident(table), concurrently=concurrently
    )
    if concurrently:
        return step("build", Policy.CONCURRENT, [statement], Lock(SHARE_UPDATE_EXCLUSIVE, table))
    return step("build", Policy.LONG, [statement], Lock(SHARE, table))


def alter_statements(index: Index, canonical: Definition, existing: FoundIndex) -> list[Composable]:
    """Return the statements that bring storage parameters to what is declared."""
    want, have = dict(canonical.parameters), dict(existing.definition.parameters)
    setting = sorted((name, value) for name, value in want.items() if have.get(name) != value)
    resetting = sorted(set(have) - set(want))
    statements: list[Composable] = []
    name = sqlbuild.ident(index.name)
    if setting:
        statements.append(sqlbuild.text("ALTER INDEX {} SET ({})", name, sqlbuild.assignments(setting)))
    if resetting:
        statements.append(sqlbuild.text("ALTER INDEX {} RESET ({})", name, sqlbuild.names(resetting)))
    return statements


def _usable(leftover: FoundIndex | None, index: Index, canonical: Definition, found: Found) -> bool:
    """Tell whether what a killed run built is what is wanted now."""
    if leftover is None:
        return False
    existing = found.indexes.get(index.name)
    place = replace(index, tablespace=compare.tablespace_of(index, existing, found))
    return not compare.compare(place, canonical, leftover)


def _swap(index: Index, existing: FoundIndex | None) -> Step:
    """Return the step in which the new index takes its name, together with everything that says what it is."""
    new, old, name = naming.building(index.name), naming.retired(index.name), index.name
    statements: list[Composable] = []
    locks = [Lock(SHARE_UPDATE_EXCLUSIVE, new)]
    if existing is not None:
        statements.append(sqlbuild.rename("INDEX", name, old.name))
        locks.append(Lock(SHARE_UPDATE_EXCLUSIVE, name))
    statements.append(sqlbuild.rename("INDEX", new, name.name))
    comment = naming.mark(compare.wanted_comment(index, existing))
    statements.append(sqlbuild.comment_on("INDEX", sqlbuild.ident(name), comment))
    if existing is not None and existing.table == index.table:
        taken, more = duties.statements(index.table, name, existing)
        statements += taken
        locks += more
    return step("give it its name", Policy.SHORT, statements, *locks)


def leftovers(index: Index, found: Found) -> list[FoundIndex]:
    """Return what a killed REINDEX CONCURRENTLY of this index left: INVALID, named after it, and not being built."""
    return [
        other
        for other in found.indexes_of(index.table)
        if not other.valid
        and not other.building
        and other.constraint is None
        and naming.is_reindex_leftover(other.name.name, index.name.name)
    ]


def _build(
    index: Index, canonical: Definition, found: Found, existing: FoundIndex | None, *, concurrently: bool
) -> list[Step]:
    """Return the steps from what is there to the new index in its place."""
    steps: list[Step] = []
    started = found.indexes.get(naming.building(index.name))
    usable = _usable(started, index, canonical, found)
    if started is not None and not usable:
        steps.append(drop_step(started, LEFT))
    if not usable:
        place = compare.tablespace_of(index, existing, found) if existing is not None else None
        steps.append(
            build_step(index, naming.building(index.name), index.table, concurrently=concurrently, tablespace=place)
        )
    steps += duties.analyze(index, canonical, naming.building(index.name), index.table, existing)
    steps.append(_swap(index, existing))
    if existing is not None:
        steps.append(drop_step(existing, name=naming.retired(index.name)))
    return steps


def _absent(index: Index, existing: FoundIndex | None, found: Found) -> Outcome:
    outcome = Outcome()
    left = cleaning(index, found, keep_new=False)
    if existing is None:
        if left:
            outcome.actions.append(clean_action(index.name, left))
        return outcome
    if existing.constraint is not None:
        outcome.refuse(
            index, f"is to be absent and backs the constraint {existing.constraint.name}: drop the constraint"
        )
    elif existing.parent is not None:
        outcome.refuse(index, f"is to be absent and is a part of index {existing.parent}")
    elif existing.table != index.table:
        outcome.refuse(index, f"is to be absent from {index.table} and is on {existing.table}")
    elif existing.referenced_by:
        outcome.refuse(index, f"is to be absent, and foreign keys refer to it: {', '.join(existing.referenced_by)}")
    elif not existing.owned:
        outcome.refuse(index, f"is to be absent and belongs to {existing.owner}, of which {found.role} is no member")
    elif existing.building:
        outcome.warnings.append(f"index {index.name} is being built by another session and was left alone")
    else:
        steps = (drop_step(existing, "remove"), *left)
        outcome.actions.append(
            Action("index", str(index.name), "drop", "is declared absent", steps, before=compare.describe(existing))
        )
    return outcome


def check_exchange(index: Index, existing: FoundIndex, found: Found, outcome: Outcome) -> None:
    """Refuse to replace an index that others hold on to, or by one that cannot be what this one is to its table."""
    if existing.referenced_by and existing.constraint is None:
        outcome.refuse(index, f"differs, and foreign keys refer to it: {', '.join(existing.referenced_by)}")
    for reason in duties.refusals(index, existing, found.relations.get(index.table)):
        outcome.refuse(index, f"differs, and {reason}")


def check_name(index: Index, existing: FoundIndex | None, found: Found, outcome: Outcome) -> None:
    """Refuse a name that something else has, and an index that is not this module's to move."""
    relation = found.relations.get(index.name)
    if existing is None:
        if relation is not None:
            outcome.refuse(index, "another relation has this name")
    elif existing.table != index.table and not existing.marked:
        outcome.refuse(index, f"exists on table {existing.table}, and was not made by this module")
    elif existing.parent is not None:
        outcome.refuse(index, f"differs and is a part of index {existing.parent}: declare that one")


def cleaning(index: Index, found: Found, *, keep_new: bool) -> list[Step]:
    """Return the steps that remove what killed runs left beside this index."""
    steps = []
    names = [naming.retired(index.name)] if keep_new else [naming.building(index.name), naming.retired(index.name)]
    for name in names:
        leftover = found.indexes.get(name)
        if leftover is not None and not leftover.building and not leftover.referenced_by:
            steps.append(drop_step(leftover, LEFT))
    for leftover in leftovers(index, found):
        steps.append(drop_step(leftover, "remove what an interrupted REINDEX left"))
    return steps


def adjust(
    index: Index, canonical: Definition, existing: FoundIndex, difference: compare.Difference
) -> tuple[list[str], list[Step]]:
    """Return what can be set on the index that is there: parameters and comment."""
    statements: list[Composable] = []
    reasons = list(difference.alter)
    locks: list[Lock] = []
    if difference.alter:
        statements += alter_statements(index, canonical, existing)
        locks.append(Lock(ACCESS_EXCLUSIVE, index.name))
    if index.comment is not None and index.comment != naming.own_comment(existing.comment):
        reasons.append(f"has the comment {naming.own_comment(existing.comment)!r}")
        comment = naming.mark(index.comment) if existing.marked else index.comment
        statements.append(sqlbuild.comment_on("INDEX", sqlbuild.ident(index.name), comment))
        locks.append(Lock(SHARE_UPDATE_EXCLUSIVE, index.name))
    return reasons, [step("alter", Policy.SHORT, statements, *locks)] if statements else []


def decide(index: Index, canonical: Definition | None, found: Found, *, concurrently: bool) -> Outcome:
    """Decide about one index of a table or of an existing materialized view.

    Args:
        index: as declared.
        canonical: its definition as the server spells it; None where it is to be absent.
        found: what the database has.
        concurrently: build without blocking writes.
    """
    existing = found.indexes.get(index.name)
    if not index.present:
        return _absent(index, existing, found)
    outcome = Outcome()
    if canonical is None:
        return outcome
    difference = compare.compare(index, canonical, existing) if existing is not None else compare.Difference()
    if existing is None or difference:
        check_name(index, existing, found, outcome)
    if existing is not None and difference.rebuild:
        check_exchange(index, existing, found, outcome)
    if outcome.problems:
        return outcome
    if existing is not None and existing.building and not existing.valid:
        outcome.warnings.append(f"index {index.name} is being built by another session and was left alone")
        return outcome
    relation = found.relations.get(index.table)
    before = "" if existing is None else compare.describe(existing)
    after = compare.describe_declared(index, canonical, found, existing)
    if existing is None or difference.rebuild:
        steps = cleaning(index, found, keep_new=True)
        steps += _build(index, canonical, found, existing, concurrently=concurrently)
        builds = any(piece.purpose == "build" for piece in steps)
        size = space.index_bytes(index, relation) if builds else 0
        what, reason = _what(existing, difference, builds=builds)
        outcome.actions.append(
            Action(
                "index",
                str(index.name),
                what,
                reason,
                tuple(steps),
                before,
                after,
                bytes=size,
                seconds=space.index_seconds(size, relation, concurrently=concurrently) if builds else 0.0,
                tablespace=compare.tablespace_of(index, existing, found),
            )
        )
        return outcome
    reasons, steps = adjust(index, canonical, existing, difference)
    if steps:
        outcome.actions.append(
            Action("index", str(index.name), "alter", "; ".join(reasons), tuple(steps), before, after)
        )
    if to_clean := cleaning(index, found, keep_new=False):
        outcome.actions.append(clean_action(index.name, to_clean))
    return outcome


def _what(existing: FoundIndex | None, difference: compare.Difference, *, builds: bool) -> tuple[str, str]:
    if existing is None:
        return "create", "does not exist" if builds else "does not exist; an interrupted run has built it"
    if not existing.valid:
        return "rebuild", "; ".join(difference.rebuild)
    return "replace", "; ".join(difference.rebuild + difference.alter)


def clean_action(name: Name, steps: Sequence[Step]) -> Action:
    """Return the action that removes what killed runs left beside an index that is as declared."""
    return Action("index", str(name), "clean", "an interrupted run left something", tuple(steps))
