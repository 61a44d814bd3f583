"""Why a table cannot be partitioned, or not as it is wished: found before the first change, each with the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

from ..action import Outcome
from ..model import Name, display
from . import statements
from .model import MARGIN, TYPES, Facts, Wanted, twin_of

_QUOTED = re.compile(r"""'(?:[^']|'')*'|("(?:[^"]|"")*")""")


def reads_only(query: str, table: Name) -> bool:
    """Tell whether a query as the server writes it, with the schema of each name, reads a table without its heirs."""
    text = _QUOTED.sub(lambda found: found.group(1) or "''", query)
    schema, name = (re.escape(part.replace('"', '""')) for part in table)
    return re.search(rf'\bONLY "?{schema}"?\.(?:"{name}"|{name}(?![\w$]))', text) is not None


def keys(wanted: Wanted, facts: Facts) -> Iterator[str]:
    """Yield why a key or a constraint of the table could not be one of the partitioned table."""
    for item in facts.constraints:
        what = f"the constraint {display(item.name)} ({item.definition})"
        if item.name in {constraint.name for _, constraint in facts.checks}:
            continue
        if item.kind == "x":
            yield f"{what} excludes by an operator, which a partitioned table cannot: drop it, or keep the table whole"
        elif item.kind == "u" and wanted.column not in item.columns:
            yield f"{what} does not contain {display(wanted.column)}, and each partition could only check itself"
        elif item.kind in "cfn" and not item.valid:
            yield f"{what} is not validated: ALTER TABLE … VALIDATE CONSTRAINT first, or drop it"
        elif item.kind in "cn" and not item.inherited:
            yield f"{what} is NO INHERIT, which a partitioned table cannot have: drop it, or let it be inherited"
    for index in facts.found.indexes_of(wanted.table):
        unique = index.definition.unique and index.constraint is None and statements.carried(index)
        if unique and wanted.column not in facts.keys.get(index.name, ()):
            yield f"the unique index {index.name} does not contain {display(wanted.column)} as a column"


def types(wanted: Wanted, facts: Facts) -> Iterator[str]:
    """Yield which columns the role cannot make another table with."""
    relation = facts.found.relations.get(wanted.table)
    for column in relation.columns.values() if relation is not None else ():
        if not column.usable:
            yield f"{facts.found.role} has no USAGE on the type of {display(column.name)}: GRANT USAGE ON TYPE … TO it"


def rows(wanted: Wanted, facts: Facts) -> Iterator[str]:
    """Yield what is wrong with the column and with what is in it."""
    column = display(wanted.column)
    if facts.column_type is None:
        yield f"it has no column {column}"
    elif facts.column_type not in TYPES:
        yield f"{column} is {facts.column_type}: months need one of {', '.join(TYPES)}"
    if facts.generated:
        yield f"{column} is a generated column, which no table can be partitioned by"
    if facts.nulls:
        yield f"{column} is NULL in some rows, which belong to no month: give them a time, or delete them"
    if facts.infinite:
        yield f"{column} holds infinity, which belongs to no month"
    if wanted.cut is not None:
        if wanted.cut.day != 1:
            yield f"cut {wanted.cut} is not the first day of a month"
        earliest = facts.now + MARGIN
        if facts.newest is not None and facts.newest.date() >= wanted.cut:
            yield f"its newest row is of {facts.newest:%Y-%m-%d %H:%M}, which is not before the cut {wanted.cut}"
        elif earliest.date() >= wanted.cut:
            yield f"cut {wanted.cut} is too near: rows of that day would be refused before the run is over"


def views(wanted: Wanted, facts: Facts) -> Iterator[str]:
    """Yield which views could not stand on the partitioned table, or would show something else of it."""
    key = facts.key
    if key is not None and wanted.column not in key.columns:
        backing = (item.constraint for item in facts.found.indexes_of(wanted.table) if item.constraint is not None)
        for label in (label for constraint in backing if constraint.kind == "p" for label in constraint.standing):
            yield (
                f"{label} stands on the primary key {display(key.name)}, as where it is grouped by it alone, and could "
                f"not on one with {display(wanted.column)} in it: drop it first, or name all columns in GROUP BY"
            )
    read = [(item.label, item.query) for item in facts.dependents if item.kind == "view"]
    read += [(f"materialized view {view.name}", view.query) for view in facts.views]
    for label in (label for label, query in read if reads_only(query or "", wanted.table)):
        yield f"{label} reads FROM ONLY it, and a partitioned table has no row of its own: drop it, or leave out ONLY"
    for label in facts.of_tableoid:
        yield f"{label} asks for its tableoid, which is that of a partition then: drop it first"


def surroundings(facts: Facts) -> Iterator[str]:
    """Yield what stands around the table and cannot come along."""
    for label in facts.referenced_by:
        yield f"the foreign key {label} refers to it, and its primary key will not be unique by itself: drop that first"
    for sequence in facts.sequences:
        if sequence.identity:
            yield (
                f"{display(sequence.column)} is an identity column, whose sequence cannot change its table: "
                "make it a default from a sequence of its own first"
            )
    for trigger in facts.triggers:
        if trigger.transition:
            name = display(trigger.name)
            yield f"the trigger {name} is FOR EACH ROW with transition tables, which no partition can have"
    for publication in facts.publications:
        if not publication.via_root:
            yield (
                f"the publication {display(publication.name)} would publish its partitions by their own names: "
                f"ALTER PUBLICATION {display(publication.name)} SET (publish_via_partition_root = true) first"
            )
        elif publication.listed and not publication.owned:
            name = display(publication.name)
            yield f"the publication {name} belongs to a role that {facts.found.role} is not a member of"
    for item in facts.dependents:
        if item.kind == "other":
            yield f"{item.label} stands on it and would stay with the history: drop it first, and make it again behind"
    for view in facts.views:
        if not view.owned:
            yield f"the materialized view {view.name} belongs to {view.owner}, and {facts.found.role} is not a member"


def names(wanted: Wanted, facts: Facts, months: list[date]) -> Iterator[str]:
    """Yield which names are taken already."""
    names = [facts.history(wanted.table), *(facts.part_name(wanted.table, month) for month in months)]
    for name in names:
        if name.name in facts.taken:
            yield f"there is another {name}, a name that the conversion needs: rename it"
    if facts.twin_rows:
        yield f"{twin_of(wanted.table)} has rows, and would be dropped: move them, or rename it"


def oddities(wanted: Wanted, facts: Facts, outcome: Outcome) -> None:
    """Refuse what is no table of ours, or one that no conversion can follow."""
    title = f"table {wanted.table}"
    if facts.relation is None:
        outcome.refuse(title, "does not exist")
    for oddity in facts.oddities:
        outcome.refuse(title, oddity)
    if facts.partition_key not in {None, "RANGE"}:
        outcome.refuse(title, f"it is partitioned already, by {facts.partition_key}")
    if wanted.premake < 1:
        outcome.refuse("premake", "is not at least 1")
