"""The twins of materialized views of which one is new or has another query: each is looked at over those it reads.

A view that is remade (new, of another query, or reading one that is) gets a twin that stays until the end, in pg_temp
and under its own name. The views that read it are then read over what it is going to be, not over what it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from . import reading, sqlbuild, sqltext, twin_queries
from .connection import Composed, sql
from .errors import ServerError
from .model import MaterializedView, Name
from .naming import is_own
from .savepoint import Failed, undone
from .state import Dependent
from .twins import TWIN, Twins, ViewDefinition, attempt

_VIEW = sql.Identifier("pg_temp", "__pgopt_twin_view")
_DEPENDENT = sql.Identifier("pg_temp", "__pgopt_twin_dependent")


@dataclass(frozen=True)
class _Look:
    """A view as the server spells it, and the declared views that it reads, by itself or through plain views."""

    made: ViewDefinition
    through: frozenset[Name]


class ViewTwins:
    """Makes the twins of the declared views in the order in which they stand on each other."""

    def __init__(self, twins: Twins) -> None:
        """Work in the transaction of `twins`, and put what is found there."""
        self.twins = twins
        self.session = twins.session
        self.found = twins.found
        self.canonical = twins.canonical
        self.remade: dict[Name, tuple[str, str]] = {}  # as the session's search path has it: prefix, quoted name
        self.path = ""

    def run(self) -> None:
        """Read back the views; refuse those that the server refuses once all that they may stand on is there."""
        self.path = self.session.row("SELECT current_setting('search_path') AS path")["path"]
        waiting = [view for view in self.twins.declaration.materialized_views if view.present]
        while waiting:
            names = {view.name for view in waiting}
            failed: dict[MaterializedView, ServerError] = {}
            settled = []
            for view in waiting:
                try:
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

    def _refuse(self, waiting: list[MaterializedView], failed: dict[MaterializedView, ServerError]) -> None:
        for view, error in failed.items():
            self.canonical.refuse(view, f"{error.message} (sqlstate {error.sqlstate})")
        if not failed:
            names = ", ".join(str(view.name) for view in waiting)
            self.canonical.refuse(waiting[0], f"these materialized views read each other: {names}")

    @contextmanager
    def _over_twins(self) -> Iterator[None]:
        """Have names find the twins that stay first."""
        if self.remade:
            self.session.settings({"search_path": f"pg_temp, {self.path}"}, local=True)
        yield
        if self.remade:
            self.session.settings({"search_path": self.path}, local=True)

    def _query(self, view: MaterializedView) -> sql.SQL:
        return sql.SQL(sqltext.closed(sqltext.moved(view.query, self.remade, "pg_temp")))

    def _make(self, view: MaterializedView) -> None:
        with self._over_twins(), self.session.own_formats():
            self.session.execute(sqlbuild.text("CREATE TEMPORARY VIEW {} AS ({})", _VIEW, self._query(view)))

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
            own = {remade.name: remade for remade in self.remade}
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
        for prefix, name in self.remade.values():
            quoted = re.escape(name)
            query = re.sub(rf"\bpg_temp(?:_\d+)?\.(?={quoted}(?![\w$\"]))", lambda _, p=prefix: p, query)  # type: ignore[misc]
            if prefix:  # else it has no schema, as the twin, which no other relation of the search path hides
                bare = rf"(\b(?:FROM|JOIN) \(*|,\n +)(?={quoted}(?![\w$\".]))"
                query = re.sub(bare, lambda found, p=prefix: found.group() + p, query)  # type: ignore[misc]
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
        like = sqlbuild.text("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP", table, _VIEW)
        with undone(self.session, "pgopt_table"):
            if remade:
                made = self._estimated(view, made)
            self._make(view)
            self.session.execute(like)
            self.twins.objects(view.name, tuple(column[0] for column in made.columns))
            if view.storage_parameters:
                work = lambda: self.twins.set_parameters(view.storage_parameters, table)  # noqa: E731
                attempt(self.session, self.canonical, view, work)
            if remade and there:
                self._what_stands_on(view, table)
        self.canonical.views[view.name] = made
        if remade and all(other.name != view.name.name for other in self.remade):
            self._make(view)
            self.session.execute(like)
            self.session.execute(sqlbuild.text("DROP VIEW {}", _VIEW))
            row = self.session.row(twin_queries.SHOWN, (view.name.schema, view.name.schema, view.name.name))
            self.remade[view.name] = (row["prefix"], row["name"])

    def _estimated(self, view: MaterializedView, made: ViewDefinition) -> ViewDefinition:
        """Return the definition with the planner's estimates, which it makes only for who may read what it reads."""
        with self._over_twins(), self.session.own_formats():
            explained = self.session.row(sqlbuild.text("EXPLAIN (FORMAT JSON) {}", self._query(view)))
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
            raise ServerError(message, error.sqlstate, error.statement) from error

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
            raise ServerError(message, error.sqlstate, error.statement) from error
        new = self.session.row(twin_queries.VIEW, (self.session.render(_DEPENDENT),))
        if new["columns"] != present["columns"]:
            self.canonical.refuse(view, f"{dependent.label} stands on it and would change the types of its columns")
