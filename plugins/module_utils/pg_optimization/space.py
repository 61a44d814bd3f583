"""How big and how long: estimates of builds, and whether the file systems have room for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from .action import Action
from .model import Index
from .state import Found, Relation

# Measured on two cores: a btree of 538 MB took 10.3 s, concurrently 1.4 times that.
_BYTES_A_SECOND = 52e6
_CONCURRENTLY = 1.4
_TABLE_BYTES_A_SECOND = 500e6
_EXPRESSION_WIDTH = 16
_WAL_FOR_EACH_BYTE = 0.91


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


def index_seconds(size: int, relation: Relation | None, *, concurrently: bool) -> float:
    """Estimate the time of a build in seconds, from the index's size and the table's."""
    scan = (relation.bytes if relation is not None else 0) / _TABLE_BYTES_A_SECOND
    return round((size / _BYTES_A_SECOND + scan) * (_CONCURRENTLY if concurrently else 1.0), 1)


def needed(actions: Iterable[Action], default: str) -> dict[str, int]:
    """Return the bytes that the actions will take, for each tablespace; WAL is counted in the default one."""
    total: dict[str, int] = {}
    for action in actions:
        if action.bytes:
            where = action.tablespace or default
            total[where] = total.get(where, 0) + action.bytes
    if total:
        wal = max(action.bytes for action in actions)
        total[default] = total.get(default, 0) + int(wal * _WAL_FOR_EACH_BYTE)
    return total


def free(path: str) -> int | None:
    """Return the bytes that are free in the file system of a path, or None where that cannot be known from here."""
    try:
        stat = os.statvfs(Path(path))
    except OSError:
        return None
    return stat.f_bavail * stat.f_frsize


def known_free(
    tablespaces: Iterable[str], found: Found, data_directory: str | None, *, local: bool, given: Mapping[str, int]
) -> dict[str, int | None]:
    """Return the free bytes of each tablespace: as given, or measured where the server runs on this very host."""
    result: dict[str, int | None] = {}
    for name in tablespaces:
        path = found.tablespaces.get(name) or data_directory
        result[name] = given[name] if name in given else free(path) if local and path else None
    return result


def human(size: float) -> str:
    """Return bytes as a person reads them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(size) < 1024:  # noqa: PLR2004
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"
