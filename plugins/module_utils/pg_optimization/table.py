"""Decide about storage parameters of tables and statistics targets of columns. What is not declared is not touched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from . import sqlbuild
from .action import SHARE_UPDATE_EXCLUSIVE, Action, Lock, Outcome, Policy, step
from .catalog import parameter
from .connection import sql
from .model import ColumnStatistics, Name, TableParameters, display
from .state import Found, Partition, Relation

if TYPE_CHECKING:
    from .connection import Composable


def differing(declared: tuple[tuple[str, str | None], ...], have: dict[str, str]) -> dict[str, str | None]:
    """Return the declared parameters that are not as declared, with the value to set, or None to reset."""
    wanted = {name: None if value is None else parameter(name, value) for name, value in declared}
    return {name: value for name, value in declared if have.get(name) != wanted[name]}


def set_statements(kind: str, name: Name, changes: dict[str, str | None]) -> list[Composable]:
    """Return the statements that set and reset storage parameters."""
    setting = [(key, value) for key, value in changes.items() if value is not None]
    resetting = [key for key, value in changes.items() if value is None]
    statements: list[Composable] = []
    if setting:
        piece = f"ALTER {kind} {{}} SET ({{}})"
        statements.append(sqlbuild.text(piece, sqlbuild.ident(name), sqlbuild.assignments(setting)))
    if resetting:
        piece = f"ALTER {kind} {{}} RESET ({{}})"
        statements.append(sqlbuild.text(piece, sqlbuild.ident(name), sqlbuild.names(resetting)))
    return statements


def describe_options(options: dict[str, str]) -> str:
    """Return storage parameters for a difference view."""
    return "".join(f"{name} = {value}\n" for name, value in sorted(options.items()))


def changed(options: dict[str, str], changes: dict[str, str | None]) -> dict[str, str]:
    """Return the storage parameters as they will be."""
    merged = {**options, **{name: None if v is None else parameter(name, v) for name, v in changes.items()}}
    return {name: value for name, value in merged.items() if value is not None}


_TOAST = "toast."


def _refuse_toast(item: TableParameters, names: Iterable[str], outcome: Outcome) -> None:
    for name in names:
        if name.startswith(_TOAST):
            outcome.refuse(item, f"{name} has no effect: the table has no TOAST table")


def unowned(partitions: Iterable[Partition], role: str) -> str:
    """Return why nothing can be done to partitions of others."""
    whose = ", ".join(f"{partition.name} of {partition.owner}" for partition in partitions)
    return f"has partitions that belong to roles of which {role} is not a member: {whose}; ALTER TABLE … OWNER TO"


def _of_partitions(item: TableParameters, relation: Relation, role: str) -> Outcome:
    """Decide about the partitions of a table, which have no storage of its own to have parameters."""
    outcome = Outcome()
    leaves = [partition for partition in relation.partitions if partition.kind == "r"]
    if leaves and not any(partition.has_toast for partition in leaves):
        _refuse_toast(item, [name for name, value in item.parameters if value is not None], outcome)
    for partition in leaves:
        changes = differing(item.parameters, partition.options)
        if not partition.has_toast:  # a partition may have other columns, and no TOAST table that could have any
            changes = {name: value for name, value in changes.items() if not name.startswith(_TOAST)}
        if changes and not partition.owned:
            outcome.refuse(item, unowned([partition], role))
        elif changes:
            statements = set_statements("TABLE", partition.name, changes)
            work = step("alter", Policy.SHORT, statements, Lock(SHARE_UPDATE_EXCLUSIVE, partition.name))
            reason = "; ".join(f"{name} is {partition.options.get(name, 'not set')}" for name in changes)
            before = describe_options(partition.options)
            after = describe_options(changed(partition.options, changes))
            outcome.actions.append(Action("table", str(partition.name), "alter", reason, (work,), before, after))
    return outcome


def decide_parameters(item: TableParameters, found: Found) -> Outcome:
    """Decide about the storage parameters of one table or materialized view."""
    outcome = Outcome()
    relation = found.relations.get(item.table)
    if relation is not None and relation.kind == "p":
        return _of_partitions(item, relation, found.role)
    have = relation.options if relation is not None else {}
    changes = differing(item.parameters, have)
    if relation is not None and not relation.has_toast:
        _refuse_toast(item, changes, outcome)
    if changes and not outcome.problems:
        kind = "MATERIALIZED VIEW" if relation is None or relation.kind == "m" else "TABLE"
        work = step(
            "alter",
            Policy.SHORT,
            set_statements(kind, item.table, changes),
            Lock(SHARE_UPDATE_EXCLUSIVE, item.table),
        )
        reason = "; ".join(f"{name} is {have.get(name, 'not set')}" for name in changes)
        before, after = describe_options(have), describe_options(changed(have, changes))
        outcome.actions.append(Action("table", str(item.table), "alter", reason, (work,), before, after))
    return outcome


def decide_columns(items: tuple[ColumnStatistics, ...], found: Found, new_views: dict[Name, set[str]]) -> Outcome:
    """Decide about statistics targets; all columns of one table in one step, with one ANALYZE of them."""
    outcome = Outcome()
    by_table: dict[Name, list[tuple[ColumnStatistics, int]]] = {}
    for item in items:
        relation: Relation | None = found.relations.get(item.table)
        known = new_views.get(item.table) or (set(relation.columns) if relation is not None else None)
        if known is None:
            continue
        if item.column not in known:
            outcome.refuse(item, f'column "{item.column}" does not exist in {item.table}')
            continue
        column = relation.columns.get(item.column) if relation is not None else None
        have = column.target if column is not None else -1
        if have != item.target and column is not None and column.virtual:
            outcome.refuse(item, "is a virtual generated column, of which the server has no statistics")
        elif have != item.target:
            by_table.setdefault(item.table, []).append((item, have))
    for name, changes in by_table.items():
        table = sqlbuild.ident(name)
        relation = found.relations.get(name)
        kind = "MATERIALIZED VIEW" if relation is None or relation.kind == "m" else "TABLE"
        statements: list[Composable] = [
            sqlbuild.text(
                f"ALTER {kind} {{}} ALTER COLUMN {{}} SET STATISTICS {{}}",
                table,
                sql.Identifier(item.column),
                sql.Literal(item.target),
            )
            for item, _ in changes
        ]
        columns = [item.column for item, _ in changes]
        statements.append(sqlbuild.text("ANALYZE {} ({})", table, sqlbuild.columns(columns)))
        outcome.actions.append(
            Action(
                "column statistics",
                str(name),
                "alter",
                "; ".join(f"{display(item.column)} has the target {have}" for item, have in changes),
                (step("alter and fill", Policy.LONG, statements, Lock(SHARE_UPDATE_EXCLUSIVE, name)),),
                "".join(f"{display(item.column)}: {have}\n" for item, have in changes),
                "".join(f"{display(item.column)}: {item.target}\n" for item, _ in changes),
            )
        )
    return outcome
