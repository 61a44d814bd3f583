"""All twins at once: one script makes them, one query a kind reads them back. What fails is then looked at one by one.

A run that finds nothing to do ends here, with as many round trips for a hundred indexes as for one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from . import closed_types, reading, sqlbuild, twin_queries
from .catalog import definition
from .connection import Session, sql
from .errors import INSUFFICIENT_PRIVILEGE, ServerError
from .model import Declaration, Index, MaterializedView, Name, Statistics
from .savepoint import Failed, undone
from .state import Found, Relation
from .table import differing
from .twins import (
    TWIN,
    Canonical,
    StatisticsDefinition,
    ViewDefinition,
    closed_functions,
    group,
    parameter_statements,
    table_statement,
)

if TYPE_CHECKING:
    from .connection import Composable

MOST = 500  # twins at a time
_ANY = f"^{TWIN}_[0-9]+$"


class Batch:
    """Collects the script, and what the name of each twin stands for."""

    def __init__(self, declaration: Declaration, found: Found) -> None:
        """Begin with nothing."""
        self.declaration = declaration
        self.found = found
        self.script: list[Composable] = []
        self.indexes: dict[str, Index] = {}
        self.statistics: dict[str, Statistics] = {}
        self.views: dict[str, MaterializedView] = {}
        self.count = 0

    def _next(self) -> str:
        self.count += 1
        return f"{TWIN}_{self.count}"

    def _objects(self, name: Name, twin: sql.Identifier) -> None:
        """Add everything declared on a relation whose twin stands."""
        declared = group(self.declaration, name)
        for index in declared.indexes:
            own = self._next()
            self.indexes[own] = index
            self.script.append(sqlbuild.create_index(replace(index, tablespace=None), sql.Identifier(own), twin))
        for item in declared.statistics:
            own = self._next()
            self.statistics[own] = item
            self.script.append(sqlbuild.create_statistics(item, sql.Identifier("pg_temp", own), twin))

    def _parameters(self, relation: Relation) -> None:
        """Try the storage parameters that differ, on a twin that is not partitioned."""
        leaves = [part.options for part in relation.partitions if part.kind == "r"]
        stored = leaves if relation.kind == "p" else [relation.options]
        for item in group(self.declaration, relation.name).parameters:
            changes = [pair for options in stored for pair in differing(item.parameters, options).items()]
            if changes:
                twin = sql.Identifier("pg_temp", self._next())
                like = sqlbuild.ident(relation.name)
                self.script.append(sqlbuild.text("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP", twin, like))
                self.script += parameter_statements(dict(changes).items(), twin)

    def table(self, relation: Relation) -> None:
        """Add the twin of a table."""
        on = group(self.declaration, relation.name)
        if on.indexes or on.statistics:
            self.script.append(table_statement(relation))
            self._objects(relation.name, sql.Identifier("pg_temp", relation.name.name))
        self._parameters(relation)

    def view(self, view: MaterializedView) -> None:
        """Add the twin of a materialized view that exists."""
        own = self._next()
        self.views[own] = view
        like, twin = sql.Identifier("pg_temp", own), sql.Identifier("pg_temp", view.name.name)
        self.script += [
            sqlbuild.text("CREATE TEMPORARY VIEW {} AS ({})", like, sqlbuild.raw(view.query)),
            sqlbuild.text("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP", twin, like),
        ]
        self._objects(view.name, twin)
        relation = self.found.relations[view.name]
        self._parameters(relation)
        changes = differing(view.storage_parameters, relation.options)
        self.script += parameter_statements(changes.items(), twin)

    def _ask_for_functions(self, session: Session, item: Index | Statistics, twin: str) -> None:
        """End the batch where something new needs a function that may not be executed: it is named one by one."""
        if functions := closed_functions(session, item, twin, self.found):
            raise Failed(ServerError(f"{item} needs {functions[0]}", INSUFFICIENT_PRIVILEGE, None))

    def read(self, session: Session) -> Canonical:
        """Make all twins and read them back."""
        canonical = Canonical()
        with session.own_formats():
            session.execute(sql.SQL(";\n").join(self.script))
        for row in session.rows(twin_queries.TWIN_INDEXES, (_ANY,)) if self.indexes else []:
            index = self.indexes[row["twin"]]
            twin, existing = sql.Identifier("pg_temp", index.table.name), self.found.index_on(index.name, index.table)
            read = reading.index(session, existing, definition(row), twin)
            canonical.indexes[index.name] = read
            if existing is None or not read.tail_is(existing.definition):
                self._ask_for_functions(session, index, row["twin"])
        for row in session.rows(twin_queries.TWIN_STATISTICS, (_ANY,)) if self.statistics else []:
            item = self.statistics[row["twin"]]
            twin = sql.Identifier("pg_temp", item.table.name)
            existing_one = self.found.statistics_on(item.name, item.table)
            said = reading.statistics(session, existing_one, row["columns"], twin)
            if existing_one is None or existing_one.columns != said:
                self._ask_for_functions(session, item, row["twin"])
            canonical.statistics[item.name] = StatisticsDefinition(said, row["kinds"])
        for row in session.rows(twin_queries.TWIN_VIEWS) if self.views else []:
            columns = tuple((name, kind, collation) for name, kind, collation in row["columns"] or ())
            name = self.views[row["twin"]].name
            query = reading.query(session, self.found.relations[name].query, row["query"])
            canonical.views[name] = ViewDefinition(query, columns, len(canonical.views))
        return canonical


def _read(session: Session, batch: Batch) -> Canonical | None:
    if not batch.script:
        return Canonical()
    try:
        with undone(session, "pgopt_batch"):
            return batch.read(session)
    except Failed:
        return None


def _of_tables(declaration: Declaration, found: Found, tables: Sequence[Relation]) -> Batch:
    batch = Batch(declaration, found)
    for relation in tables:
        batch.table(relation)
    return batch


def _found_views(declaration: Declaration, found: Found) -> list[MaterializedView] | None:
    """Return the views that are declared present, or None where one of them does not exist yet."""
    views = [view for view in declaration.materialized_views if view.present]
    there = [view.name in found.relations and found.relations[view.name].kind == "m" for view in views]
    return views if all(there) else None


def shares(declaration: Declaration, tables: Sequence[Relation], most: int) -> list[list[Relation]]:
    """Return the tables in shares with at most so many twins each, or with one table, in their order.

    Each twin holds a lock to the end of its savepoint, and the server has 64 for each connection that it allows.
    """
    items: list[Index | Statistics] = [*declaration.all_indexes, *declaration.statistics]
    on = Counter(item.table for item in items if item.present)
    made: list[list[Relation]] = [[]]
    twins = 0
    for relation in tables:
        size = 2 + on[relation.name]
        if made[-1] and twins + size > most:
            made.append([])
            twins = 0
        made[-1].append(relation)
        twins += size
    return made


def everything(
    session: Session, declaration: Declaration, found: Found, tables: Sequence[Relation]
) -> tuple[Canonical | None, bool]:
    """Return the objects on tables, None where the server refuses one; and whether the views are in it too.

    They are not where one does not exist or has another query: what stands on which then is asked of each. So are the
    objects where a table has types that the role may not use.
    """
    views = _found_views(declaration, found)
    if any(map(closed_types.closed, tables)):
        return None, False
    if any(closed_types.closed(found.relations[view.name]) for view in views or ()):
        views = None
    names = [relation.name.name for relation in tables] + [view.name.name for view in views or ()]
    if len(names) > len(set(names)):
        return None, False
    *others, last = shares(declaration, tables, MOST)
    before = Canonical()
    for share in others:
        read = _read(session, _of_tables(declaration, found, share))
        if read is None:
            return None, False
        before.add(read)
    batch = _of_tables(declaration, found, last)
    for view in views or ():
        batch.view(view)
    canonical = _read(session, batch)
    if canonical is None and views:
        canonical, views = _read(session, _of_tables(declaration, found, last)), None
    if canonical is not None:
        canonical.add(before)
    unchanged = (
        canonical is not None
        and views is not None
        and all(canonical.views[view.name].query == found.relations[view.name].query for view in views)
    )
    if canonical is not None and not unchanged:
        canonical.views.clear()
    return canonical, unchanged
