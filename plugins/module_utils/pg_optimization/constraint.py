"""Decide about an index that backs a constraint: the constraint is exchanged in one statement, never dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import compare, duties, naming, space, sqlbuild
from . import index as plain
from .action import ACCESS_EXCLUSIVE, SHARE, SHARE_UPDATE_EXCLUSIVE, Action, Lock, Outcome, Policy, Step, step
from .connection import sql
from .model import Index
from .state import Constraint, Definition, Found, FoundIndex

if TYPE_CHECKING:
    from .connection import Composable

_KINDS = {"p": "PRIMARY KEY", "u": "UNIQUE"}


def refusals(index: Index, constraint: Constraint, found: Found) -> list[str]:
    """Return why the constraint cannot be exchanged for one with the declared index."""
    reasons = []
    if constraint.kind not in _KINDS or constraint.temporal:
        reasons.append("only primary keys and unique constraints can be exchanged")
    if constraint.referenced_by:
        reasons.append(f"foreign keys refer to it: {', '.join(constraint.referenced_by)}")
    if constraint.standing:
        reasons.append(f"these stand on it, and are to be dropped first: {', '.join(constraint.standing)}")
    if not index.unique or index.method != "btree" or index.where is not None:
        reasons.append("the declared index is not a unique btree index of the whole table")
    if any(
        key.column is None or key.order == "desc" or key.nulls == "first" or key.opclass or key.collation
        for key in index.keys
    ):
        reasons.append("its key must be plain columns in their default order")
    relation = found.relations.get(index.table)
    if constraint.kind == "p" and relation is not None:
        nullable = [key.column for key in index.keys if key.column and not relation.columns[key.column].not_null]
        if nullable:
            reasons.append(f"columns of a primary key must be NOT NULL: {', '.join(nullable)}")
        if index.nulls_not_distinct:
            reasons.append("a primary key has no NULLS NOT DISTINCT")
    return reasons


def exchange_statements(index: Index, existing: FoundIndex, index_clause: Composable) -> list[Composable]:
    """Return the one statement that exchanges the constraint, and what describes it.

    `index_clause` says what the new one is: the index that it takes, or the columns that it is of.
    """
    constraint = existing.constraint
    assert constraint is not None  # noqa: S101 - decide() was called for one that has
    timing = " DEFERRABLE" if constraint.deferrable else ""
    timing += " INITIALLY DEFERRED" if constraint.deferred else ""
    name = sql.Identifier(constraint.name)
    table = sqlbuild.ident(index.table)
    kind = _KINDS[constraint.kind]
    statements: list[Composable] = [
        sqlbuild.text(
            f"ALTER TABLE {{}} DROP CONSTRAINT {{}}, ADD CONSTRAINT {{}} {kind} {{}}{timing}",
            table,
            name,
            name,
            index_clause,
        )
    ]
    comment = compare.wanted_comment(index, existing)
    if comment:
        statements.append(sqlbuild.comment_on("INDEX", sqlbuild.ident(index.name), comment))
    if constraint.comment:
        statements.append(
            sqlbuild.text("COMMENT ON CONSTRAINT {} ON {} IS {}", name, table, sql.Literal(constraint.comment))
        )
    return statements + duties.statements(index.table, index.name, existing)[0]


def _exchange(index: Index, existing: FoundIndex) -> Step:
    """Return the step that has the constraint take the new index."""
    taken = sqlbuild.text("USING INDEX {}", sql.Identifier(naming.building(index.name).name))
    statements = exchange_statements(index, existing, taken)
    return step("exchange the constraint", Policy.SHORT, statements, Lock(ACCESS_EXCLUSIVE, index.table))


def _comment(index: Index, existing: FoundIndex) -> str:
    """Return the comment that the index is to have, with the mark where it has one."""
    text = compare.wanted_comment(index, existing)
    return naming.mark(text) if existing.marked else text


def _reindex(index: Index, canonical: Definition, existing: FoundIndex, *, concurrently: bool) -> list[Step]:
    """Return the steps that build the constraint's index again, as declared.

    The parameters are committed before a concurrent build, whose transactions are its own. A sign in the comment stands
    until it is over, so that a run that is cut off in between is finished by the next one.
    """
    option: Composable = sql.SQL("")
    if index.tablespace is not None and index.tablespace != existing.tablespace:
        option = sqlbuild.text("(TABLESPACE {}) ", sql.Identifier(index.tablespace))
    name = sqlbuild.ident(index.name)
    altering = plain.alter_statements(index, canonical, existing)
    comment = _comment(index, existing)
    said = [sqlbuild.comment_on("INDEX", name, comment)]
    if not concurrently:
        statements = [*altering, sqlbuild.text("REINDEX {}INDEX {}", option, name)]
        statements += said if comment != (existing.comment or "") else []
        locks = (Lock(SHARE, index.table), Lock(ACCESS_EXCLUSIVE, index.name))
        return [step("build", Policy.LONG, statements, *locks)]
    steps = []
    if altering:
        altering.append(sqlbuild.comment_on("INDEX", name, naming.pending(existing.comment)))
        steps.append(step("alter", Policy.SHORT, altering, Lock(ACCESS_EXCLUSIVE, index.name)))
    build = sqlbuild.text("REINDEX {}INDEX CONCURRENTLY {}", option, name)
    steps.append(step("build", Policy.CONCURRENT, [build], Lock(SHARE_UPDATE_EXCLUSIVE, index.table)))
    if altering or comment != (existing.comment or ""):
        steps.append(step("say that it is built", Policy.SHORT, said, Lock(SHARE_UPDATE_EXCLUSIVE, index.name)))
    return steps


def _steps(
    index: Index, canonical: Definition, existing: FoundIndex, found: Found, *, concurrently: bool
) -> tuple[str, list[Step]]:
    """Return what is done and how: the same definition is built again in place, another is exchanged."""
    if canonical.same(existing.definition):
        return "rebuild", _reindex(index, canonical, existing, concurrently=concurrently)
    started = found.indexes.get(naming.building(index.name))
    usable = started is not None and not compare.compare(index, canonical, started)
    steps = []
    if started is not None and not usable:
        steps.append(plain.drop_step(started, plain.LEFT))
    if not usable:
        steps.append(
            plain.build_step(
                index,
                naming.building(index.name),
                index.table,
                concurrently=concurrently,
                tablespace=compare.tablespace_of(index, existing, found),
            )
        )
    steps.append(_exchange(index, existing))
    return "replace", steps


def decide(
    index: Index, canonical: Definition | None, existing: FoundIndex, found: Found, *, concurrently: bool
) -> Outcome:
    """Decide about a declared index that exists as the index of a constraint."""
    outcome = Outcome()
    constraint = existing.constraint
    if canonical is None or constraint is None:
        return outcome
    difference = compare.compare(index, canonical, existing)
    relation = found.relations.get(index.table)
    before, after = compare.describe(existing), compare.describe_declared(index, canonical, found, existing)
    if difference.rebuild:
        if canonical.same(existing.definition) and constraint.kind == "x" and concurrently:
            outcome.refuse(
                index,
                f"backs the constraint {constraint.name}, {'; '.join(difference.rebuild)}, and the server does not "
                "build the index of an exclusion constraint again CONCURRENTLY: declare it as it is, or run this with "
                "concurrently: false while nobody writes the table",
            )
        if not canonical.same(existing.definition):
            for refusal in refusals(index, constraint, found):
                outcome.refuse(index, f"backs the constraint {constraint.name} and differs: {refusal}")
            for refusal in duties.refusals(index, existing, relation):
                outcome.refuse(index, f"backs the constraint {constraint.name} and differs: {refusal}")
        if outcome.problems:
            return outcome
        what, steps = _steps(index, canonical, existing, found, concurrently=concurrently)
        size = space.index_bytes(index, relation)
        steps = [*plain.cleaning(index, found, keep_new=what == "replace"), *steps]
        outcome.actions.append(
            Action(
                "index",
                str(index.name),
                what,
                "; ".join([f"backs the constraint {constraint.name}", *difference.rebuild, *difference.alter]),
                tuple(steps),
                before,
                after,
                bytes=size,
                seconds=space.index_seconds(size, relation, concurrently=concurrently),
                tablespace=compare.tablespace_of(index, existing, found),
            )
        )
        return outcome
    reasons, steps = plain.adjust(index, canonical, existing, difference)
    if steps:
        outcome.actions.append(
            Action("index", str(index.name), "alter", "; ".join(reasons), tuple(steps), before, after)
        )
    if cleaning := plain.cleaning(index, found, keep_new=False):
        outcome.actions.append(plain.clean_action(index.name, cleaning))
    return outcome
