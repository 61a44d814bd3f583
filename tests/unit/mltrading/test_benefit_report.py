"""The table of before and after: what it says, and that it fits."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mltrading_db import report


def state(ms: float, buffers: int) -> dict[str, Any]:
    """One query in one state."""
    return {"ms": ms, "planning_ms": 0.25, "buffers": buffers, "heap_fetches": 0}


def query(title: str, claim: str, *states: tuple[float, int]) -> dict[str, Any]:
    """One query, in the states primary key, undeclared, declared."""
    names = ("primary_key", "undeclared", "declared")
    return {"title": title, "claim": claim, "states": {n: state(*s) for n, s in zip(names, states, strict=True)}}


MEASUREMENT: dict[str, Any] = {
    "server": "15.18",
    "data": {"rows": 500_000, "symbols": 250},
    "table_bytes": 512 * 1024**2,
    "indexes": [
        {"name": "idx_small", "bytes": 1024**2, "declared": True, "build_ms": 1500.0},
        {"name": "idx_large", "bytes": 60 * 1024**2, "declared": True, "build_ms": 1500.0},
        {"name": "feature_engineered_data_pkey", "bytes": 11 * 1024**2, "declared": False, "build_ms": None},
    ],
    "costs": {
        state: {"refresh_ms": refresh, "rows_per_second": rate, "wal_bytes_a_row": wal}
        for state, refresh, rate, wal in (
            ("primary_key", 2000.0, 40_000, 900),
            ("undeclared", 1200.0, 14_000, 1500),
            ("declared", 500.0, 6_000, 2600),
        )
    },
    "queries": [
        query("Symbol and date, newest 100", "symbol_date", (2400.0, 65_000), (3.5, 360), (0.05, 6)),
        query("Overview of 7 days", "dashboard", (300.0, 65_000), (90.0, 40_000), (0.5, 12)),
        query("Technical columns, 30 days", "dashboard", (310.0, 65_000), (10.0, 415), (1.5, 388)),
    ],
}


def printed(measurement: dict[str, Any]) -> list[str]:
    """The report's lines, as they are when they go into a file."""
    console = Console(width=report.WIDTH, record=True, file=io.StringIO(), color_system=None)
    console.print(report.benefit(measurement))
    return console.export_text().splitlines()


def line_of(lines: list[str], beginning: str) -> list[str]:
    """The cells of the row that begins so: its line and the next one."""
    position = next(n for n, line in enumerate(lines) if line.strip().startswith(beginning))
    return [" ".join(line.split()) for line in lines[position : position + 2]]


def test_a_query_has_its_times_and_pages_and_how_many_times_less_they_are() -> None:
    assert line_of(printed(MEASUREMENT), "Symbol and date") == [
        "Symbol and date, newest 100 2.40 s 3.5 ms 0.05 ms 48,000 x 2.5 s -> 0.000 s",
        "65,000 360 6 10,833 x",
    ]


def test_what_each_state_costs_is_said() -> None:
    lines = [" ".join(line.split()) for line in printed(MEASUREMENT)]
    assert "inserted rows/s 40,000 14,000 6,000" in lines
    assert "WAL bytes a row 900 1,500 2,600" in lines
    assert "refresh of the summary 2.00 s 1.20 s 500 ms" in lines
    assert "idx_large 60 MB 1.50 s yes" in lines


def test_two_measurements_are_held_against_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = copy.deepcopy(MEASUREMENT)
    second["queries"][0]["states"]["declared"]["buffers"] = 9
    second["costs"]["declared"]["wal_bytes_a_row"] = 1300
    files = [tmp_path / "first.json", tmp_path / "second.json"]
    for file, measurement in zip(files, (MEASUREMENT, second), strict=True):
        file.write_text(json.dumps(measurement))
    report.main(["compare", *map(str, files)])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "pages: Symbol and date, newest 100 6 9 +50 %" in lines
    assert "WAL bytes a row 2,600 1,300 -50 %" in lines
    assert "share of the rate with the primary key alone 0.15 0.15 +0 %" in lines


def test_a_measurement_has_a_page_with_a_picture(tmp_path: Path) -> None:
    file = tmp_path / "benefit.json"
    file.write_text(json.dumps(MEASUREMENT))
    report.main(["page", str(file)])
    page = file.with_suffix(".html").read_text()
    assert page.count("<svg") == 1
    assert "Dashboard load: 8 kB pages" in page
    assert "inserted rows/s" in page
    assert "48,000 x" in page


def test_the_dashboard_is_the_sum_of_its_reads_and_stands_beside_the_claim() -> None:
    assert line_of(printed(MEASUREMENT), "Dashboard load, all 2") == [
        "Dashboard load, all 2 610 ms 100 ms 2 ms 305 x 5.2 s -> 1.1 s",
        "130,000 40,415 400 325 x",
    ]


def test_memory_is_the_pages_of_the_dashboard() -> None:
    (memory, _) = line_of(printed(MEASUREMENT), "Memory read by that load")
    assert memory == "Memory read by that load 1,016 MB 316 MB 3.12 MB 325 x 450 MB -> 135 MB"


def test_the_declared_indexes_come_first_and_the_largest_of_them_at_the_top() -> None:
    lines = printed(MEASUREMENT)
    names = [line.split()[0] for line in lines if line.strip().startswith(("idx_", "feature_engineered_data_pkey"))]
    assert names == ["idx_large", "idx_small", "feature_engineered_data_pkey"]
    assert "The 2 declared indexes take 61 MB." in lines


def test_every_line_fits_into_a_hundred_columns() -> None:
    long = copy.deepcopy(MEASUREMENT)
    long["queries"][0]["states"]["primary_key"] = state(123_456_789.0, 987_654_321)
    long["queries"][1]["title"] = "A title that is longer than any title should be, by far"
    assert max(len(line) for line in printed(long)) <= 100


def test_a_time_of_nothing_has_no_ratio() -> None:
    assert report.ratio(5.0, 0.0) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(0.0421, "0.0421 ms", id="microseconds"),
        pytest.param(12.34, "12.3 ms", id="milliseconds"),
        pytest.param(999.4, "999 ms", id="nearly-a-second"),
        pytest.param(1000.0, "1.00 s", id="a-second"),
    ],
)
def test_a_time_is_written_as_a_person_reads_it(value: float, text: str) -> None:
    assert report.milliseconds(value) == text


def test_main_prints_the_report_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "benefit.json"
    file.write_text(json.dumps(MEASUREMENT))
    report.main(["benefit", str(file)])
    assert "PostgreSQL 15.18, 500,000 hourly rows of 250 symbols, table 512 MB." in capsys.readouterr().out
