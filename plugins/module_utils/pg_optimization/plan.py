"""Decide: a pure function from what is declared and what was found to the actions that lead from one to the other."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from . import compare, constraint, index, matview, matview_removal, naming, outside, partitioned, statistics, table
from .action import SHARE_UPDATE_EXCLUSIVE, Action, Lock, Outcome, Policy, step
from .matview_removal import Removal
from .model import Declaration, Index, Name, Problem
from .state import Found
from .twins import Canonical


@dataclass(frozen=True)
class Plan:
    """The actions in the order of their execution, and what a person should know."""

    actions: tuple[Action, ...]
    warnings: tuple[str, ...]
    problems: tuple[Problem, ...]
    undeclared: tuple[str, ...]


def _decide_index(
    item: Index, canonical: Canonical, found: Found, declared: Collection[Index], *, concurrently: bool
) -> Outcome:
    relation = found.relations.get(item.table)
    existing = found.indexes.get(item.name)
    definition = canonical.indexes.get(item.name)
    if item.present and relation is not None and relation.kind == "p":
        parts = {part.name for part in relation.partitions}
        others = [other for other in declared if other != item]
        # What two could take, or what is declared by itself, is nobody's part.
        alone = not any(
            other.table in parts or (other.table == item.table and canonical.indexes.get(other.name) == definition)
            for other in others
        )
        return partitioned.decide(item, definition, relation, found, partitioned.How(concurrently, alone))
    if item.present and existing is not None and existing.constraint is not None and existing.table == item.table:
        return constraint.decide(item, definition, existing, found, concurrently=concurrently)
    return index.decide(item, definition, found, concurrently=concurrently)


def _decide_views(
    declaration: Declaration, canonical: Canonical, found: Found, removal: Removal, changing: frozenset[Name]
) -> Outcome:
    """Decide about the views, each after those it stands on; what goes, goes when the others are made."""
    outcome = Outcome()
    order = {name: view.order for name, view in canonical.views.items()}
    views = [view for view in declaration.materialized_views if view.present]
    declared = frozenset(view.name for view in views)
    around = matview.Around(declared, going=frozenset(removal.going), statistics=changing)
    for view in sorted(views, key=lambda view: order.get(view.name, len(order))):
        decided = matview.decide(view, canonical, found, around, concurrently=declaration.concurrently)
        if any(action.action == "replace" and action.name == str(view.name) for action in decided.actions):
            around = replace(around, redefined=(*around.redefined, view.name))
        outcome.add(decided)
    outcome.add(removal.outcome)
    outcome.actions += matview_removal.actions(removal, found)
    outcome.add(matview_removal.retire(found, around))
    return outcome


def _prune(declaration: Declaration, found: Found, gone: Collection[Name]) -> Outcome:
    """Return the removal of what carries the mark and is not declared any more; a declared name is never pruned."""
    outcome = Outcome()
    reason = "is marked and not declared"
    indexes = {item.name for item in declaration.all_indexes}
    for name, item in sorted(found.indexes.items()):
        mine = item.marked and name not in indexes and item.table not in gone and not naming.is_own(name.name)
        if not mine or item.constraint is not None or item.parent is not None or item.building:
            continue
        if why := _kept(item.owned, item.owner, item.referenced_by):
            outcome.warnings.append(f"index {name} is not pruned: {why}")
            continue
        work = index.drop_step(item, "remove")
        outcome.actions.append(Action("index", str(name), "prune", reason, (work,), compare.describe(item)))
    declared = {item.name for item in declaration.statistics}
    for name, statistic in sorted(found.statistics.items()):
        if not naming.marked(statistic.comment) or name in declared or statistic.table in gone:
            continue
        if why := _kept(statistic.owned, statistic.owner):
            outcome.warnings.append(f"statistics {name} is not pruned: {why}")
            continue
        work = step("remove", Policy.SHORT, [statistics.drop(name)], Lock(SHARE_UPDATE_EXCLUSIVE, statistic.table))
        before = statistics.describe(statistic)
        outcome.actions.append(Action("statistics", str(name), "prune", reason, (work,), before))
    return outcome


def _kept(owned: bool, owner: str, referenced_by: tuple[str, ...] = ()) -> str | None:
    """Return why the role cannot drop something."""
    if not owned:
        return f"it belongs to {owner}"
    return f"foreign keys refer to it: {', '.join(referenced_by)}" if referenced_by else None


def _of_tables(declaration: Declaration, found: Found) -> set[Name]:
    """Return the declared relations and their partitions."""
    tables = set(declaration.tables)
    return tables | {part.name for name in tables & set(found.relations) for part in found.relations[name].partitions}


def _leftovers(declaration: Declaration, canonical: Canonical, found: Found) -> list[Action]:
    """Return the removal of what killed runs left of objects that are not declared any more.

    Where their table is not declared either, another declaration of the database may go on with them, unless this one
    prunes.
    """
    expected = {make(item.name) for item in declaration.all_indexes for make in (naming.building, naming.retired)}
    expected |= partitioned.part_names(declaration, canonical.indexes, found)
    views = {name for name in found.marked_views if naming.is_own(name.name)}
    tables = _of_tables(declaration, found)
    reason = "an interrupted run left it"
    actions = []
    for name, item in sorted(found.indexes.items()):
        loose = naming.is_own(name.name) and name not in expected and item.parent is None
        mine = declaration.prune or item.table in tables
        if loose and mine and item.owned and item.table not in views and not item.building:
            actions.append(Action("index", str(name), "clean", reason, (index.drop_step(item, "remove"),)))
    return actions


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
        outcome.add(_decide_index(declared, canonical, found, declaration.indexes, concurrently=concurrently))
    removal = matview_removal.choose(declaration, canonical, found)
    about = [statistics.decide(item, canonical.statistics.get(item.name), found) for item in declaration.statistics]
    changing = frozenset(
        item.name
        for item, decided in zip(declaration.statistics, about, strict=True)
        if any(action.action in {"replace", "drop"} for action in decided.actions)
    )
    outcome.add(_decide_views(declaration, canonical, found, removal, changing))
    for item in declaration.table_parameters:
        if item.table in {view.name for view in declaration.materialized_views}:
            outcome.add(table.decide_parameters(item, found))
    for decided in about:
        outcome.add(decided)
    columns = {name: {column[0] for column in view.columns} for name, view in canonical.views.items()}
    outcome.add(table.decide_columns(declaration.column_statistics, found, columns))
    outcome.actions += _leftovers(declaration, canonical, found)
    if declaration.prune:
        outcome.add(_prune(declaration, found, removal.going))
    pruned = {action.name for action in outcome.actions if action.action == "prune"}
    undeclared = [item for item in outside.indexes(declaration, found) if str(item.name) not in pruned]
    return Plan(
        actions=tuple(outcome.actions),
        warnings=tuple(dict.fromkeys([*outcome.warnings, *outside.warnings(declaration, canonical, found, pruned)])),
        problems=tuple(dict.fromkeys(outcome.problems)),
        undeclared=tuple(str(item.name) for item in undeclared),
    )
