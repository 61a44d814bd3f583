"""Decide about materialized views: a new one appears whole, a changed one is built beside and swapped in.

CREATE has no way to change a query in place, and DROP ... CASCADE takes what stands on the view with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import compare, naming, space, sqlbuild, table
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


def _absent(view: MaterializedView, existing: Relation | None, found: Found) -> Outcome:
    outcome = Outcome()
    if existing is None:
        return outcome
    if existing.kind != "m":
        outcome.refuse(view, "is to be absent, and a relation of this name is no materialized view")
    elif not existing.owned:
        outcome.refuse(view, f"belongs to {existing.owner}, and {found.role} is not a member of that role")
    if standing := [item.label for item in found.dependents if item.on == view.name]:
        outcome.refuse(view, f"is to be absent, and cannot be while these stand on it: {', '.join(standing)}")
    if not outcome.problems:
        action = Action(
            "materialized view",
            str(view.name),
            "drop",
            "is declared absent",
            (swap.drop_step(view.name, "remove"),),
            before=describe(existing),
        )
        outcome.actions.append(action)
    return outcome


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
    """

    declared: frozenset[Name] = frozenset()
    redefined: tuple[Name, ...] = ()


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
    """Decide about one materialized view together with its indexes."""
    existing = found.relations.get(view.name)
    if not view.present:
        return _absent(view, existing, found)
    outcome = Outcome()
    made = canonical.views.get(view.name)
    if existing is not None and existing.kind != "m":
        outcome.refuse(view, "a relation of this name exists and is no materialized view")
    elif existing is not None and not existing.owned:
        outcome.refuse(view, f"belongs to {existing.owner}, and {found.role} is not a member of that role")
    if made is None or outcome.problems:
        return outcome
    reasons = [] if existing is None else _differences(view, made, existing) + _torn_off(view, found, around)
    if existing is None or reasons:
        for index in view.indexes:
            index_rules.check_name(index, found.indexes.get(index.name), found, outcome)
        if any(index.present and index.name not in canonical.indexes for index in view.indexes):
            return outcome  # refused where it was read back
    if existing is None:
        after = _describe_declared(view, made, found, _own_indexes(view, canonical, found))
        reason = "does not exist"
        outcome.actions.append(
            Action("materialized view", str(view.name), "create", reason, tuple(_create(view)), "", after)
        )
        return outcome
    if reasons:
        _check_dependents(view, found, outcome, "is to be redefined", around.declared)
        before = describe(existing) + "".join(map(compare.describe, found.indexes_of(view.name)))
        after = _describe_declared(view, made, found, _own_indexes(view, canonical, found))
        outcome.actions.append(
            Action(
                "materialized view",
                str(view.name),
                "replace",
                "; ".join(reasons),
                tuple(swap.steps(view, {column[0] for column in made.columns}, existing, found)),
                before,
                after,
                bytes=existing.bytes,
                seconds=space.index_seconds(existing.bytes, existing, concurrently=False),
                tablespace=view.tablespace or existing.tablespace,
            )
        )
        return outcome
    outcome.actions += _alter(view, made, existing, found)
    for index in view.indexes:
        outcome.add(index_rules.decide(index, canonical.indexes.get(index.name), found, concurrently=concurrently))
    outcome.actions += _fill(view, existing)
    return outcome


def _leftovers(found: Found, around: Around) -> list[Name]:
    """Return the views of the module's own names that killed runs left, each after those that stand on it."""
    building = {naming.building(name) for name in around.redefined}
    waiting = [name for name in found.marked_views if naming.is_own(name.name) and name not in building]
    ordered: list[Name] = []
    while waiting:
        standing = {item.on for item in found.dependents if item.name in waiting}
        free = [name for name in waiting if name not in standing] or waiting[:1]
        ordered += free
        waiting = [name for name in waiting if name not in free]
    return ordered


def retire(found: Found, around: Around) -> Outcome:
    """Decide about what views leave behind: one under construction, or an old one that others stood on until now."""
    outcome = Outcome()
    left = _leftovers(found, around)
    names = {
        swap.retired(found.relations[name]): "nothing stands on it any more"
        for name in reversed(around.redefined)
        if swap.stays(name, found)
    }
    names |= dict.fromkeys(left, "an interrupted run left it")
    for name, why in names.items():
        standing = [
            item.label
            for item in found.dependents
            if item.on == name
            and not (item.kind == "materialized view" and (item.name in around.redefined or item.name in left))
        ]
        if standing:
            label = f"materialized view {name}"
            outcome.warnings.append(f"{label} is a leftover, and stays while {standing[0]} stands on it")
            continue
        outcome.actions.append(Action("materialized view", str(name), "clean", why, (swap.drop_step(name, "remove"),)))
    return outcome


def prune(names: Iterable[Name], found: Found) -> Outcome:
    """Decide about marked materialized views that are not declared any more: what others stand on is kept."""
    outcome = Outcome()
    for name in names:
        standing = [item.label for item in found.dependents if item.on == name]
        if standing:
            outcome.warnings.append(f"materialized view {name} is not pruned: {', '.join(standing)} stand on it")
            continue
        reason = "is marked and not declared"
        work = swap.drop_step(name, "remove")
        outcome.actions.append(
            Action("materialized view", str(name), "prune", reason, (work,), describe(found.relations[name]))
        )
    return outcome
