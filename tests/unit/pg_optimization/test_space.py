"""Estimates of rows and bytes, and which tablespaces share a file system."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.module_utils.pg_optimization import space
from ansible.module_utils.pg_optimization.action import Action
from ansible.module_utils.pg_optimization.state import Found

MB = 1 << 20

# Rows as ANALYZE counted them, pages then, bytes now, widths of the columns; the rows.
ROWS = {
    "as it was counted": (1000, 10, 10 * 8192, [4], 1000),
    "grown since": (1000, 10, 40 * 8192, [4], 4000),
    "never looked at": (-1, 0, 3600, [4, 4], 100),
    "looked at when it was empty": (0, 0, 3600, [4, 4], 100),
    "empty": (-1, 0, 0, [4], 0),
}


@pytest.mark.parametrize(("tuples", "pages", "size", "widths", "rows"), ROWS.values(), ids=ROWS)
def test_rows_are_estimated(tuples: float, pages: int, size: int, widths: list[int], rows: float) -> None:
    assert space.rows(tuples, pages, size, widths) == rows


def build(size: int, tablespace: str = "") -> Action:
    return Action("index", "x", "create", "", (), bytes=size, tablespace=tablespace)


def test_the_wal_of_every_build_and_the_largest_sort_are_counted() -> None:
    needed = space.needed([build(100 * MB), build(50 * MB, "fast")], "pg_default", 64 * MB)
    assert needed == {"pg_default": 100 * MB + int(150 * MB * 0.91) + 100 * MB, "fast": 50 * MB}
    assert space.needed([build(10 * MB)], "pg_default", 64 * MB) == {"pg_default": 10 * MB + int(10 * MB * 0.91)}
    assert space.needed([build(0)], "pg_default", 64 * MB) == {}


def test_tablespaces_of_one_file_system_share_its_free_space(tmp_path: Path) -> None:
    found = Found(tablespaces={"pg_default": None, "fast": str(tmp_path), "far": "/proc"})
    needed = {"pg_default": 5, "fast": 7, "far": 1}
    rooms = space.rooms(needed, found, str(tmp_path), local=True, given={})
    assert [(room.tablespaces, room.needed) for room in rooms] == [(("pg_default", "fast"), 12), (("far",), 1)]
    assert str(rooms[0]) == "tablespace pg_default, fast"


def test_what_is_given_goes_before_what_is_measured(tmp_path: Path) -> None:
    found = Found(tablespaces={"pg_default": None, "fast": str(tmp_path)})
    rooms = space.rooms({"pg_default": 5, "fast": 7}, found, str(tmp_path), local=True, given={"fast": 8})
    assert [(room.tablespaces, room.free) for room in rooms][1] == (("fast",), 8)
    rooms = space.rooms({"pg_default": 5}, found, str(tmp_path), local=False, given={})
    assert rooms == [space.Room(("pg_default",), 5, None)]
