"""Ask the server what the declaration means: each object is made on an empty twin, read back, and rolled back.

All twins of one run live in one transaction. Here each is behind a savepoint, so that every object which the server
refuses is named with the server's reason; `batch` makes all of them at once where it refuses none. Nothing stays.
A twin has the name of its table, for expressions that use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from . import reading, sqlbuild, twin_queries
from .catalog import definition
from .connection import Session, sql
from .model import Declaration, Index, Name, Problem, Statistics, TableParameters
from .savepoint import Failed, undone
from .state import Definition, Found, Relation

if TYPE_CHECKING:
    from .connection import Composable, Composed

TWIN = "__pgopt_twin"


@dataclass(frozen=True)
class ViewDefinition:
    """A materialized view as the server spells it.

    columns: (name, type, collation's oid). order: of creation. reads: what it reads by itself.
    rows, width (bytes) and cost are the planner's estimates of the query, where the view is to be made.
    """

    query: str
    columns: tuple[tuple[str, str, int], ...]
    order: int
    reads: frozenset[Name] = frozenset()
    rows: float = 0.0
    width: int = 0
    cost: float = 0.0


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

    def add(self, other: Canonical) -> None:
        """Take over what was read back elsewhere."""
        self.indexes |= other.indexes
        self.views |= other.views
        self.statistics |= other.statistics
        self.problems += other.problems


def attempt(session: Session, canonical: Canonical, title: object, work: Callable[[], None]) -> None:
    """Do the work on one object, undo it, and name the object where the server refuses."""
    try:
        with undone(session, "pgopt_object"):
            work()
    except Failed as failed:
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


def parameter_statements(pairs: Iterable[tuple[str, str | None]], twin: sql.Identifier) -> list[Composable]:
    """Return the statements that set and reset storage parameters of a twin."""
    known = tuple(pairs)
    setting = [(name, value) for name, value in known if value is not None]
    resetting = [name for name, value in known if value is None]
    statements: list[Composable] = []
    if setting:
        statements.append(sqlbuild.text("ALTER TABLE {} SET ({})", twin, sqlbuild.assignments(setting)))
    if resetting:
        statements.append(sqlbuild.text("ALTER TABLE {} RESET ({})", twin, sqlbuild.names(resetting)))
    return statements


def table_statement(relation: Relation) -> Composed:
    """Return the statement that makes the twin of a table."""
    return sqlbuild.text(
        "CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING GENERATED) {}ON COMMIT DROP",
        sql.Identifier("pg_temp", relation.name.name),
        sqlbuild.ident(relation.name),
        sql.SQL(f"PARTITION BY {relation.partition_key} " if relation.partition_key else ""),
    )


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
            attempt(self.session, self.canonical, item, lambda item=item: self.set_parameters(item.parameters, twin))  # type: ignore[misc]

    def objects(self, table: Name, columns: tuple[str, ...], *, parameters: bool = True) -> None:
        """Read back everything declared on a relation whose twin stands."""
        declared = group(self.declaration, table)
        twin = sql.Identifier("pg_temp", table.name)
        for index in declared.indexes:
            if _check_index_columns(index, columns, self.canonical):
                attempt(self.session, self.canonical, index, lambda index=index: self._index(index, twin))  # type: ignore[misc]
        for item in declared.statistics:
            for column in _unknown_columns(item.columns, columns):
                self.canonical.refuse(item, f'column "{column}" does not exist in {table}')
            if not _unknown_columns(item.columns, columns):
                attempt(self.session, self.canonical, item, lambda item=item: self._statistics(item, twin))  # type: ignore[misc]
        if parameters:
            self.parameters(table, twin)

    def _index(self, index: Index, twin: sql.Identifier) -> None:
        with self.session.own_formats():
            self.session.execute(sqlbuild.create_index(replace(index, tablespace=None), sql.Identifier(TWIN), twin))
        made = definition(self.session.row(twin_queries.TWIN_INDEXES, (f"^{TWIN}$",)))
        existing = self.found.index_on(index.name, index.table)
        self.canonical.indexes[index.name] = reading.index(self.session, existing, made, twin)

    def _statistics(self, item: Statistics, twin: sql.Identifier) -> None:
        with self.session.own_formats():
            self.session.execute(sqlbuild.create_statistics(item, sql.Identifier("pg_temp", TWIN), twin))
        row = self.session.row(twin_queries.TWIN_STATISTICS, (f"^{TWIN}$",))
        columns = reading.statistics(
            self.session, self.found.statistics_on(item.name, item.table), row["columns"], twin
        )
        self.canonical.statistics[item.name] = StatisticsDefinition(columns, row["kinds"])

    def set_parameters(self, pairs: Iterable[tuple[str, str | None]], twin: sql.Identifier) -> None:
        """Set and reset storage parameters of a twin."""
        for statement in parameter_statements(pairs, twin):
            self.session.execute(statement)

    def table(self, relation: Relation) -> None:
        """Make the twin of a table and read back what is declared on it."""
        try:
            with undone(self.session, "pgopt_table"):
                self.session.execute(table_statement(relation))
                self.objects(relation.name, tuple(relation.columns), parameters=not relation.partition_key)
            if relation.partition_key and group(self.declaration, relation.name).parameters:
                self._partition(relation)
        except Failed as failed:
            self.canonical.refuse(f"table {relation.name}", failed.error.message)

    def _partition(self, relation: Relation) -> None:
        """Try storage parameters on a twin of a partition, as a partitioned table has none."""
        twin = sql.Identifier("pg_temp", relation.name.name)
        with undone(self.session, "pgopt_table"):
            like = sqlbuild.ident(relation.name)
            self.session.execute(sqlbuild.text("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP", twin, like))
            self.parameters(relation.name, twin)
