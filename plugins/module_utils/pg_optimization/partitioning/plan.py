"""Decide: a pure function from the wanted table and what was found to the steps that are left."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

from .. import index as index_rules
from .. import matview, matview_removal, matview_swap, naming, space, sqlbuild
from ..action import (
    ACCESS_EXCLUSIVE,
    ACCESS_SHARE,
    SHARE_UPDATE_EXCLUSIVE,
    Action,
    Lock,
    Outcome,
    Policy,
    step,
)
from ..connection import sql
from ..model import Index, Key, MaterializedView, display
from ..plan import Plan
from ..state import Relation
from . import refusals, statements
from .model import MARGIN, Constraint, Facts, Wanted, after, check_name, key_index, month_of, twin_of

if TYPE_CHECKING:
    from ..connection import Composable

SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
_BYTES_A_SECOND = 500e6
_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*""")


def renamed(query: str, names: dict[str, str]) -> str:
    """Return a query of the server's with relations called otherwise; strings are left alone."""

    def token(match: re.Match[str]) -> str:
        found = match.group()
        if found.startswith("'"):
            return found
        name = found[1:-1].replace('""', '"') if found.startswith('"') else found
        return display(names[name]) if name in names else found

    return _TOKEN.sub(token, query)


def choose_cut(wanted: Wanted, facts: Facts) -> date:
    """Return where the history ends: as an earlier run said, as given, or the first month that no row is near."""
    latest = max(facts.now + MARGIN, facts.newest or facts.now)
    for cut, _ in facts.checks:
        if latest.date() < cut and wanted.cut in {None, cut}:
            return cut
    return wanted.cut or after(month_of(latest))


def _key_index(wanted: Wanted, facts: Facts, key: Constraint, relation: Relation) -> Action | None:
    """Return the build of the index that becomes the primary key, unless it stands."""
    name = key_index(wanted.table)
    standing = facts.found.indexes.get(name)
    if standing is not None and standing.valid:
        return None
    columns = statements.key_columns(key, wanted.column)
    index = Index(name, wanted.table, tuple(Key(column=column) for column in columns), include=key.include, unique=True)
    steps = [index_rules.drop_step(standing, index_rules.LEFT)] if standing is not None else []
    backing = next((i for i in facts.found.indexes_of(wanted.table) if i.constraint and i.constraint.kind == "p"), None)
    steps.append(
        index_rules.build_step(
            index, name, wanted.table, concurrently=True, tablespace=backing.tablespace if backing else None
        )
    )
    size = space.index_bytes(index, relation)
    return Action(
        "index", str(name), "create", f"a key of a partitioned table contains {display(wanted.column)}", tuple(steps),
        before=f"{key.definition}\n", after=f"UNIQUE ({', '.join(map(display, columns))})\n", bytes=size,
        seconds=space.index_seconds(size, relation, concurrently=True),
    )  # fmt: skip


def _key_swap(wanted: Wanted, facts: Facts, key: Constraint) -> Action:
    table, name = sqlbuild.ident(wanted.table), sql.Identifier(key.name)
    piece = f"ALTER TABLE {{}} DROP CONSTRAINT {{}}, ADD CONSTRAINT {{}} PRIMARY KEY USING INDEX {{}}{key.timing}"
    todo: list[Composable] = [sqlbuild.text(piece, table, name, name, sql.Identifier(key_index(wanted.table).name))]
    for index in facts.found.indexes_of(wanted.table):
        if index.constraint is None or index.constraint.kind != "p":
            continue
        if index.comment:
            todo.append(sqlbuild.comment_on("INDEX", sqlbuild.ident(index.name), naming.settled(index.comment)))
        if index.replica_identity:
            todo.append(sqlbuild.text("ALTER TABLE {} REPLICA IDENTITY USING INDEX {}", table, name))
    if key.comment:
        todo.append(sqlbuild.text("COMMENT ON CONSTRAINT {} ON {} IS {}", name, table, sql.Literal(key.comment)))
    work = step("exchange the primary key", Policy.SHORT, todo, Lock(ACCESS_EXCLUSIVE, wanted.table))
    columns = ", ".join(map(display, statements.key_columns(key, wanted.column)))
    return Action(
        "constraint", f"{wanted.table}.{display(key.name)}", "replace", "the index of the new key stands", (work,),
        before=f"{key.definition}\n", after=f"PRIMARY KEY ({columns})\n",
    )  # fmt: skip


def _checks(wanted: Wanted, facts: Facts, cut: date) -> list[Action]:
    """Return what makes sure that every row is of before the cut, and stays so until the table is partitioned."""
    title = f"{wanted.table}.{check_name(cut)}"
    table = sqlbuild.ident(wanted.table)
    kind = facts.column_type or ""
    actions = []
    mine = None
    for day, constraint in facts.checks:
        if day == cut:
            mine = constraint
            continue
        drop = sqlbuild.text("ALTER TABLE {} DROP CONSTRAINT {}", table, sql.Identifier(constraint.name))
        work = step("drop", Policy.SHORT, [drop], Lock(ACCESS_EXCLUSIVE, wanted.table))
        name = f"{wanted.table}.{display(constraint.name)}"
        actions.append(
            Action("constraint", name, "drop", "an interrupted run left it, and its day is too near", (work,))
        )
    if mine is None:
        work = step(
            "add", Policy.SHORT, [statements.add_check(wanted, kind, cut)], Lock(ACCESS_EXCLUSIVE, wanted.table)
        )
        reason = "until the table is partitioned, rows from that day on are refused"
        actions.append(Action("constraint", title, "create", reason, (work,), after=f"before {cut}, NOT VALID\n"))
    if mine is None or not mine.valid:
        validate = sqlbuild.text("ALTER TABLE {} VALIDATE CONSTRAINT {}", table, sql.Identifier(check_name(cut)))
        work = step("validate", Policy.LONG, [validate], Lock(SHARE_UPDATE_EXCLUSIVE, wanted.table))
        size = facts.relation.bytes if facts.relation is not None else 0
        actions.append(
            Action(
                "constraint", title, "validate", "the partition is then attached without reading it", (work,),
                before=f"before {cut}, NOT VALID\n", after=f"before {cut}\n", seconds=round(size / _BYTES_A_SECOND, 1),
            )
        )  # fmt: skip
    if not facts.not_null:
        column = sql.Identifier(wanted.column)
        todo = sqlbuild.text("ALTER TABLE {} ALTER COLUMN {} SET NOT NULL", table, column)
        work = step("set", Policy.SHORT, [todo], Lock(ACCESS_EXCLUSIVE, wanted.table))
        reason = "a key has no NULL; the validated constraint spares the look at the rows"
        actions.append(Action("column", f"{wanted.table}.{display(wanted.column)}", "alter", reason, (work,)))
    return actions


def _twin(wanted: Wanted, facts: Facts, relation: Relation, months: list[date]) -> Action:
    twin = twin_of(wanted.table)
    exists = twin.name in facts.taken
    todo = statements.twin(wanted, facts, relation, months, exists=exists)
    locks = [Lock(ACCESS_SHARE, wanted.table)]
    referred = (constraint.on for constraint in facts.constraints)
    locks += [Lock(SHARE_ROW_EXCLUSIVE, name) for name in referred if name is not None]
    parts = "".join(f"{facts.part_name(wanted.table, month)} from {month}\n" for month in months)
    reason = "an interrupted run left it; it is made again" if exists else "what will be the table, still empty"
    work = step("make", Policy.SHORT, todo, *dict.fromkeys(locks))
    return Action("table", str(twin), "create", reason, (work,), after=f"PARTITION BY RANGE ({wanted.column})\n{parts}")


def _swap(wanted: Wanted, facts: Facts, cut: date) -> Action:
    views = [item.name for item in facts.dependents if item.kind == "view" and item.name is not None]
    locks = [Lock(ACCESS_EXCLUSIVE, name) for name in (*views, wanted.table)]
    work = step("swap", Policy.SHORT, statements.swap(wanted, facts, cut), *locks)
    history = facts.history(wanted.table)
    return Action(
        "table", str(wanted.table), "partition", f"its rows become the partition {history}", (work,),
        before="one table\n", after=f"PARTITION BY RANGE ({wanted.column})\n{history} before {cut}\n", seconds=0.1,
    )  # fmt: skip


def _analyze(wanted: Wanted, facts: Facts) -> Action:
    todo = sqlbuild.text("ANALYZE {}", sqlbuild.ident(wanted.table))
    work = step("analyze", Policy.LONG, [todo], Lock(SHARE_UPDATE_EXCLUSIVE, wanted.table))
    reason = "nothing is known yet of all partitions together, and autovacuum does not look there"
    return Action("table", str(wanted.table), "analyze", reason, (work,), seconds=round(facts.total_bytes / 1e9, 1))


def _view(view: Relation, facts: Facts, names: dict[str, str]) -> Action:
    """Return the exchange of a materialized view for one that reads the partitioned table."""
    query = renamed((view.query or "").rstrip().rstrip(";"), names)
    declared = MaterializedView(view.name, query, populate=False)
    made = matview_swap.Made({column.name: column.type for column in view.columns.values()})
    steps = matview_swap.steps(declared, made, view, facts.found)
    # The exchange marks what it makes as declared; this one only follows its table.
    comment = sqlbuild.comment_on("MATERIALIZED VIEW", sqlbuild.ident(view.name), view.comment)
    steps[-1] = replace(steps[-1], statements=(*steps[-1].statements, comment))
    seconds = space.index_seconds(view.bytes, view, concurrently=False)
    return Action(
        "materialized view", str(view.name), "replace", "would read the history alone", tuple(steps),
        before=view.query or "", after=query, bytes=view.bytes, seconds=seconds,
        tablespace=view.tablespace,
    )  # fmt: skip


def _views(facts: Facts, names: dict[str, str]) -> Outcome:
    outcome = Outcome()
    outcome.actions += [_view(view, facts, names) for view in facts.views]
    redefined = tuple(view.name for view in facts.views)
    outcome.add(matview_removal.retire(facts.found, matview.Around(frozenset(), redefined)))
    return outcome


def _whole(wanted: Wanted, facts: Facts, relation: Relation) -> Outcome:
    """Decide about a table that is not partitioned yet."""
    outcome = Outcome()
    title = f"table {wanted.table}"
    for problem in (*refusals.types(wanted, facts), *refusals.rows(wanted, facts)):
        outcome.refuse(title, problem)
    if outcome.problems:
        return outcome
    cut = choose_cut(wanted, facts)
    months = [after(cut, number) for number in range(wanted.premake)]
    left = twin_of(wanted.table).name in facts.taken
    known = (
        replace(facts, taken=facts.taken - {facts.part_name(wanted.table, m).name for m in months}) if left else facts
    )
    reasons = [*refusals.keys(wanted, facts), *refusals.views(wanted, facts), *refusals.surroundings(facts)]
    reasons += refusals.names(wanted, known, months)
    for problem in reasons:
        outcome.refuse(title, problem)
    if outcome.problems:
        return outcome
    key = facts.key
    extend = key if key is not None and wanted.column not in key.columns else None
    if extend is not None:
        build = _key_index(wanted, facts, extend, relation)
        outcome.actions += [build] if build is not None else []
    outcome.actions += _checks(wanted, facts, cut)
    if extend is not None:
        outcome.actions.append(_key_swap(wanted, facts, extend))
        columns = ", ".join(map(display, extend.columns))
        outcome.warnings.append(
            f"{columns} alone will not be unique by a constraint any more: ON CONFLICT ({columns}) would fail"
        )
    outcome.actions += [_twin(wanted, facts, relation, months), _swap(wanted, facts, cut), _analyze(wanted, facts)]
    outcome.add(_views(facts, {}))
    outcome.warnings += [
        f"the index {index.name} is INVALID and stays with the history alone"
        for index in facts.found.indexes_of(wanted.table)
        if not index.valid and index.name != key_index(wanted.table)
    ]
    return outcome


def _partitioned(wanted: Wanted, facts: Facts) -> Outcome:
    """Decide about a table that is partitioned: what an interrupted run left to do, and the months to come."""
    outcome = Outcome()
    if any(part.default for part in facts.partitions):
        outcome.warnings.append(
            f"{wanted.table} has a DEFAULT partition, which is read at each ATTACH and forbids DETACH CONCURRENTLY"
        )
    if not facts.analysed:
        outcome.actions.append(_analyze(wanted, facts))
    history = next((part.name.name for part in facts.partitions if part.lowest), None)
    names = {old.name: view.name for old, view in facts.retired}
    names |= {history: wanted.table.name} if history is not None else {}
    histories = [part.name for part in facts.partitions if part.lowest]
    left = [view for view in facts.views if any(refusals.reads_only(view.query or "", name) for name in histories)]
    outcome.add(_views(replace(facts, views=tuple(view for view in facts.views if view not in left)), names))
    outcome.add(_months(wanted, facts))
    return outcome


def _months(wanted: Wanted, facts: Facts) -> Outcome:
    """Make the months from now on that no partition holds: those to come, and those of a gap before."""
    outcome = Outcome()
    bounded = [part for part in facts.partitions if part.upper is not None]
    wanted_months = [after(month_of(facts.now), number) for number in range(wanted.premake + 1)]
    for month in wanted_months if bounded else []:
        if any(part.overlaps(month) for part in facts.partitions):
            continue
        name = facts.part_name(wanted.table, month)
        if name.name in facts.taken:
            outcome.refuse(
                f"table {wanted.table}",
                f"{name} would be the month from {month}, and one of the name is not attached: attach it, or rename it",
            )
            continue
        todo = statements.attach(name, wanted, facts.column_type or "", month, bounded[-1].options)
        work = step("attach", Policy.SHORT, todo, Lock(SHARE_UPDATE_EXCLUSIVE, wanted.table))
        reason = f"{wanted.premake} months are to be there ahead of time"
        outcome.actions.append(Action("partition", str(name), "create", reason, (work,), after=f"from {month}\n"))
    return outcome


def plan(wanted: Wanted, facts: Facts) -> Plan:
    """Return what is left to do until the table is partitioned by month."""
    outcome = Outcome()
    refusals.oddities(wanted, facts, outcome)
    if not outcome.problems and facts.relation is not None:
        outcome.add(_partitioned(wanted, facts) if facts.partition_key else _whole(wanted, facts, facts.relation))
    return Plan(tuple(outcome.actions), tuple(outcome.warnings), tuple(outcome.problems), ())
