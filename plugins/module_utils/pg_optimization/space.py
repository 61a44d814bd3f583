"""How big and how long: estimates of builds, and whether the file systems have room for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .action import Action
from .model import Index, MaterializedView
from .state import Found, Relation

if TYPE_CHECKING:
    from .twins import ViewDefinition

# Measured on two cores: a btree of 538 MB took 10.3 s, concurrently 1.4 times that.
_BYTES_A_SECOND = 52e6
_CONCURRENTLY = 1.4
_TABLE_BYTES_A_SECOND = 500e6
_EXPRESSION_WIDTH = 16
_WAL_FOR_EACH_BYTE = 0.91
_HEADER = 28  # bytes of a row that are no column: its header and its pointer


def _aligned(width: int, to: int = 8) -> int:
    return -(-width // to) * to


def index_bytes(index: Index, relation: Relation | None) -> int:
    """Estimate the size of an index: rows x (8 + aligned width + 4) / 0.90, 3 % off where it was measured.

    A predicate's selectivity is not known: a partial index is estimated as if it were whole.
    """
    if relation is None or relation.tuples <= 0:
        return 0
    names = [key.column for key in index.keys] + list(index.include)
    widths = [
        relation.columns[name].width if name is not None and name in relation.columns else _EXPRESSION_WIDTH
        for name in names
    ]
    if index.method == "brin":
        return int(_aligned(sum(widths) * 2 + 16) * relation.bytes / 8192 / 128)
    return int(relation.tuples * (8 + _aligned(sum(widths)) + 4) / 0.90)


def view_bytes(view: MaterializedView, made: ViewDefinition) -> int:
    """Estimate the size of a materialized view with its indexes, by the planner's estimate of its query."""
    column = made.width / max(1, len(made.columns))
    size = made.rows * (_HEADER + _aligned(made.width))
    for index in view.indexes:
        if index.present and index.method != "brin":
            parts = len(index.keys) + len(index.include)
            size += made.rows * (8 + _aligned(int(column * parts)) + 4) / 0.90
    return int(size)


def view_seconds(made: ViewDefinition, size: int) -> float:
    """Estimate the time to fill a materialized view: a unit of the planner's cost is a page read in order."""
    return round(made.cost * 8192 / _TABLE_BYTES_A_SECOND + size / _BYTES_A_SECOND, 1)


def rows(tuples: float, pages: int, size: int, widths: Iterable[int]) -> float:
    """Return the rows of a table as the planner guesses them: as dense as ANALYZE saw it, else by the columns' widths.

    `tuples` is -1, and `pages` 0, where nobody has looked yet. `size` is in bytes.
    """
    if tuples >= 0 and pages > 0:
        return tuples / pages * size / 8192
    return size / (_HEADER + _aligned(sum(widths)))


def index_seconds(size: int, relation: Relation | None, *, concurrently: bool) -> float:
    """Estimate the time of a build in seconds, from the index's size and the table's."""
    scan = (relation.bytes if relation is not None else 0) / _TABLE_BYTES_A_SECOND
    return round((size / _BYTES_A_SECOND + scan) * (_CONCURRENTLY if concurrently else 1.0), 1)


def needed(actions: Sequence[Action], default: str, work_memory: int = 0) -> dict[str, int]:
    """Return the bytes that the actions will take, for each tablespace.

    The default one takes the WAL of all of them, which stays until it is archived and every replica has it, and the
    largest sort where it does not fit into `work_memory` bytes.
    """
    total: dict[str, int] = {}
    sizes = [action.bytes for action in actions if action.bytes]
    for action in actions:
        if action.bytes:
            where = action.tablespace or default
            total[where] = total.get(where, 0) + action.bytes
    if sizes:
        sort = max(sizes) if max(sizes) > work_memory else 0
        total[default] = total.get(default, 0) + int(sum(sizes) * _WAL_FOR_EACH_BYTE) + sort
    return total


def free(path: str) -> tuple[int, int] | None:
    """Return the file system of a path and the bytes free in it, or None where that cannot be known from here."""
    try:
        stat, device = os.statvfs(path), Path(path).stat().st_dev
    except OSError:
        return None
    return device, stat.f_bavail * stat.f_frsize


@dataclass(frozen=True)
class Room:
    """Tablespaces that share free bytes: those of one file system; `free` is None where that is not known."""

    tablespaces: tuple[str, ...]
    needed: int
    free: int | None

    def __str__(self) -> str:
        """Return what messages call it."""
        return f"tablespace {', '.join(self.tablespaces)}"


def rooms(
    needed: Mapping[str, int], found: Found, data_directory: str | None, *, local: bool, given: Mapping[str, int]
) -> list[Room]:
    """Return what is needed and free: as given, or measured where the server runs on this very host."""
    shared: dict[object, Room] = {}
    for name, size in needed.items():
        path = found.tablespaces.get(name) or data_directory
        device, known = (free(path) if local and path else None) or (None, None)
        if name in given:
            device, known = None, given[name]
        key = name if device is None else device
        other = shared.get(key, Room((), 0, known))
        shared[key] = Room((*other.tablespaces, name), other.needed + size, known)
    return list(shared.values())


def human(size: float) -> str:
    """Return bytes as a person reads them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(size) < 1024:  # noqa: PLR2004
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"
