"""What else an index is to its table: clustering, replica identity, statistics of expressions. A new one takes over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import sqlbuild
from .action import ACCESS_EXCLUSIVE, SHARE_UPDATE_EXCLUSIVE, Lock, Policy, Step, step
from .connection import sql
from .model import Index, Name
from .state import Definition, FoundIndex, Relation

if TYPE_CHECKING:
    from .connection import Composable

# The access methods whose order of rows a table can have.
_CLUSTERABLE = {"btree", "gist"}


def statements(table: Name, name: Name, existing: FoundIndex) -> tuple[list[Composable], list[Lock]]:
    """Return what makes an index the table's clustering or replica identity, and go with extensions, as the old one."""
    target, index = sqlbuild.ident(table), sql.Identifier(name.name)
    made: list[Composable] = []
    locks: list[Lock] = []
    if existing.clustered:
        made.append(sqlbuild.text("ALTER TABLE {} CLUSTER ON {}", target, index))
        locks.append(Lock(SHARE_UPDATE_EXCLUSIVE, table))
    if existing.replica_identity:
        made.append(sqlbuild.text("ALTER TABLE {} REPLICA IDENTITY USING INDEX {}", target, index))
        locks.append(Lock(ACCESS_EXCLUSIVE, table))
    if existing.extensions:
        made += sqlbuild.depends("INDEX", name, existing.extensions)
        locks.append(Lock(ACCESS_EXCLUSIVE, name))
    return made, locks


def refusals(index: Index, existing: FoundIndex, relation: Relation | None) -> Iterator[str]:
    """Yield why a declared index cannot be what the existing one is to the table."""
    if existing.table != index.table:
        return
    if existing.clustered and (index.method not in _CLUSTERABLE or index.where is not None):
        yield "the table is clustered on it, which needs a whole btree or gist index: ALTER TABLE … SET WITHOUT CLUSTER"
    if not existing.replica_identity:
        return
    columns = {name for name, column in relation.columns.items() if column.not_null} if relation is not None else set()
    nullable = any(key.column not in columns for key in index.keys)
    if not index.unique or index.where is not None or nullable:
        yield (
            "it is the table's replica identity, which needs a whole unique index on columns that are NOT NULL: "
            "ALTER TABLE … REPLICA IDENTITY"
        )


def has_expressions(index: Index) -> bool:
    """Tell whether the server keeps statistics of the index's own, which ANALYZE of its table fills."""
    return any(key.column is None for key in index.keys)


def targets(canonical: Definition, name: Name, existing: FoundIndex | None) -> list[Composable]:
    """Return the statements that give expressions of the new index the statistics targets that they have in the old."""
    if existing is None:
        return []
    have = {existing.definition.parts[position - 1]: target for position, target in existing.targets}
    piece = "ALTER INDEX {} ALTER COLUMN {} SET STATISTICS {}"
    return [
        sqlbuild.text(piece, sqlbuild.ident(name), sql.Literal(position), sql.Literal(have[part]))
        for position, part in enumerate(canonical.parts, 1)
        if part in have
    ]


def analyze(index: Index, canonical: Definition, name: Name, table: Name, existing: FoundIndex | None) -> list[Step]:
    """Return the step that fills the statistics of a new index's expressions before it is used."""
    if not has_expressions(index):
        return []
    todo = [*targets(canonical, name, existing), sqlbuild.text("ANALYZE {}", sqlbuild.ident(table))]
    return [step("analyze its expressions", Policy.LONG, todo, Lock(SHARE_UPDATE_EXCLUSIVE, table))]
