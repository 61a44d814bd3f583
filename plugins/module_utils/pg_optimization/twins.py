"""Ask the server what the declaration means: each object is made on an empty twin, read back, and rolled back.

All twins of one run live in one transaction. Here each is behind a savepoint, so that every object which the server
refuses is named with the server's reason; `batch` makes all of them at once where it refuses none. Nothing stays.
A twin has the name of its table, for expressions that use it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from . import closed_types, event_triggers, reading, sqlbuild, sqlnames, twin_queries
from .catalog import definition
from .connection import Session, sql
from .model import Declaration, Index, Name, Problem, Statistics, TableParameters, display
from .reader import yaml_word
from .savepoint import Failed, undone
from .state import Definition, Found, Relation

if TYPE_CHECKING:
    from .connection import Composable, Composed

TWIN = "__pgopt_twin"
# For rules that each table has a primary key.
_KEY = sqlbuild.text("{} int PRIMARY KEY", sql.Identifier(f"{TWIN}_key"))


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
        canonical.refuse(title, f"{event_triggers.words(session, failed.error)} (sqlstate {failed.error.sqlstate})")


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


_WORDS = re.compile(
    r"""(?P<name>\w+|"[^"]+")(?:\s+collate\s+(?P<collation>"?\w+"?))?(?:\s+(?P<opclass>\w+_ops))?"""
    r"""(?:\s+(?P<order>asc|desc))?(?:\s+nulls\s+(?P<nulls>first|last))?\Z""",
    re.IGNORECASE,
)


def column_hint(text: str) -> str:
    """Return how what is no column may have been meant: a name with what follows it in SQL, or an expression."""
    meant = _WORDS.match(text)
    if meant and any(meant[part] for part in ("collation", "opclass", "order", "nulls")):
        parts = {part: value.strip('"') for part, value in meant.groupdict().items() if value}
        parts |= {part: parts[part].lower() for part in ("order", "nulls") if part in parts}
        return f"; write {{{', '.join(f'{part}: {value}' for part, value in parts.items())}}}"
    if word := yaml_word(text):
        return f"; it {word}"
    return "" if text.isidentifier() else "; a text is a column's name, write {expression: …} for an expression"


def _check_index_columns(index: Index, known: Iterable[str], canonical: Canonical) -> bool:
    """Refuse columns that do not exist; a text is a column's name, exactly."""
    keys = [key.column for key in index.keys if key.column is not None]
    unknown = _unknown_columns(keys, known)
    for column in unknown:
        canonical.refuse(index, f'column "{column}" does not exist in {index.table}{column_hint(column)}')
    missing = _unknown_columns(index.include, known)
    for column in missing:
        hint = f"; it {word}" if (word := yaml_word(column)) else ""
        canonical.refuse(index, f'included column "{column}" does not exist in {index.table}{hint}')
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


def as_query(twin: sql.Identifier, source: Name) -> list[Composable]:
    """Return the statements that make the twin of a relation as the result of a query."""
    like = sqlbuild.ident(source)
    return [
        sqlbuild.text("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT * FROM {} WITH NO DATA", twin, like),
        sqlbuild.text("SELECT * INTO TEMPORARY {} FROM {} LIMIT 0", twin, like),
    ]


def like_statements(twin: sql.Identifier, source: Name) -> list[Composable]:
    """Return the statements that make the twin of a view, one of which an event trigger may let pass."""
    like = sqlbuild.text("LIKE {}", sqlbuild.ident(source))
    piece = "CREATE TEMPORARY TABLE {} ({}) ON COMMIT DROP"
    return [
        sqlbuild.text(piece, twin, like),
        sqlbuild.text(piece, twin, sqlbuild.text("{}, {}", like, _KEY)),
        *as_query(twin, source),
    ]


def table_statement(
    relation: Relation, columns: Composable | None = None, *, partition: bool = False, key: bool = False
) -> Composed:
    """Return the statement that makes the twin of a table, of its own columns or of given ones.

    The twin of a partition is not partitioned and has no generated columns. With `key` it has a primary key besides.
    """
    like = "LIKE {}" if partition else "LIKE {} INCLUDING GENERATED"
    by = relation.partition_key if not partition else None
    made = sqlbuild.text(like, sqlbuild.ident(relation.name)) if columns is None else columns
    return sqlbuild.text(
        "CREATE TEMPORARY TABLE {} ({}) {}ON COMMIT DROP",
        sql.Identifier("pg_temp", relation.name.name),
        sqlbuild.text("{}, {}", made, _KEY) if key else made,
        sql.SQL(f"PARTITION BY {by} " if by else ""),
    )


def _texts(item: Index | Statistics) -> list[str]:
    """Return the expressions and the predicate of something declared."""
    if isinstance(item, Statistics):
        return list(item.expressions)
    return [text for text in (*(key.expression for key in item.keys), item.where) if text is not None]


def _uses(item: Index | Statistics, column: str) -> bool:
    """Tell whether something declared names a column, in an expression maybe as something else."""
    named = {*(key.column for key in item.keys), *item.include} if isinstance(item, Index) else set(item.columns)
    return column in named or any(column in sqlnames.names(text) for text in _texts(item))


def closed_functions(session: Session, item: Index | Statistics, twin: str, found: Found) -> list[str]:
    """Return the functions that something new needs and the owner of its table may not execute.

    The server finds out with the first row; a twin has none.
    """
    if not _texts(item):
        return []
    relation = found.relations.get(item.table)
    owner = relation.owner if relation is not None else found.role
    return [row["function"] for row in session.rows(twin_queries.CLOSED_FUNCTIONS, (twin, twin, owner))]


class Twins:
    """Makes the twins of one run inside its transaction."""

    def __init__(self, session: Session, declaration: Declaration, found: Found) -> None:
        """Work in `session`, which is in the transaction that will be rolled back."""
        self.session = session
        self.declaration = declaration
        self.found = found
        self.canonical = Canonical()
        self.left_out: Mapping[str, str] = {}
        self.path = ""

    def parameters(self, table: Name, twin: sql.Identifier) -> None:
        """Try the storage parameters of a relation on its twin."""
        for item in group(self.declaration, table).parameters:
            attempt(self.session, self.canonical, item, lambda item=item: self.set_parameters(item.parameters, twin))  # type: ignore[misc]

    def objects(self, table: Name, columns: tuple[str, ...], *, parameters: bool = True) -> None:
        """Read back everything declared on a relation whose twin stands."""
        declared = group(self.declaration, table)
        twin = sql.Identifier("pg_temp", table.name)
        for index in declared.indexes:
            if _check_index_columns(index, columns, self.canonical) and not self._left_out(index):
                attempt(self.session, self.canonical, index, lambda index=index: self._index(index, twin))  # type: ignore[misc]
        for item in declared.statistics:
            for column in _unknown_columns(item.columns, columns):
                self.canonical.refuse(item, f'column "{column}" does not exist in {table}')
            if not _unknown_columns(item.columns, columns) and not self._left_out(item):
                attempt(self.session, self.canonical, item, lambda item=item: self._statistics(item, twin))  # type: ignore[misc]
        if parameters:
            self.parameters(table, twin)

    def _left_out(self, item: Index | Statistics) -> bool:
        """Refuse what needs a column that the twin cannot have."""
        needed = [(column, kind) for column, kind in self.left_out.items() if _uses(item, column)]
        for column, kind in needed:
            self.canonical.refuse(item, closed_types.remedy(column, kind, self.found.role))
        return bool(needed)

    def _index(self, index: Index, twin: sql.Identifier) -> None:
        with self.session.own_formats():
            self.session.execute(sqlbuild.create_index(replace(index, tablespace=None), sql.Identifier(TWIN), twin))
        made = definition(self.session.row(twin_queries.TWIN_INDEXES, (f"^{TWIN}$",)))
        existing = self.found.index_on(index.name, index.table)
        read = reading.index(self.session, existing, made, twin)
        if self.session.reworded is not None and existing is not None and not read.tail_is(existing.definition):
            # On a twin with other types, one that differs must be one that could have been read.
            have = sqlbuild.index_of(existing.definition, sql.Identifier(f"{TWIN}_have"), twin)
            self.session.execute(have)
        if existing is None or not read.tail_is(existing.definition):
            self._try_on_table(index)
            self._refuse_closed_functions(index)
        self.canonical.indexes[index.name] = read

    def _refuse_closed_functions(self, item: Index | Statistics) -> None:
        relation = self.found.relations.get(item.table)
        owner = relation.owner if relation is not None else self.found.role
        for function in closed_functions(self.session, item, TWIN, self.found):
            grant = f"GRANT EXECUTE ON FUNCTION {function} TO {display(owner)}"
            self.canonical.refuse(item, f"{owner} may not execute {function}: {grant}")

    def _try_on_table(self, item: Index | Statistics) -> None:
        """Read expressions over the table itself where its twin has other types.

        A release may want USAGE on the types of constants in them too.
        """
        texts = _texts(item)
        if self.session.reworded is None or not texts:
            return
        conditions = [sqlbuild.text("({}) IS NULL", sqlbuild.raw(text)) for text in texts]
        piece = "CREATE TEMPORARY VIEW {} AS SELECT 1 AS one FROM {} WHERE {}"
        name, table = sql.Identifier("pg_temp", f"{TWIN}_tried"), sqlbuild.ident(item.table)
        with closed_types.as_usual(self.session, self.path):
            self.session.execute(sqlbuild.text(piece, name, table, sql.SQL(" AND ").join(conditions)))

    def _statistics(self, item: Statistics, twin: sql.Identifier) -> None:
        with self.session.own_formats():
            self.session.execute(sqlbuild.create_statistics(item, sql.Identifier("pg_temp", TWIN), twin))
        row = self.session.row(twin_queries.TWIN_STATISTICS, (f"^{TWIN}$",))
        columns = reading.statistics(
            self.session, self.found.statistics_on(item.name, item.table), row["columns"], twin
        )
        existing = self.found.statistics_on(item.name, item.table)
        if existing is None or existing.columns != columns:
            self._try_on_table(item)
            self._refuse_closed_functions(item)
        self.canonical.statistics[item.name] = StatisticsDefinition(columns, row["kinds"])

    def set_parameters(self, pairs: Iterable[tuple[str, str | None]], twin: sql.Identifier) -> None:
        """Set and reset storage parameters of a twin."""
        for statement in parameter_statements(pairs, twin):
            self.session.execute(statement)

    def table(self, relation: Relation) -> None:
        """Make the twin of a table and read back what is declared on it."""
        try:
            with undone(self.session, "pgopt_table"), self.standing(relation):
                self.objects(relation.name, tuple(relation.columns), parameters=not relation.partition_key)
            if relation.partition_key and group(self.declaration, relation.name).parameters:
                self._partition(relation)
        except Failed as failed:
            self.canonical.refuse(f"table {relation.name}", event_triggers.words(self.session, failed.error))

    def _partition(self, relation: Relation) -> None:
        """Try storage parameters on a twin of a partition, as a partitioned table has none."""
        twin = sql.Identifier("pg_temp", relation.name.name)
        with undone(self.session, "pgopt_table"), self.standing(relation, partition=True):
            self.parameters(relation.name, twin)

    def _ways(
        self, relation: Relation, columns: Composable | None = None, *, partition: bool = False
    ) -> list[Composable]:
        """Return the statements that make the twin of a table, one of which an event trigger may let pass."""
        ways: list[Composable] = [table_statement(relation, columns, partition=partition)]
        whole = partition or not relation.partition_key
        if whole:
            ways.append(table_statement(relation, columns, partition=partition, key=True))
        if columns is None and not any(column.virtual for column in relation.columns.values()):
            unique = any(index.unique for index in group(self.declaration, relation.name).indexes)
            ways += (
                as_query(sql.Identifier("pg_temp", relation.name.name), relation.name) if whole or not unique else []
            )
        return ways

    @contextmanager
    def standing(self, relation: Relation, *, partition: bool = False) -> Iterator[None]:
        """Make the twin of a table, whose types may be such as stand in the place of others."""
        if not closed_types.closed(relation):
            event_triggers.make(self.session, self._ways(relation, partition=partition))
            yield
            return
        self.path = self.session.row("SELECT current_setting('search_path') AS path")["path"]
        what = closed_types.instead(self.session, relation, generated=not partition)
        self.left_out = what.left_out
        try:
            with closed_types.standing(self.session, what, self.path):
                event_triggers.make(self.session, self._ways(relation, what.columns, partition=partition))
                yield
        finally:
            self.left_out = {}
