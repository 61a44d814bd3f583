"""The table for a terminal: nothing that is read or pasted is broken into two lines, however many hosts there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mltrading_db.health import __main__ as program
from mltrading_db.health.answers import read
from mltrading_db.health.table import WIDTH, matrices

LONG = "2026-11-24 08:15:00 UTC, /var/lib/postgresql/15"
COMMAND = "Run mldb apply production --limit db1.production.example.com --tags postgresql,postgresql_replica,pgbackrest"


def host(shown: str, do: str = "") -> dict[str, Any]:
    """A host's answer: one check that is well, and one that needs a person."""
    same = {"title": "A check", "unit": "count", "warning": 1, "below": False, "rows": [], "value": 3, "text": "it is"}
    checks = [
        {**same, "name": "a_check_that_is_well", "state": "ok", "shown": shown, "do": ""},
        {**same, "name": "a_check_that_is_not", "state": "critical", "shown": "3", "do": do},
    ]
    return {"state": "critical", "role": "primary", "version": "15.10", "time": 1, "checks": checks, "history": []}


@pytest.mark.parametrize(
    ("names", "shown", "tables"),
    [
        pytest.param(["db1", "db2"], "0", 1, id="two that fit"),
        pytest.param([f"db{number}.production.example.com" for number in range(5)], "0", 3, id="long names"),
        pytest.param([f"db{number}" for number in range(12)], "12 min", 4, id="twelve hosts"),
        pytest.param(["db1", "db2"], LONG, 2, id="a time and a path"),
        pytest.param(["db1"], "x" * 200, 1, id="one that is wider than a terminal"),
    ],
)
def test_hosts_that_do_not_fit_have_a_table_of_their_own_and_no_cell_is_broken(
    names: list[str], shown: str, tables: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"environment": "live", "hosts": {name: host(shown, COMMAND) for name in names}}
    assert len(matrices(read(given))) == tables
    (tmp_path / "answers.json").write_text(json.dumps(given))
    program.main(["table", str(tmp_path / "answers.json")])
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.lstrip().startswith("a_check_that_is_well")]
    assert len(rows) == tables
    assert sum(row.count(shown) for row in rows if shown != "0") in (0, len(names))
    assert [row for row in rows if len(row.rstrip()) > WIDTH and len(shown) < WIDTH] == []
    assert f"  {COMMAND}" in lines
