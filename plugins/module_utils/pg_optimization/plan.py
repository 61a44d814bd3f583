"""Decide: a pure function from what is declared and what was found to the actions that lead from one to the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from . import compare, constraint, index, matview, naming, partitioned, statistics, table
from .action import SHARE_UPDATE_EXCLUSIVE, Action, Lock, Outcome, Policy, step
from .model import Declaration, Index, MaterializedView, Name, Problem, display
from .state import Definition, Found, FoundIndex
from .twins import Canonical


@dataclass(frozen=True)
class Plan:
    """The actions in the order of their execution, and what a person should know."""

    actions: tuple[Action, ...]
    warnings: tuple[str, ...]
    problems: tuple[Problem, ...]
    undeclared: tuple[str, ...]


def _decide_index(item: Index, canonical: Canonical, found: Found, *, concurrently: bool) -> Outcome:
    relation = found.relations.get(item.table)
    existing = found.indexes.get(item.name)
    definition = canonical.indexes.get(item.name)
    if item.present and relation is not None and relation.kind == "p":
        return partitioned.decide(item, definition, relation, found, concurrently=concurrently)
    if item.present and existing is not None and existing.constraint is not None and existing.table == item.table:
        return constraint.decide(item, definition, existing, found, concurrently=concurrently)
    return index.decide(item, definition, found, concurrently=concurrently)


def is_prefix(short: Definition, long: Definition) -> bool:
    """Tell whether every search that the first index serves is served by the second: btrees, same key columns first."""
    btree = short.tail.startswith("btree ") and long.tail.startswith("btree ")
    serves = btree and short.plain and long.plain and not short.unique and not short.includes
    return serves and len(short.parts) <= len(long.parts) and long.parts[: len(short.parts)] == short.parts


def _in_order(declaration: Declaration, canonical: Canonical, found: Found) -> list[MaterializedView]:
    """Return the views so that each one comes after those it stands on."""
    order = {name: view.order for name, view in canonical.views.items()}
    waiting = sorted(declaration.materialized_views, key=lambda view: order.get(view.name, len(order)))
    stands_on: dict[Name | None, set[Name]] = {}
    for item in found.dependents:
        if item.kind == "materialized view":
            stands_on.setdefault(item.name, set()).add(item.on)
    ordered: list[MaterializedView] = []
    while waiting:
        left = {view.name for view in waiting}
        free = [view for view in waiting if not stands_on.get(view.name, set()) & (left - {view.name})] or waiting[:1]
        ordered += free
        waiting = [view for view in waiting if view not in free]
    return ordered


def _decide_views(declaration: Declaration, canonical: Canonical, found: Found) -> Outcome:
    outcome = Outcome()
    declared = frozenset(view.name for view in declaration.materialized_views if view.present)
    around = matview.Around(declared)
    for view in _in_order(declaration, canonical, found):
        decided = matview.decide(view, canonical, found, around, concurrently=declaration.concurrently)
        if any(action.action == "replace" and action.name == str(view.name) for action in decided.actions):
            around = matview.Around(declared, (*around.redefined, view.name))
        outcome.add(decided)
    outcome.add(matview.retire(found, around))
    return outcome


def _redundant(declaration: Declaration, canonical: Canonical) -> Iterator[str]:
    """Yield a sentence for each declared index that another declared one makes superfluous."""
    items = [item for item in declaration.all_indexes if item.present and item.name in canonical.indexes]
    for position, short in enumerate(items):
        for other, long in enumerate(items):
            if short is long or short.table != long.table:
                continue
            mine, theirs = canonical.indexes[short.name], canonical.indexes[long.name]
            if mine.same(theirs) and position > other:
                yield f"index {short.name} has the same definition as {long.name}"
                break
            if not mine.same(theirs) and is_prefix(mine, theirs) and not (is_prefix(theirs, mine) and position < other):
                yield f"index {short.name} is redundant: its key is the beginning of the key of {long.name}"
                break


def _undeclared(declaration: Declaration, found: Found) -> list[FoundIndex]:
    """Return the indexes on declared relations that nobody declared and no constraint needs."""
    declared = {item.name for item in declaration.all_indexes}
    tables = set(declaration.tables)
    return [
        item
        for name, item in sorted(found.indexes.items())
        if item.table in tables
        and name not in declared
        and item.constraint is None
        and item.parent is None
        and not naming.is_own(name.name)
        and naming.reindex_leftover_of(name.name) is None
    ]


def _prune(declaration: Declaration, found: Found) -> Outcome:
    """Return the removal of what carries the mark and is not declared any more; a declared name is never pruned."""
    outcome = Outcome()
    indexes = {item.name for item in declaration.all_indexes}
    views = {item.name for item in declaration.materialized_views}
    gone = {
        name
        for name in found.marked_views
        if name not in views and naming.marked(found.relations[name].comment) and not naming.is_own(name.name)
    }
    for name, item in sorted(found.indexes.items()):
        mine = item.marked and name not in indexes and item.table not in gone and not naming.is_own(name.name)
        if mine and item.constraint is None and item.parent is None and not item.building:
            work = index.drop_step(item, "remove")
            outcome.actions.append(
                Action("index", str(name), "prune", "is marked and not declared", (work,), compare.describe(item))
            )
    declared = {item.name for item in declaration.statistics}
    for name, statistic in sorted(found.statistics.items()):
        if naming.marked(statistic.comment) and name not in declared and statistic.table not in gone:
            work = step("remove", Policy.SHORT, [statistics.drop(name)], Lock(SHARE_UPDATE_EXCLUSIVE, statistic.table))
            reason = "is marked and not declared"
            before = statistics.describe(statistic)
            outcome.actions.append(Action("statistics", str(name), "prune", reason, (work,), before))
    outcome.add(matview.prune(sorted(gone), found))
    return outcome


def _leftovers(declaration: Declaration, canonical: Canonical, found: Found) -> list[Action]:
    """Return the removal of what killed runs left of objects that are not declared any more."""
    expected = {make(item.name) for item in declaration.all_indexes for make in (naming.building, naming.retired)}
    expected |= partitioned.part_names(declaration, canonical.indexes, found)
    views = {name for name in found.marked_views if naming.is_own(name.name)}
    reason = "an interrupted run left it"
    actions = []
    for name, item in sorted(found.indexes.items()):
        loose = naming.is_own(name.name) and name not in expected and item.parent is None
        if loose and item.table not in views and not item.building:
            actions.append(Action("index", str(name), "clean", reason, (index.drop_step(item, "remove"),)))
    return actions


def _warnings(declaration: Declaration, canonical: Canonical, undeclared: Iterable[FoundIndex]) -> list[str]:
    warnings = list(_redundant(declaration, canonical))
    by_table: dict[Name, list[str]] = {}
    for item in undeclared:
        by_table.setdefault(item.table, []).append(display(item.name.name))
        if not item.valid and not item.partitioned and not item.building:
            warnings.append(f"index {item.name} is INVALID and not declared")
    warnings += [
        f"{name} has indexes outside of the declaration: {', '.join(names)}" for name, names in by_table.items()
    ]
    return warnings


def plan(declaration: Declaration, canonical: Canonical, found: Found) -> Plan:
    """Return the plan for a declaration.

    Args:
        declaration: what was asked for.
        canonical: the same in the server's spelling, with what the server refused.
        found: what the database has.
    """
    outcome = Outcome(problems=list(canonical.problems))
    concurrently = declaration.concurrently
    for item in declaration.table_parameters:
        if item.table not in {view.name for view in declaration.materialized_views}:
            outcome.add(table.decide_parameters(item, found))
    for declared in declaration.indexes:
        outcome.add(_decide_index(declared, canonical, found, concurrently=concurrently))
    outcome.add(_decide_views(declaration, canonical, found))
    for item in declaration.table_parameters:
        if item.table in {view.name for view in declaration.materialized_views}:
            outcome.add(table.decide_parameters(item, found))
    for statistic in declaration.statistics:
        outcome.add(statistics.decide(statistic, canonical.statistics.get(statistic.name), found))
    columns = {name: {column[0] for column in view.columns} for name, view in canonical.views.items()}
    outcome.add(table.decide_columns(declaration.column_statistics, found, columns))
    outcome.actions += _leftovers(declaration, canonical, found)
    if declaration.prune:
        outcome.add(_prune(declaration, found))
    pruned = {action.name for action in outcome.actions if action.action == "prune"}
    undeclared = [item for item in _undeclared(declaration, found) if str(item.name) not in pruned]
    return Plan(
        actions=tuple(outcome.actions),
        warnings=tuple(dict.fromkeys([*outcome.warnings, *_warnings(declaration, canonical, undeclared)])),
        problems=tuple(dict.fromkeys(outcome.problems)),
        undeclared=tuple(str(item.name) for item in undeclared),
    )
