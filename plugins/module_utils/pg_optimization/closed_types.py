"""Twins of tables that have columns of types which the role may not use, as where USAGE was revoked from PUBLIC.

The server lets the table's owner index such a column, and make no other table with one. The twin then has a type of
its own in its place: an enum of the same labels, the base of a domain, a composite or a range of the same parts. It has
the type's name in pg_temp, which is looked up first, so that texts of definitions mean it. A column of another kind of
type is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import sqlbuild, sqlnames, twin_queries
from .connection import Row, Session, sql
from .state import Relation

if TYPE_CHECKING:
    from .connection import Composable, Composed


def closed(relation: Relation) -> bool:
    """Tell whether a table has a column whose type the role may not use."""
    return any(not column.usable for column in relation.columns.values())


def remedy(column: str, kind: str, role: str) -> str:
    """Return what is wrong with a column that no twin can have, and the way out."""
    grant = (
        f'GRANT USAGE ON TYPE {kind} TO "{role}"'
        if not role.isidentifier()
        else f"GRANT USAGE ON TYPE {kind} TO {role}"
    )
    return f'column "{column}" is of type {kind}, which {role} may not use: {grant}'


@dataclass
class _Types:
    """Makes types in the place of those that are closed, each once."""

    known: Mapping[int, Row]
    made: dict[int, Composable | None] = field(default_factory=dict)
    statements: list[Composed] = field(default_factory=list)

    def of(self, oid: int, shown: str) -> Composable | None:
        """Return what stands for a type, or None where nothing can; `shown` is how the server writes it."""
        if oid not in self.known or self.known[oid]["usable"]:
            return sql.SQL(shown)
        if oid not in self.made:
            self.made[oid] = self._instead(self.known[oid])
        return self.made[oid]

    def _instead(self, row: Row) -> Composable | None:
        if row["element"]:
            element = self.of(row["element"], row["element_shown"])
            return None if element is None else sqlbuild.text("{}[]", element)
        if row["kind"] == "d":
            return self.of(row["base"], row["base_shown"])
        name = sql.Identifier("pg_temp", row["name"])
        if row["kind"] == "e":
            labels = sql.SQL(", ").join(map(sql.Literal, row["labels"] or ()))
            self.statements.append(sqlbuild.text("CREATE TYPE {} AS ENUM ({})", name, labels))
            return name
        if row["kind"] == "r":
            subtype = self.of(row["subtype"], row["subtype_shown"])
            if subtype is None:
                return None
            self.statements.append(sqlbuild.text("CREATE TYPE {} AS RANGE (SUBTYPE = {})", name, subtype))
            return name
        return self._composite(row, name) if row["kind"] == "c" else None

    def _composite(self, row: Row, name: Composable) -> Composable | None:
        fields = []
        for column, oid, shown in row["fields"] or ():
            part = self.of(oid, shown)
            if part is None:
                return None
            fields.append(sqlbuild.text("{} {}", sql.Identifier(column), part))
        self.statements.append(sqlbuild.text("CREATE TYPE {} AS ({})", name, sql.SQL(", ").join(fields)))
        return name


@dataclass(frozen=True)
class Instead:
    """What makes the twin of a table: types in the place of closed ones, its columns, those that it cannot have.

    columns: as CREATE TABLE has them. left_out: their types by their names. names: of the types in pg_temp, each with
    its schema.
    """

    types: tuple[Composed, ...]
    columns: Composed
    left_out: Mapping[str, str]
    names: frozenset[tuple[str, ...]]


def _column(row: Row, kind: Composable, *, generated: bool) -> Composed:
    parts: list[Composable] = [sql.Identifier(row["name"]), kind]
    if row["collation"]:
        parts.append(sqlbuild.text("COLLATE {}", sql.Identifier(*row["collation"])))
    parts += [sql.SQL("NOT NULL")] if row["not_null"] else []
    if generated and row["generated"]:
        stored = sql.SQL("VIRTUAL" if row["generated"] == "v" else "STORED")
        parts.append(sqlbuild.text("GENERATED ALWAYS AS ({}) {}", sql.SQL(row["expression"]), stored))
    return sql.SQL(" ").join(parts)


def instead(session: Session, relation: Relation, *, generated: bool = True) -> Instead:
    """Return what the twin of a table is made of that has closed types."""
    rows = session.rows(twin_queries.COLUMNS, (relation.oid,))
    known: dict[int, Row] = {row["oid"]: row for row in session.rows(twin_queries.TYPES, (relation.oid,))}
    types = _Types(known)
    columns: list[Composed] = []
    left_out: dict[str, str] = {}
    for row in rows:
        kind = types.of(row["type"], row["shown"])
        if kind is None:
            left_out[row["name"]] = row["shown"]
        else:
            columns.append(_column(row, kind, generated=generated))
    made = [oid for oid, what in types.made.items() if what is not None]
    names = frozenset((known[oid]["schema"], known[oid]["name"]) for oid in made)
    return Instead(tuple(types.statements), sql.SQL(", ").join(columns), left_out, names)


def _reworded(text: str, names: frozenset[tuple[str, ...]]) -> str:
    """Return a statement with the types of pg_temp where it says the closed ones with their schemas."""

    def written(reference: sqlnames.Reference) -> str | None:
        if reference.kind != "type" or reference.parts not in names:
            return None
        return f"pg_temp.{text[reference.last : reference.end]}"

    return sqlnames.replaced(text, sqlnames.references(text), written)


@contextmanager
def standing(session: Session, what: Instead, path: str) -> Iterator[Any]:
    """Make the types and have what is said of the closed ones mean them, until the savepoint around is undone."""
    if what.types:
        session.execute(sql.SQL("; ").join(what.types))
    session.settings({"search_path": f"pg_temp, {path}"}, local=True)
    session.reworded = lambda text: _reworded(text, what.names)
    try:
        yield
    finally:
        session.reworded = None


@contextmanager
def as_usual(session: Session, path: str) -> Iterator[None]:
    """Have what is said mean what it does without twins."""
    words, session.reworded = session.reworded, None
    session.settings({"search_path": path}, local=True)
    yield
    session.settings({"search_path": f"pg_temp, {path}"}, local=True)
    session.reworded = words
