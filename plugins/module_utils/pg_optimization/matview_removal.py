"""Decide which materialized views go: declared absent, pruned, or left by runs. What stands on one goes before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from . import matview_swap as swap
from . import naming
from .action import Action, Outcome
from .matview import Around, describe
from .model import Declaration, Name
from .state import Found
from .twins import Canonical


@dataclass(frozen=True)
class Removal:
    """The views that go, each with what is done and why, those first that stand on others."""

    going: Mapping[Name, tuple[str, str]]
    outcome: Outcome


def _absent(declaration: Declaration, found: Found, outcome: Outcome) -> list[Name]:
    names = []
    for view in declaration.materialized_views:
        existing = found.relations.get(view.name)
        if view.present or existing is None:
            continue
        if existing.kind != "m":
            outcome.refuse(view, "is to be absent, and a relation of this name is no materialized view")
        elif not existing.owned:
            outcome.refuse(view, f"belongs to {existing.owner}, and {found.role} is not a member of that role")
        else:
            names.append(view.name)
    return names


def _marked(declaration: Declaration, found: Found, outcome: Outcome) -> list[Name]:
    """Return the views that carry the mark and are not declared any more."""
    declared = {item.name for item in declaration.materialized_views}
    names = []
    for name in sorted(found.marked_views):
        view = found.relations[name]
        if name in declared or not naming.marked(view.comment) or naming.is_own(name.name):
            continue
        if view.owned:
            names.append(name)
        else:
            outcome.warnings.append(f"materialized view {name} is not pruned: it belongs to {view.owner}")
    return names


def _standing(name: Name, going: Iterable[Name], canonical: Canonical, found: Found) -> list[str]:
    """Return what would be torn off: what stands on a view and neither goes nor is declared to read another."""
    gone = set(going)
    standing = []
    for item in found.dependents:
        made = canonical.views.get(item.name) if item.kind == "materialized view" and item.name is not None else None
        present = found.relations.get(item.name) if made is not None and item.name is not None else None
        changed = made is not None and present is not None and present.query != made.query
        if item.on == name and not changed and not (item.kind == "materialized view" and item.name in gone):
            standing.append(item.label)
    standing += [f"materialized view {view}" for view, made in canonical.views.items() if name in made.reads]
    return list(dict.fromkeys(standing))


def _ordered(names: Iterable[Name], found: Found) -> list[Name]:
    """Return views so that each one comes after those that stand on it."""
    waiting = list(names)
    ordered: list[Name] = []
    while waiting:
        standing = {item.on for item in found.dependents if item.name in waiting and item.on != item.name}
        free = [name for name in waiting if name not in standing] or waiting[:1]
        ordered += free
        waiting = [name for name in waiting if name not in free]
    return ordered


def choose(declaration: Declaration, canonical: Canonical, found: Found) -> Removal:
    """Return which views go; what has to stay because something stands on it is refused, or with prune warned of."""
    outcome = Outcome()
    absent = _absent(declaration, found, outcome)
    pruned = _marked(declaration, found, outcome) if declaration.prune else []
    going = [*absent, *pruned]
    while kept := {name: on for name in going if (on := _standing(name, going, canonical, found))}:
        going = [name for name in going if name not in kept]
        for name, standing in kept.items():
            what = ", ".join(standing)
            if name in absent:
                text = f"is to be absent, and cannot be while these stand on it: {what}"
                outcome.refuse(f"materialized view {name}", text)
            else:
                outcome.warnings.append(f"materialized view {name} is not pruned: {what} stand on it")
    done = dict.fromkeys(pruned, ("prune", "is marked and not declared"))
    done |= dict.fromkeys(absent, ("drop", "is declared absent"))
    return Removal({name: done[name] for name in _ordered(going, found)}, outcome)


def actions(removal: Removal, found: Found) -> list[Action]:
    """Return the removal of the views that go."""
    made = []
    for name, (what, reason) in removal.going.items():
        before = describe(found.relations[name])
        made.append(Action("materialized view", str(name), what, reason, (swap.drop_step(name, "remove"),), before))
    return made


def retire(found: Found, around: Around) -> Outcome:
    """Decide about what views leave behind: one under construction, or an old one that others stood on until now."""
    outcome = Outcome()
    building = {naming.building(name) for name in around.redefined}
    left = [name for name in found.marked_views if naming.is_own(name.name) and name not in building]
    names = {
        swap.retired(found.relations[name]): "nothing stands on it any more"
        for name in reversed(around.redefined)
        if swap.stays(name, found)
    }
    names |= dict.fromkeys(_ordered(left, found), "an interrupted run left it")
    goes = {*around.redefined, *around.going, *left}
    for name, why in names.items():
        standing = [
            item.label
            for item in found.dependents
            if item.on == name and not (item.kind == "materialized view" and item.name in goes)
        ]
        if standing:
            label = f"materialized view {name}"
            outcome.warnings.append(f"{label} is a leftover, and stays while {standing[0]} stands on it")
            continue
        outcome.actions.append(Action("materialized view", str(name), "clean", why, (swap.drop_step(name, "remove"),)))
    return outcome
