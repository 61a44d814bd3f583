"""Ask the server what the declaration means: each object is made on an empty twin, read back, and rolled back.

All twins of one run live in one transaction, each behind a savepoint, so that every object which the server refuses is
named with the server's reason, and nothing stays. A twin has the name of its table, for expressions that use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from . import queries, sqlbuild
from .catalog import definition
from .connection import Composed, Session, sql
from .errors import UNDEFINED_TABLE, ServerError
from .model import Declaration, Index, MaterializedView, Name, Problem, Statistics, TableParameters
from .naming import is_own
from .state import Definition, Dependent, Found, Relation

TWIN = "__pgopt_twin"
_TWIN_VIEW = "__pgopt_twin_view"
# Not the declaration's fault: connection, transaction rollback, resources, lock timeout, operator, system.
NOT_A_REFUSAL = ("08", "40", "53", "55P03", "57", "58", "XX")


@dataclass(frozen=True)
class ViewDefinition:
    """A materialized view as the server spells it; columns are (name, type, collation's oid), `order` of creation."""

    query: str
    columns: tuple[tuple[str, str, int], ...]
    order: int


@dataclass(frozen=True)
class StatisticsDefinition:
    """An extended statistics object as the server spells it."""

    columns: str
    kinds: str


@dataclass
class Canonical:
    """What the server made of each declared object, and what it refused."""

    indexes: dict[Name, Definition] = field(default_factory=dict)
    views: dict[Name, ViewDefinition] = field(default_factory=dict)
    statistics: dict[Name, StatisticsDefinition] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, title: object, problem: str) -> None:
        """Add one problem of one object."""
        self.problems.append(Problem(str(title), problem))


class _Failed(Exception):  # noqa: N818 - control flow inside this file
    """The work on one object was refused by the server."""

    def __init__(self, error: ServerError) -> None:
        super().__init__(error.message)
        self.error = error


@contextmanager
def _undone(session: Session, savepoint: str) -> Iterator[None]:
    """Run a block behind a savepoint and undo it."""
    session.execute(f"SAVEPOINT {savepoint}")
    try:
        yield
    except ServerError as error:
        if error.sqlstate is None or error.sqlstate.startswith(NOT_A_REFUSAL):
            raise
        raise _Failed(error) from error
    finally:
        if not session.connection.closed:
            session.execute(f"ROLLBACK TO SAVEPOINT {savepoint}")


def _try(session: Session, canonical: Canonical, title: object, work: Callable[[], None]) -> None:
    """Do the work on one object, undo it, and name the object where the server refuses."""
    try:
        with _undone(session, "pgopt_object"):
            work()
    except _Failed as failed:
        canonical.refuse(title, f"{failed.error.message} (sqlstate {failed.error.sqlstate})")


@dataclass(frozen=True)
class _On:
    """What is declared on one relation."""

    indexes: tuple[Index, ...]
    statistics: tuple[Statistics, ...]
    parameters: tuple[TableParameters, ...]


def group(declaration: Declaration, table: Name) -> _On:
    """Return what is declared on one relation."""
    return _On(
        indexes=tuple(index for index in declaration.all_indexes if index.table == table and index.present),
        statistics=tuple(item for item in declaration.statistics if item.table == table and item.present),
        parameters=tuple(item for item in declaration.table_parameters if item.table == table),
    )


def _unknown_columns(columns: Iterable[str], known: Iterable[str]) -> list[str]:
    have = set(known)
    return [column for column in columns if column not in have]


def _check_index_columns(index: Index, known: Iterable[str], canonical: Canonical) -> bool:
    """Refuse columns that do not exist; a text is a column's name, exactly."""
    keys = [key.column for key in index.keys if key.column is not None]
    unknown = _unknown_columns(keys, known)
    for column in unknown:
        hint = "" if column.isidentifier() else "; a text is a column's name, write {expression: …} for an expression"
        canonical.refuse(index, f'column "{column}" does not exist in {index.table}{hint}')
    missing = _unknown_columns(index.include, known)
    for column in missing:
        canonical.refuse(index, f'included column "{column}" does not exist in {index.table}')
    return not unknown and not missing


class Twins:
    """Makes the twins of one run inside its transaction."""

    def __init__(self, session: Session, declaration: Declaration, found: Found) -> None:
        """Work in `session`, which is in the transaction that will be rolled back."""
        self.session = session
        self.declaration = declaration
        self.found = found
        self.canonical = Canonical()

    def parameters(self, table: Name, twin: sql.Identifier) -> None:
        """Try the storage parameters of a relation on its twin."""
        for item in group(self.declaration, table).parameters:
            _try(self.session, self.canonical, item, lambda item=item: self._parameters(item.parameters, twin))  # type: ignore[misc]

    def objects(self, table: Name, columns: tuple[str, ...], *, parameters: bool = True) -> None:
        """Read back everything declared on a relation whose twin stands."""
        declared = group(self.declaration, table)
        twin = sql.Identifier("pg_temp", table.name)
        for index in declared.indexes:
            if _check_index_columns(index, columns, self.canonical):
                _try(self.session, self.canonical, index, lambda index=index: self._index(index, twin))  # type: ignore[misc]
        for item in declared.statistics:
            for column in _unknown_columns(item.columns, columns):
                self.canonical.refuse(item, f'column "{column}" does not exist in {table}')
            if not _unknown_columns(item.columns, columns):
                _try(self.session, self.canonical, item, lambda item=item: self._statistics(item, twin))  # type: ignore[misc]
        if parameters:
            self.parameters(table, twin)

    def _index(self, index: Index, twin: sql.Identifier) -> None:
        self.session.execute(sqlbuild.create_index(replace(index, tablespace=None), sql.Identifier(TWIN), twin))
        self.canonical.indexes[index.name] = definition(self.session.row(queries.TWIN_INDEX.format(index=TWIN)))

    def _statistics(self, item: Statistics, twin: sql.Identifier) -> None:
        self.session.execute(sqlbuild.create_statistics(item, sql.Identifier("pg_temp", TWIN), twin))
        row = self.session.row(queries.TWIN_STATISTICS.format(statistics=TWIN))
        self.canonical.statistics[item.name] = StatisticsDefinition(row["columns"], row["kinds"])

    def _parameters(self, parameters: Iterable[tuple[str, str | None]], twin: sql.Identifier) -> None:
        pairs = tuple(parameters)
        setting = [(name, value) for name, value in pairs if value is not None]
        if setting:
            self.session.execute(sqlbuild.text("ALTER TABLE {} SET ({})", twin, sqlbuild.assignments(setting)))
        if resetting := [name for name, value in pairs if value is None]:
            self.session.execute(sqlbuild.text("ALTER TABLE {} RESET ({})", twin, sqlbuild.names(resetting)))

    def table(self, relation: Relation) -> None:
        """Make the twin of a table and read back what is declared on it."""
        statement = sqlbuild.text(
            "CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING GENERATED) {}ON COMMIT DROP",
            sql.Identifier("pg_temp", relation.name.name),
            sqlbuild.ident(relation.name),
            sql.SQL(f"PARTITION BY {relation.partition_key} " if relation.partition_key else ""),
        )
        try:
            with _undone(self.session, "pgopt_table"):
                self.session.execute(statement)
                self.objects(relation.name, tuple(relation.columns), parameters=not relation.partition_key)
            if relation.partition_key and group(self.declaration, relation.name).parameters:
                self._partition(relation)
        except _Failed as failed:
            self.canonical.refuse(f"table {relation.name}", failed.error.message)

    def _partition(self, relation: Relation) -> None:
        """Try storage parameters on a twin of a partition, as a partitioned table has none."""
        twin = sql.Identifier("pg_temp", relation.name.name)
        with _undone(self.session, "pgopt_table"):
            like = sqlbuild.ident(relation.name)
            self.session.execute(sqlbuild.text("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP", twin, like))
            self.parameters(relation.name, twin)

    def views(self) -> None:
        """Read back the views, as often as one of them needs another that does not exist yet."""
        waiting = [view for view in self.declaration.materialized_views if view.present]
        while waiting:
            failed = {view: error for view in waiting if (error := self._view(view)) is not None}
            later = [view for view, error in failed.items() if error.sqlstate == UNDEFINED_TABLE]
            made = [view for view in waiting if view not in failed and view.name not in self.found.relations]
            progress = bool(later) and bool(made)
            for view, error in failed.items():
                if not (progress and view in later):
                    self.canonical.refuse(view, f"{error.message} (sqlstate {error.sqlstate})")
            for view in made if progress else ():
                self.session.execute(sqlbuild.create_view(view, view.name, (), None))
            waiting = later if progress else []

    def _view(self, view: MaterializedView) -> ServerError | None:
        """Make the twin of a view and of what stands on it; return the server's refusal of the view itself."""
        twin = sql.Identifier("pg_temp", _TWIN_VIEW)
        try:
            with _undone(self.session, "pgopt_table"):
                query = sqlbuild.raw(view.query)
                self.session.execute(sqlbuild.text("CREATE TEMPORARY VIEW {} AS ({})", twin, query))
                row = self.session.row(queries.VIEW, (f"pg_temp.{_TWIN_VIEW}",))
                columns = tuple((name, kind, collation) for name, kind, collation in row["columns"] or ())
                made = ViewDefinition(row["query"], columns, len(self.canonical.views))
                table = sql.Identifier("pg_temp", view.name.name)
                self.session.execute(sqlbuild.text("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP", table, twin))
                self.objects(view.name, tuple(column[0] for column in columns))
                if view.storage_parameters:
                    _try(
                        self.session,
                        self.canonical,
                        view,
                        lambda: self._parameters(view.storage_parameters, table),
                    )
                found = self.found.relations.get(view.name)
                if found is not None and found.kind == "m" and found.query != made.query:
                    self._what_stands_on(view, table)
                self.canonical.views[view.name] = made
        except _Failed as failed:
            return failed.error
        return None

    def _what_stands_on(self, view: MaterializedView, table: sql.Identifier) -> None:
        """Refuse a changed view when something that stands on the present one could not stand on the new one."""
        for dependent in self.found.dependents:
            if dependent.on == view.name and dependent.kind == "view" and dependent.name is not None:
                _try(self.session, self.canonical, view, lambda d=dependent: self._dependent(view, d))  # type: ignore[misc]
        declared = {index.name for index in self.declaration.all_indexes}
        carried = [
            (sqlbuild.like_index(index, sql.Identifier(TWIN), table), f"index {index.name}")
            for index in self.found.indexes_of(view.name)
            if index.name not in declared and index.valid and not is_own(index.name.name)
        ]
        carried += [
            (sqlbuild.like_statistics(item, sql.Identifier("pg_temp", TWIN), table), f"statistics {item.name}")
            for item in self.found.statistics.values()
            if item.table == view.name
        ]
        for statement, label in carried:
            _try(self.session, self.canonical, view, lambda s=statement, t=label: self._carried(s, t))  # type: ignore[misc]

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
        present = self.session.row(queries.VIEW, (quoted,))
        self.session.settings({"search_path": f"pg_temp, {schema}"}, local=True)
        twin = sql.Identifier("pg_temp", "__pgopt_twin_dependent")
        query = sql.SQL(present["query"].rstrip().rstrip(";"))
        try:
            self.session.execute(sqlbuild.text("CREATE TEMPORARY VIEW {} AS {}", twin, query))
        except ServerError as error:
            raise ServerError(
                f"{dependent.label} stands on it: {error.message}", error.sqlstate, error.statement
            ) from error
        new = self.session.row(queries.VIEW, ("pg_temp.__pgopt_twin_dependent",))
        if new["columns"] != present["columns"]:
            self.canonical.refuse(view, f"{dependent.label} stands on it and would change the types of its columns")
