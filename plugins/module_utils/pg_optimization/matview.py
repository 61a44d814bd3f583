"""Decide about materialized views: a new one appears whole, a changed one is built beside and swapped in.

CREATE has no way to change a query in place, and DROP ... CASCADE takes what stands on the view with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import compare, duties, naming, space, sqlbuild, table
from . import index as index_rules
from . import matview_swap as swap
from .action import ACCESS_EXCLUSIVE, ACCESS_SHARE, Action, Lock, Outcome, Policy, Step, step
from .connection import sql
from .model import MaterializedView, Name
from .state import Found, Relation
from .twins import Canonical, ViewDefinition

if TYPE_CHECKING:
    from .connection import Composable


def _describe(head: str, options: dict[str, str], query: str, comment: str, *, populated: bool) -> str:
    settings = ", ".join(f"{key}={value}" for key, value in sorted(options.items()))
    lines = [f"{head} WITH ({settings}) AS" if options else f"{head} AS", query.rstrip()]
    lines += [] if populated else ["WITH NO DATA"]
    lines += [f"comment: {comment}"] if comment else []
    return "\n".join(lines) + "\n"


def describe(view: Relation) -> str:
    """Return a found materialized view for a difference view."""
    comment = naming.own_comment(view.comment)
    head = f"CREATE MATERIALIZED VIEW {view.name} TABLESPACE {view.tablespace}"
    return _describe(head, view.options, view.query or "", comment, populated=view.populated)


def _describe_declared(view: MaterializedView, canonical: ViewDefinition, found: Found, indexes: str) -> str:
    existing = found.relations.get(view.name)
    populated = view.populate or (existing is not None and existing.populated)
    tablespace = view.tablespace or (existing.tablespace if existing is not None else found.default_tablespace)
    head = f"CREATE MATERIALIZED VIEW {view.name} TABLESPACE {tablespace}"
    options, comment = swap.options(view, existing), swap.comment(view, existing)
    return _describe(head, options, canonical.query, comment, populated=populated) + indexes


def _own_indexes(view: MaterializedView, canonical: Canonical, found: Found) -> str:
    lines = [
        compare.describe_declared(index, canonical.indexes[index.name], found, None)
        for index in view.indexes
        if index.present and index.name in canonical.indexes
    ]
    return "".join(lines)


def _create(view: MaterializedView) -> list[Step]:
    """Return the one transaction after which a new view is there with its indexes, its rows and its comment."""
    name = sqlbuild.ident(view.name)
    options = [(key, value) for key, value in view.storage_parameters if value is not None]
    statements: list[Composable] = [sqlbuild.create_view(view, view.name, options, None)]
    for index in view.indexes:
        if index.present:
            statements.append(sqlbuild.create_index(index, sql.Identifier(index.name.name), name))
            comment = naming.mark(index.comment)
            statements.append(sqlbuild.comment_on("INDEX", sqlbuild.ident(index.name), comment))
    statements.append(sqlbuild.comment_on("MATERIALIZED VIEW", name, naming.mark(view.comment)))
    if view.populate:
        statements += [sqlbuild.text("REFRESH MATERIALIZED VIEW {}", name), sqlbuild.text("ANALYZE {}", name)]
    return [step("create", Policy.LONG, statements, Lock(ACCESS_SHARE, view.name))]


def _differences(view: MaterializedView, made: ViewDefinition, existing: Relation) -> list[str]:
    reasons = []
    if existing.query != made.query:
        reasons.append("has another query")
    if view.tablespace is not None and view.tablespace != existing.tablespace:
        reasons.append(f"is in tablespace {existing.tablespace}")
    return reasons


def _check_dependents(view: MaterializedView, found: Found, outcome: Outcome, what: str, kept: frozenset[Name]) -> None:
    """Refuse what would take away or tear off what stands on a view; `kept` is what comes along."""
    standing = [
        item.label
        for item in found.dependents
        if item.on == view.name and item.kind != "view" and not (item.name in kept and item.kind == "materialized view")
    ]
    if standing:
        hint = ""
        if any(label.startswith("materialized view") for label in standing):
            hint = "; a materialized view that is declared too is redefined in the same run"
        outcome.refuse(view, f"{what}, and cannot be while these stand on it: {', '.join(standing)}{hint}")


def _alter(view: MaterializedView, made: ViewDefinition, existing: Relation, found: Found) -> list[Action]:
    """Return what can be set on the view that is there: parameters and comment."""
    name = sqlbuild.ident(view.name)
    changes = table.differing(view.storage_parameters, existing.options)
    statements = table.set_statements("MATERIALIZED VIEW", view.name, changes)
    reasons = [f"{key} is {existing.options.get(key, 'not set')}" for key in changes]
    comment = naming.own_comment(existing.comment)
    if view.comment is not None and view.comment != comment:
        reasons.append(f"has the comment {comment!r}")
        text = naming.mark(view.comment) if naming.marked(existing.comment) else view.comment
        statements.append(sqlbuild.comment_on("MATERIALIZED VIEW", name, text))
    if not statements:
        return []
    work = step("alter", Policy.SHORT, statements, Lock("SHARE UPDATE EXCLUSIVE", view.name))
    after = _describe_declared(view, made, found, "")
    return [
        Action("materialized view", str(view.name), "alter", "; ".join(reasons), (work,), describe(existing), after)
    ]


def _fill(view: MaterializedView, existing: Relation) -> list[Action]:
    """Return the first refresh of a view that has no rows yet."""
    if not view.populate or existing.populated:
        return []
    name = sqlbuild.ident(view.name)
    statements = [sqlbuild.text("REFRESH MATERIALIZED VIEW {}", name), sqlbuild.text("ANALYZE {}", name)]
    work = step("first refresh", Policy.LONG, statements, Lock(ACCESS_EXCLUSIVE, view.name))
    return [Action("materialized view", str(view.name), "refresh", "was never filled", (work,), "WITH NO DATA\n", "")]


@dataclass(frozen=True)
class Around:
    """What is going on with the other views of the declaration.

    declared: those that are declared present.
    redefined: those that this run redefines, decided before this one, in their order.
    going: those that this run drops, after all others are made.
    statistics: extended statistics that this run drops or makes again, so that no view has to carry them.
    """

    declared: frozenset[Name] = frozenset()
    redefined: tuple[Name, ...] = ()
    going: frozenset[Name] = frozenset()
    statistics: frozenset[Name] = frozenset()


def _torn_off(view: MaterializedView, found: Found, around: Around) -> list[str]:
    """Return why a view must be made again though its own query is the same: what it reads is exchanged."""
    return [
        f"stands on materialized view {item.on}, which is redefined"
        for item in found.dependents
        if item.name == view.name and item.kind == "materialized view" and item.on in around.redefined
    ]


def decide(
    view: MaterializedView, canonical: Canonical, found: Found, around: Around, *, concurrently: bool
) -> Outcome:
    """Decide about one materialized view that is declared present, together with its indexes."""
    existing = found.relations.get(view.name)
    outcome = Outcome()
    made = canonical.views.get(view.name)
    if existing is not None and existing.kind != "m":
        outcome.refuse(view, "a relation of this name exists and is no materialized view")
    elif existing is None and view.name in found.types:
        outcome.refuse(
            view, "a type of this name exists, and a materialized view has a type of its own name: rename one"
        )
    elif existing is not None and not existing.owned:
        outcome.refuse(view, f"belongs to {existing.owner}, and {found.role} is not a member of that role")
    if made is None or outcome.problems:
        return outcome
    size = space.view_bytes(view, made)
    reasons = [] if existing is None else _differences(view, made, existing) + _torn_off(view, found, around)
    if existing is None or reasons:
        for index in view.indexes:
            present = found.indexes.get(index.name)
            index_rules.check_name(index, present, found, outcome)
            for reason in duties.refusals(index, present, None) if index.present and present is not None else ():
                outcome.refuse(index, reason)
        if any(index.present and index.name not in canonical.indexes for index in view.indexes):
            return outcome  # refused where it was read back
    if existing is None:
        after = _describe_declared(view, made, found, _own_indexes(view, canonical, found))
        reason = "does not exist"
        outcome.actions.append(
            Action(
                "materialized view",
                str(view.name),
                "create",
                reason,
                tuple(_create(view)),
                "",
                after,
                bytes=size,
                seconds=space.view_seconds(made, size),
                tablespace=view.tablespace or "",
            )
        )
        return outcome
    if reasons:
        _check_dependents(view, found, outcome, "is to be redefined", around.declared | around.going)
        columns = {name: kind for name, kind, _ in made.columns}
        target = swap.Made(columns, canonical.indexes, around.statistics)
        before = describe(existing) + "".join(map(compare.describe, found.indexes_of(view.name)))
        after = _describe_declared(view, made, found, _own_indexes(view, canonical, found))
        outcome.actions.append(
            Action(
                "materialized view",
                str(view.name),
                "replace",
                "; ".join(reasons),
                tuple(swap.steps(view, target, existing, found)),
                before,
                after,
                bytes=max(size, existing.bytes),
                seconds=space.view_seconds(made, size),
                tablespace=view.tablespace or existing.tablespace,
            )
        )
        return outcome
    outcome.actions += _alter(view, made, existing, found)
    for index in view.indexes:
        outcome.add(index_rules.decide(index, canonical.indexes.get(index.name), found, concurrently=concurrently))
    outcome.actions += _fill(view, existing)
    return outcome
