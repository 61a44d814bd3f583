"""What a person should know of declared tables: redundant indexes, and what nobody declared. Nothing is done to it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from . import naming
from .model import Declaration, Name, display
from .state import Definition, Found, FoundIndex
from .twins import Canonical


class _Known(NamedTuple):
    """An index as it is going to be; `what` says whose it is, where nobody declared it."""

    name: Name
    definition: Definition
    declared: bool
    what: str


def is_prefix(short: Definition, long: Definition) -> bool:
    """Tell whether every search that the first index serves is served by the second: btrees, same key columns first."""
    btree = short.tail.startswith("btree ") and long.tail.startswith("btree ")
    serves = btree and short.plain and long.plain and not short.unique and not short.includes
    return serves and len(short.parts) <= len(long.parts) and long.parts[: len(short.parts)] == short.parts


def _known(table: Name, declaration: Declaration, canonical: Canonical, found: Found) -> list[_Known]:
    """Return the indexes of a table, the declared ones first, in their order."""
    items = [item for item in declaration.all_indexes if item.table == table]
    known = [
        _Known(item.name, canonical.indexes[item.name], True, "")
        for item in items
        if item.present and item.name in canonical.indexes
    ]
    names = {item.name for item in items}
    for other in found.indexes_of(table):
        if other.name not in names and other.valid and other.parent is None and not naming.is_own(other.name.name):
            what = ", which is not declared"
            if other.constraint is not None:
                what = f", of the constraint {display(other.constraint.name)}"
            known.append(_Known(other.name, other.definition, False, what))
    return known


def _redundant(known: list[_Known]) -> Iterator[str]:
    """Yield a sentence for each index that another one of the table makes superfluous; one of both is declared."""
    for position, short in enumerate(known):
        for other, long in enumerate(known):
            mine, theirs = short.definition, long.definition
            if short is long or not (short.declared or long.declared):
                continue
            same = mine.same(theirs)
            if same and position > other:
                yield f"index {short.name}{short.what} has the same definition as {long.name}{long.what}"
                break
            if not same and is_prefix(mine, theirs) and not (is_prefix(theirs, mine) and position < other):
                yield (
                    f"index {short.name}{short.what} is redundant: its key is the beginning of the key of "
                    f"{long.name}{long.what}"
                )
                break


def indexes(declaration: Declaration, found: Found) -> list[FoundIndex]:
    """Return the indexes on declared relations that nobody declared and no constraint needs."""
    declared = {item.name for item in declaration.all_indexes}
    tables = set(declaration.tables)
    return [
        item
        for name, item in sorted(found.indexes.items())
        if item.table in tables and _loose(item, declared) and naming.reindex_leftover_of(name.name) is None
    ]


def _loose(item: FoundIndex, declared: Collection[Name]) -> bool:
    own = item.name in declared or naming.is_own(item.name.name)
    return not own and item.constraint is None and item.parent is None


def _grouped(what: str, items: list[tuple[Name, Name]]) -> Iterator[str]:
    by_table: dict[Name, list[str]] = {}
    for table, name in items:
        by_table.setdefault(table, []).append(display(name.name) if name.schema == table.schema else str(name))
    for table, names in by_table.items():
        yield f"{table} has {what} outside of the declaration: {', '.join(names)}"


def _left(declaration: Declaration, found: Found, tables: Collection[Name]) -> Iterator[str]:
    """Yield what interrupted runs of this module left on tables that are not declared."""
    views = {name for name in found.marked_views if naming.is_own(name.name)}
    for name, item in sorted(found.indexes.items()):
        own = naming.is_own(name.name) and item.parent is None and item.constraint is None and not item.building
        if own and item.table not in tables and item.table not in views and not (declaration.prune and item.owned):
            yield f"index {name} is left of an interrupted run on {item.table}, which is not declared: prune removes it"


def _leftovers(declaration: Declaration, found: Found, tables: Collection[Name]) -> Iterator[str]:
    """Yield what interrupted REINDEXes of indexes left that are not declared, and so are not cleaned up."""
    declared = [item.name for item in declaration.all_indexes]
    for name, item in sorted(found.indexes.items()):
        if item.table not in tables or item.valid or item.building or naming.reindex_leftover_of(name.name) is None:
            continue
        if not any(
            naming.is_reindex_leftover(name.name, other.name) for other in declared if other.schema == name.schema
        ):
            yield f"index {name} is INVALID: an interrupted REINDEX left it, and its index is not declared"


def warnings(
    declaration: Declaration, canonical: Canonical, found: Found, pruned: Collection[str] = ()
) -> Iterator[str]:
    """Yield what a person should know; `pruned` are the names of objects that the run removes anyway."""
    tables = set(declaration.tables)
    for table in declaration.tables:
        yield from _redundant(
            [item for item in _known(table, declaration, canonical, found) if str(item.name) not in pruned]
        )
    loose = [item for item in indexes(declaration, found) if str(item.name) not in pruned]
    for item in loose:
        if not item.valid and not item.partitioned and not item.building:
            yield f"index {item.name} is INVALID and not declared"
    yield from _grouped("indexes", [(item.table, item.name) for item in loose])
    parts = {part.name for table in tables if table in found.relations for part in found.relations[table].partitions}
    declared = {item.name for item in declaration.all_indexes}
    of_parts = [
        item for _, item in sorted(found.indexes.items()) if item.table in parts - tables and _loose(item, declared)
    ]
    yield from _grouped("indexes", [(item.table, item.name) for item in of_parts])
    yield from _leftovers(declaration, found, tables | parts)
    yield from _left(declaration, found, tables | parts)
    known = {item.name for item in declaration.statistics}
    statistics = [
        (item.table, name)
        for name, item in sorted(found.statistics.items())
        if item.table in tables and name not in known and str(name) not in pruned and not naming.is_own(name.name)
    ]
    yield from _grouped("extended statistics", statistics)
    views = {view.name for view in declaration.materialized_views}
    readers = [
        (table, name)
        for name, table in found.readers
        if name not in views and str(name) not in pruned and not naming.is_own(name.name)
    ]
    yield from _grouped("materialized views", readers)
