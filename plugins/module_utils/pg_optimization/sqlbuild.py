"""Statements of the declared objects, composed so that no identifier and no value is text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from . import sqltext
from .connection import sql
from .model import Index, Key, MaterializedView, Name, Statistics

if TYPE_CHECKING:
    from .connection import Composable, Composed
    from .state import Definition, FoundIndex, FoundStatistics


def ident(name: Name) -> Composable:
    """Return a qualified name."""
    return sql.Identifier(*name)


def text(piece: str, *parts: Composable) -> Composed:
    """Return a statement of our own words with parts in its braces."""
    return sql.SQL(piece).format(*parts)


def raw(piece: str) -> Composable:
    """Return SQL that the declaration or the server wrote."""
    return sql.SQL(sqltext.closed(piece))


def shown(query: str) -> Composable:
    """Return a query that the server wrote, without its semicolon."""
    return sql.SQL(query.rstrip().rstrip(";"))


def assignments(parameters: Iterable[tuple[str, str]]) -> Composable:
    """Return `name = 'value'`, separated by commas; a prefix such as toast. is a name of its own."""
    return sql.SQL(", ").join(
        text("{} = {}", sql.Identifier(*name.split(".", 1)), sql.Literal(value)) for name, value in parameters
    )


def names(parameters: Iterable[str]) -> Composable:
    """Return the names of storage parameters, separated by commas."""
    return sql.SQL(", ").join(sql.Identifier(*name.split(".", 1)) for name in parameters)


def columns(items: Sequence[str]) -> Composable:
    """Return column names, separated by commas."""
    return sql.SQL(", ").join(map(sql.Identifier, items))


def _key(key: Key) -> Composable:
    column = sql.Identifier(key.column) if key.column is not None else text("({})", raw(key.expression or ""))
    parts: list[Composable] = [column]
    if key.collation:
        parts.append(text("COLLATE {}", sql.Identifier(*key.collation)))
    if key.opclass:
        parts.append(sql.Identifier(*key.opclass))
    if key.opclass_params:
        parts.append(text("({})", assignments(key.opclass_params)))
    if key.order:
        parts.append(sql.SQL(key.order.upper()))
    if key.nulls:
        parts.append(sql.SQL(f"NULLS {key.nulls.upper()}"))
    return sql.SQL(" ").join(parts)


def create_index(
    index: Index,
    name: Composable,
    table: Composable,
    *,
    concurrently: bool = False,
    only: bool = False,
) -> Composed:
    """Return CREATE INDEX of a declared index under a name, on a table."""
    parts = [
        sql.SQL("CREATE UNIQUE INDEX" if index.unique else "CREATE INDEX"),
        sql.SQL("CONCURRENTLY") if concurrently else None,
        name,
        sql.SQL("ON ONLY") if only else sql.SQL("ON"),
        table,
        text("USING {}", sql.Identifier(index.method)),
        text("({})", sql.SQL(", ").join(map(_key, index.keys))),
        text("INCLUDE ({})", columns(index.include)) if index.include else None,
        sql.SQL("NULLS NOT DISTINCT") if index.nulls_not_distinct else None,
        text("WITH ({})", assignments(index.storage_parameters)) if index.storage_parameters else None,
        text("TABLESPACE {}", sql.Identifier(index.tablespace)) if index.tablespace else None,
        text("WHERE ({})", raw(index.where)) if index.where else None,
    ]
    return sql.SQL(" ").join([part for part in parts if part is not None])


def constraint_of(index: Index) -> Composed:
    """Return what follows UNIQUE or PRIMARY KEY in a constraint with an index as the declared one, of plain columns."""
    parts = [
        sql.SQL("NULLS NOT DISTINCT") if index.nulls_not_distinct else None,
        text("({})", columns([key.column for key in index.keys if key.column is not None])),
        text("INCLUDE ({})", columns(index.include)) if index.include else None,
        text("WITH ({})", assignments(index.storage_parameters)) if index.storage_parameters else None,
        text("USING INDEX TABLESPACE {}", sql.Identifier(index.tablespace)) if index.tablespace else None,
    ]
    return sql.SQL(" ").join([part for part in parts if part is not None])


def create_view(view: MaterializedView, name: Name, options: Sequence[tuple[str, str]], method: str | None) -> Composed:
    """Return CREATE MATERIALIZED VIEW … WITH NO DATA under a name."""
    parts = [
        text("CREATE MATERIALIZED VIEW {}", ident(name)),
        text("USING {}", sql.Identifier(method)) if method else None,
        text("WITH ({})", assignments(options)) if options else None,
        text("TABLESPACE {}", sql.Identifier(view.tablespace)) if view.tablespace else None,
        text("AS ({}) WITH NO DATA", raw(view.query)),
    ]
    return sql.SQL(" ").join([part for part in parts if part is not None])


def create_statistics(statistics: Statistics, name: Composable, table: Composable) -> Composed:
    """Return CREATE STATISTICS of a declared object under a name, on a table."""
    subjects = [sql.Identifier(column) for column in statistics.columns]
    expressions = [text("({})", raw(piece)) for piece in statistics.expressions]
    kinds = sql.SQL(", ").join(map(sql.Identifier, statistics.kinds))
    return text(
        "CREATE STATISTICS {}{} ON {} FROM {}",
        name,
        text(" ({})", kinds) if statistics.kinds else sql.SQL(""),
        sql.SQL(", ").join([*subjects, *expressions]),
        table,
    )


def like_index(found: FoundIndex, name: Composable, table: Composable) -> Composed:
    """Return CREATE INDEX of an index like a found one, on another table; without its storage parameters."""
    return index_of(found.definition, name, table)


def index_of(definition: Definition, name: Composable, table: Composable) -> Composed:
    """Return CREATE INDEX of a definition in the server's words; without its storage parameters."""
    piece = "CREATE UNIQUE INDEX {} ON {} USING {}" if definition.unique else "CREATE INDEX {} ON {} USING {}"
    return text(piece, name, table, sql.SQL(definition.tail))


KINDS = {"d": "ndistinct", "f": "dependencies", "m": "mcv"}


def statistics_kinds(letters: str | None) -> str:
    """Return the kinds of a statistics object as words; expressions alone have none."""
    return ", ".join(KINDS.get(letter, letter) for letter in (letters or "").split())


def like_statistics(found: FoundStatistics, name: Composable, table: Composable) -> Composed:
    """Return CREATE STATISTICS of an object like a found one, on another table."""
    kinds = sql.SQL(f" ({statistics_kinds(found.kinds)})" if found.kinds else "")
    return text("CREATE STATISTICS {}{} ON {} FROM {}", name, kinds, sql.SQL(found.columns), table)


def comment_on(kind: str, name: Composable, comment: str | None) -> Composed:
    """Return COMMENT ON; none or empty takes the comment away."""
    return text(f"COMMENT ON {kind} {{}} IS {{}}", name, sql.Literal(comment) if comment else sql.SQL("NULL"))


def depends(kind: str, name: Name, extensions: Iterable[str]) -> list[Composed]:
    """Return ALTER … DEPENDS ON EXTENSION for each extension that something goes with."""
    return [
        text(f"ALTER {kind} {{}} DEPENDS ON EXTENSION {{}}", ident(name), sql.Identifier(one)) for one in extensions
    ]


def rename(kind: str, old: Name, new: str) -> Composed:
    """Return ALTER … RENAME TO within the schema."""
    return text(f"ALTER {kind} {{}} RENAME TO {{}}", ident(old), sql.Identifier(new))
