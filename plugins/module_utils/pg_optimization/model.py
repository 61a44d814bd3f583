"""The declaration as values: what a person asked for, after every check that needs no server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*\Z")


def display(*parts: str) -> str:
    """Write identifiers for a person: quoted only where SQL would need it."""
    return ".".join(part if _PLAIN.match(part) else '"' + part.replace('"', '""') + '"' for part in parts)


class Name(NamedTuple):
    """A schema-qualified name, byte for byte as the catalog has it."""

    schema: str
    name: str

    def __str__(self) -> str:
        """Return the name as a person reads it."""
        return display(self.schema, self.name)

    def sibling(self, name: str) -> Name:
        """Return another name in the same schema."""
        return Name(self.schema, name)


@dataclass(frozen=True)
class Problem:
    """One reason why the declaration is refused."""

    object: str
    problem: str


@dataclass(frozen=True)
class Key:
    """One key column of an index: a column by its exact name, or an expression."""

    column: str | None = None
    expression: str | None = None
    order: str | None = None
    nulls: str | None = None
    opclass: tuple[str, ...] = ()
    opclass_params: tuple[tuple[str, str], ...] = ()
    collation: tuple[str, ...] = ()


@dataclass(frozen=True)
class Index:
    """A declared index. `tablespace` and `comment` that are None are not managed."""

    name: Name
    table: Name
    keys: tuple[Key, ...]
    method: str = "btree"
    include: tuple[str, ...] = ()
    where: str | None = None
    unique: bool = False
    nulls_not_distinct: bool = False
    storage_parameters: tuple[tuple[str, str], ...] = ()
    tablespace: str | None = None
    comment: str | None = None
    present: bool = True

    def __str__(self) -> str:
        """Return what messages call it."""
        return f"index {self.name}"

    @property
    def serves_concurrent_refresh(self) -> bool:
        """Tell whether REFRESH CONCURRENTLY can use it: unique, btree, whole, on plain columns."""
        plain = all(key.column is not None for key in self.keys)
        return self.present and self.unique and self.method == "btree" and self.where is None and plain


@dataclass(frozen=True)
class MaterializedView:
    """A declared materialized view with its own indexes; `policy` is plain or concurrently."""

    name: Name
    query: str
    indexes: tuple[Index, ...] = ()
    policy: str = "plain"
    populate: bool = True
    storage_parameters: tuple[tuple[str, str | None], ...] = ()
    tablespace: str | None = None
    comment: str | None = None
    present: bool = True

    def __str__(self) -> str:
        """Return what messages call it."""
        return f"materialized view {self.name}"


@dataclass(frozen=True)
class Statistics:
    """A declared extended statistics object; kinds empty means all of them."""

    name: Name
    table: Name
    columns: tuple[str, ...]
    expressions: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    target: int | None = None
    comment: str | None = None
    present: bool = True

    def __str__(self) -> str:
        """Return what messages call it."""
        return f"statistics {self.name}"


@dataclass(frozen=True)
class ColumnStatistics:
    """The statistics target of one column; -1 is the server's default."""

    table: Name
    column: str
    target: int

    def __str__(self) -> str:
        """Return what messages call it."""
        return f"column {display(*self.table, self.column)}"


@dataclass(frozen=True)
class TableParameters:
    """Storage parameters of a table; a value of None resets it, one that is not named is not managed."""

    table: Name
    parameters: tuple[tuple[str, str | None], ...]

    def __str__(self) -> str:
        """Return what messages call it."""
        return f"table {self.table}"


@dataclass(frozen=True)
class Declaration:
    """Everything declared of one database."""

    indexes: tuple[Index, ...] = ()
    materialized_views: tuple[MaterializedView, ...] = ()
    statistics: tuple[Statistics, ...] = ()
    column_statistics: tuple[ColumnStatistics, ...] = ()
    table_parameters: tuple[TableParameters, ...] = ()
    prune: bool = False
    concurrently: bool = True

    @property
    def all_indexes(self) -> tuple[Index, ...]:
        """Return the indexes of tables and of materialized views."""
        return self.indexes + tuple(index for view in self.materialized_views for index in view.indexes)

    @property
    def tables(self) -> tuple[Name, ...]:
        """Return each relation that something is declared on, once, in declared order."""
        names = [index.table for index in self.all_indexes]
        names += [view.name for view in self.materialized_views]
        names += [item.table for item in self.statistics]
        names += [item.table for item in self.column_statistics]
        names += [item.table for item in self.table_parameters]
        return tuple(dict.fromkeys(names))
