"""The twins of materialized views of which one is new or has another query: each is looked at over those it reads.

A view that is remade (new, of another query, or reading one that is) gets a twin that stays until the end. The views
that read it are then read over what it is going to be, not over what it is. Its twin has a name that nothing else has,
and its own one only while a query is read that means it, by its place in the query and by the search path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from . import closed_types, event_triggers, reading, sqlbuild, sqlnames, sqltext, twin_queries
from .connection import Composed, sql
from .errors import ServerError
from .model import MaterializedView, Name
from .naming import is_own
from .savepoint import Failed, kept, undone
from .state import Dependent
from .twins import TWIN, Twins, ViewDefinition, attempt, like_statements

_VIEW_NAME = Name("pg_temp", "__pgopt_twin_view")
_VIEW = sql.Identifier(*_VIEW_NAME)
_DEPENDENT = sql.Identifier("pg_temp", "__pgopt_twin_dependent")


@dataclass(frozen=True)
class _Look:
    """A view as the server spells it, and what it reads, by itself or through plain views."""

    made: ViewDefinition
    through: frozenset[Name]


@dataclass(frozen=True)
class _Kept:
    """The twin of a remade view: its name in pg_temp, and the view's as the search path has it, quoted where due."""

    name: str
    prefix: str
    quoted: str


def first_in_path(names: Iterable[Name], schemas: Iterable[str]) -> dict[str, Name]:
    """Return what each name means without a schema: the first of the relations that have it, along the search path."""
    there = set(names)
    found: dict[str, Name] = {}
    for schema in schemas:
        for name in there:
            if name.schema == schema:
                found.setdefault(name.name, name)
    return found


def _named(kept: _Kept, found: re.Match[str]) -> str:
    """Return the name of what a twin stands for: its columns are written with the name alone."""
    return f"{kept.quoted}." if found[1] else f"{kept.prefix}{kept.quoted}"


class ViewTwins:
    """Makes the twins of the declared views in the order in which they stand on each other."""

    def __init__(self, twins: Twins) -> None:
        """Work in the transaction of `twins`, and put what is found there."""
        self.twins = twins
        self.session = twins.session
        self.found = twins.found
        self.canonical = twins.canonical
        self.remade: dict[Name, _Kept] = {}
        self.bare: dict[str, Name] = {}

    def run(self) -> None:
        """Read back the views; refuse those that the server refuses once all that they may stand on is there."""
        waiting = [view for view in self.twins.declaration.materialized_views if view.present]
        there = self.session.row(twin_queries.PATH, ([view.name.name for view in waiting],))
        known = [Name(*pair) for pair in there["relations"] or ()] + [view.name for view in waiting]
        self.bare = first_in_path(known, there["schemas"])
        waiting = [view for view in waiting if not self._reads_itself(view)]
        while waiting:
            names = {view.name for view in waiting}
            failed: dict[MaterializedView, ServerError] = {}
            settled = []
            for view in waiting:
                if self._meant_by(view) & (names - {view.name}):
                    continue
                try:
                    if self._stays_with_closed_types(view):
                        settled.append(view)
                        continue
                    look = self._look(view)
                    if not look.through & (names - {view.name}):
                        self._settle(view, look.made)
                        settled.append(view)
                except Failed as failure:
                    failed[view] = failure.error
            if not settled:
                self._refuse(waiting, failed)
                return
            waiting = [view for view in waiting if view not in settled]

    def _stays_with_closed_types(self, view: MaterializedView) -> bool:
        """Tell whether a view that has types which the role may not use is as declared, and read what is on it.

        Its query can be compared within another one, which has no columns of these types.

        Raises:
            Failed: the server refuses the query.
        """
        existing = self.found.relations.get(view.name)
        if existing is None or existing.kind != "m" or not closed_types.closed(existing) or existing.query is None:
            return False
        if self._meant_by(view) & set(self.remade) or not reading.same_within(self.session, existing.query, view.query):
            return False
        columns = tuple((column.name, column.type, 0) for column in existing.columns.values())
        with undone(self.session, "pgopt_table"), self.twins.standing(existing):
            self.twins.objects(view.name, tuple(existing.columns))
            if view.storage_parameters:
                table = sql.Identifier("pg_temp", view.name.name)
                work = lambda: self.twins.set_parameters(view.storage_parameters, table)  # noqa: E731
                attempt(self.session, self.canonical, view, work)
        self.canonical.views[view.name] = ViewDefinition(existing.query, columns, len(self.canonical.views))
        return True

    def _meant(self, reference: sqlnames.Reference) -> Name | None:
        """Return what a name in a query is going to mean, as far as a declared view can be meant."""
        if len(reference.parts) == 1:
            return self.bare.get(reference.parts[0])
        *database, schema, name = reference.parts
        return Name(schema, name) if database in ([], [self.session.server.database]) else None

    def _meant_by(self, view: MaterializedView) -> set[Name | None]:
        return {self._meant(reference) for reference in sqlnames.references(view.query)}

    def _reads_itself(self, view: MaterializedView) -> bool:
        """Refuse a view whose query names the view: it has no rows to begin with, and could not be exchanged."""
        if view.name not in self._meant_by(view):
            return False
        hint = "where another relation is meant, write its schema before its name"
        self.canonical.refuse(view, f"its query reads the view itself; {hint}")
        return True

    def _refuse(self, waiting: list[MaterializedView], failed: dict[MaterializedView, ServerError]) -> None:
        for view, error in failed.items():
            self.canonical.refuse(view, f"{event_triggers.words(self.session, error)} (sqlstate {error.sqlstate})")
        if not failed:
            names = ", ".join(str(view.name) for view in waiting)
            self.canonical.refuse(waiting[0], f"these materialized views read each other: {names}")

    @contextmanager
    def _over_twins(self, view: MaterializedView) -> Iterator[sql.SQL]:
        """Have the twins that a view reads bear the names by which it reads them; yield its query over them.

        Of two that have one name in two schemas the first bears it, and the other one gets it as its alias.
        """
        bearers: dict[str, Name] = {}

        def written(reference: sqlnames.Reference) -> str | None:
            name = self._meant(reference)
            if name is None or name not in self.remade:
                return None
            own = view.query[reference.last : reference.end]
            if bearers.setdefault(name.name, name) == name:
                return f"pg_temp.{own}"
            if reference.kind == "column":
                return own
            alias = f" AS {own}" if reference.kind == "relation" and not reference.aliased else ""
            return f"pg_temp.{self.remade[name].name}{alias}"

        query = sqlnames.replaced(view.query, sqlnames.references(view.query), written)
        pairs = [(self.remade[name].name, own) for own, name in bearers.items()]
        self._rename(pairs)
        yield sql.SQL(sqltext.closed(query))
        self._rename([(own, name) for name, own in pairs])

    def _rename(self, pairs: list[tuple[str, str]]) -> None:
        piece = "ALTER TABLE {} RENAME TO {}"
        todo = [sqlbuild.text(piece, sql.Identifier("pg_temp", old), sql.Identifier(new)) for old, new in pairs]
        if todo:
            self.session.execute(sql.SQL("; ").join(todo))

    def _make(self, view: MaterializedView) -> None:
        with self._over_twins(view) as query, self.session.own_formats():
            self.session.execute(sqlbuild.text("CREATE TEMPORARY VIEW {} AS ({})", _VIEW, query))

    def _keep(self, view: MaterializedView) -> None:
        """Keep a twin of a remade view for those that read it."""
        own = f"{TWIN}_of_{len(self.remade)}"
        piece = "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS ({}) WITH NO DATA"
        table, by = sql.Identifier("pg_temp", own), Name("pg_temp", f"{own}_view")
        with self._over_twins(view) as query, self.session.own_formats():
            over = sqlbuild.text("CREATE TEMPORARY VIEW {} AS ({})", sqlbuild.ident(by), query)
            others = [sqlbuild.text("{}; {}", over, way) for way in like_statements(table, by)]
            event_triggers.make(self.session, [sqlbuild.text(piece, table, query), *others])
        row = self.session.row(twin_queries.QUOTED, view.name)
        prefix = "" if self.bare.get(view.name.name) == view.name else f"{row['schema']}."
        self.remade[view.name] = _Kept(own, prefix, row["name"])

    def _look(self, view: MaterializedView) -> _Look:
        """Make the twin of a view, read it back, and undo it.

        Raises:
            Failed: the server refuses the query.
        """
        with undone(self.session, "pgopt_table"):
            self._make(view)
            name = self.session.render(_VIEW)
            row = self.session.row(twin_queries.VIEW, (name,))
            reads: set[Name] = set()
            through: set[Name] = set()
            own = {kept.name: remade for remade, kept in self.remade.items()}
            for item in self.session.rows(twin_queries.READS, (name,)):
                read = own[item["name"]] if item["twin"] else Name(item["schema"], item["name"])
                through.add(read)
                reads |= {read} if item["direct"] else set()
        columns = tuple((column, kind, collation) for column, kind, collation in row["columns"] or ())
        query = self._shown(row["query"])
        made = ViewDefinition(query, columns, len(self.canonical.views), frozenset(reads))
        return _Look(made, frozenset(through))

    def _shown(self, query: str) -> str:
        """Return a query with the names of what the twins stand for."""
        for twin in self.remade.values():
            query = re.sub(rf"\b(?:pg_temp(?:_\d+)?\.)?{twin.name}\b(\.?)", partial(_named, twin), query)
        return query

    def _settle(self, view: MaterializedView, made: ViewDefinition) -> None:
        """Read back what is declared on a view that needs no other any more, and keep its twin if it is remade."""
        existing = self.found.relations.get(view.name)
        there = existing is not None and existing.kind == "m"
        over = bool(made.reads & set(self.remade))
        if existing is not None and there and not over:
            made = replace(made, query=reading.query(self.session, existing.query, made.query))
        remade = existing is None or (there and (over or existing.query != made.query))
        table = sql.Identifier("pg_temp", view.name.name)
        like = like_statements(table, _VIEW_NAME)
        with undone(self.session, "pgopt_table"):
            if remade:
                made = self._estimated(view, made)
            self._make(view)
            event_triggers.make(self.session, like)
            self.twins.objects(view.name, tuple(column[0] for column in made.columns))
            if view.storage_parameters:
                work = lambda: self.twins.set_parameters(view.storage_parameters, table)  # noqa: E731
                attempt(self.session, self.canonical, view, work)
            if remade and there:
                self._what_stands_on(view, table)
        self.canonical.views[view.name] = made
        if remade:
            with kept(self.session, "pgopt_keep"):
                self._keep(view)

    def _estimated(self, view: MaterializedView, made: ViewDefinition) -> ViewDefinition:
        """Return the definition with the planner's estimates, which it makes only for who may read what it reads."""
        with self._over_twins(view) as query, self.session.own_formats():
            explained = self.session.row(sqlbuild.text("EXPLAIN (FORMAT JSON) {}", query))
        said = explained["QUERY PLAN"]
        top = (json.loads(said) if isinstance(said, str) else said)[0]["Plan"]
        return ViewDefinition(
            made.query, made.columns, made.order, made.reads, top["Plan Rows"], top["Plan Width"], top["Total Cost"]
        )

    def _what_stands_on(self, view: MaterializedView, table: sql.Identifier) -> None:
        """Refuse a remade view when something that stands on the present one could not stand on the new one."""
        for dependent in self.found.dependents:
            if dependent.on == view.name and dependent.kind == "view" and dependent.name is not None:
                attempt(self.session, self.canonical, view, lambda d=dependent: self._dependent(view, d))  # type: ignore[misc]
        declared = {index.name for index in self.twins.declaration.all_indexes}
        carried = [
            (sqlbuild.like_index(index, sql.Identifier(TWIN), table), f"index {index.name}")
            for index in self.found.indexes_of(view.name)
            if index.name not in declared and index.valid and not is_own(index.name.name)
        ]
        declared = {item.name for item in self.twins.declaration.statistics}
        carried += [
            (sqlbuild.like_statistics(item, sql.Identifier("pg_temp", TWIN), table), f"statistics {item.name}")
            for item in self.found.statistics.values()
            if item.table == view.name and item.name not in declared
        ]
        for statement, label in carried:
            attempt(self.session, self.canonical, view, lambda s=statement, t=label: self._carried(s, t))  # type: ignore[misc]

    def _carried(self, statement: Composed, label: str) -> None:
        """Make on the twin what nobody declared and the new view is to get too."""
        try:
            self.session.execute(statement)
        except ServerError as error:
            message = f"{label} stands on it, is not declared, and could not be carried over: {error.message}"
            raise ServerError(message, error.sqlstate, error.statement, error.context) from error

    def _dependent(self, view: MaterializedView, dependent: Dependent) -> None:
        """Make a dependent view over the new definition, and compare its columns with the present ones."""
        assert dependent.name is not None  # noqa: S101 - for the type checker
        quoted = self.session.render(sqlbuild.ident(dependent.name))
        schema = self.session.render(sql.Identifier(view.name.schema))
        # The view's own text with the bare name of what it stands on, which then is found in pg_temp first.
        self.session.settings({"search_path": f"{schema}, pg_temp"}, local=True)
        present = self.session.row(twin_queries.VIEW, (quoted,))
        self.session.settings({"search_path": f"pg_temp, {schema}"}, local=True)
        query = sql.SQL(present["query"].rstrip().rstrip(";"))
        try:
            self.session.execute(sqlbuild.text("CREATE TEMPORARY VIEW {} AS {}", _DEPENDENT, query))
        except ServerError as error:
            message = f"{dependent.label} stands on it: {error.message}"
            raise ServerError(message, error.sqlstate, error.statement, error.context) from error
        new = self.session.row(twin_queries.VIEW, (self.session.render(_DEPENDENT),))
        if new["columns"] != present["columns"]:
            self.canonical.refuse(view, f"{dependent.label} stands on it and would change the types of its columns")
