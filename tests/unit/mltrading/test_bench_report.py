"""What the benchmark says: its targets, its tables, its page, and two results held against each other."""

from __future__ import annotations

import copy
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mltrading_db.bench import __main__ as command
from mltrading_db.bench import compare, figures, tables
from mltrading_db.bench.page import page

VARIANTS = list(figures.HEADINGS)


def one(ms: float, buffers: int, scan: str = "Index Scan", fetches: int = 0) -> dict[str, Any]:
    """One read in one variant."""
    found = {"scans": [scan], "indexes": [], "tables": ["feature_engineered_data"], "rows": 1}
    return {"ms": ms, "buffers": buffers, "heap_fetches": fetches} | found


def read(name: str, title: str, claim: str, *measured: tuple[float, int, str]) -> dict[str, Any]:
    """One read, in all variants in their order."""
    variants = {variant: one(*values) for variant, values in zip(VARIANTS, measured, strict=True)}
    return {"name": name, "title": title, "claim": claim, "group": name.split("_", maxsplit=1)[0], "variants": variants}


SEQ, PLAIN, ONLY = "Seq Scan", "Index Scan", "Index Only Scan"


def idle(tasks: int, statements: int, server_ms: float) -> dict[str, float]:
    """A tool's run with nothing to do."""
    return {
        "tasks": tasks, "connections": tasks, "statements": statements, "server_ms": server_ms, "task_seconds": 1.5,
        "playbook_seconds": 3.5, "changed": 0,
    }  # fmt: skip


def index(name: str, megabytes: float, seconds: float | None) -> dict[str, Any]:
    """One index."""
    return {"name": name, "definition": f"btree ({name})", "bytes": int(megabytes * 1024**2), "build_seconds": seconds}


@pytest.fixture
def result() -> dict[str, Any]:
    """A result in which everything is reached."""
    sizes = {"primary_key": 50, "unique": 150, "carried": 500, "guide": 1500, "lean": 300}
    rates = {"primary_key": 30_000, "unique": 20_000, "carried": 12_000, "guide": 8_000, "lean": 19_000}
    return {
        "format": 1,
        "began": "2026-01-31T15:00:00+00:00",
        "commit": "1234abc",
        "seconds": 900,
        "machine": {"processors": 2, "processor": "One", "memory_bytes": 24 * 1024**3, "system": "Debian 12"},
        "server": {"version": "15.18", "settings": {"shared_buffers": "2GB", "work_mem": "10MB"}},
        "data": {"rows": 2_000_000, "symbols": 1057, "end_time": "2026-01-31T15:00", "table_bytes": 1024**3},
        "variants": [
            {"name": name, "title": name, "indexes": [index("key", size / 2, 0.5), index(f"of_{name}", size / 2, None)]}
            for name, size in sizes.items()
        ],
        "reads": [
            read(
                "guide_selective_columns", "Symbol and date", "symbol_date",
                (2000, 200_000, SEQ), (0.2, 105, PLAIN), (0.2, 103, PLAIN), (0.05, 5, ONLY), (0.04, 6, ONLY),
            ),
            read(
                "dashboard_overview", "Overview", "dashboard",
                (3000, 200_000, SEQ), (2000, 150_000, SEQ), (900, 9_000, PLAIN), (30, 300, ONLY), (40, 4_000, PLAIN),
            ),
            read(
                "dashboard_core", "Core", "dashboard",
                (1000, 200_000, SEQ), (500, 50_000, PLAIN), (100, 1_000, PLAIN), (10, 100, ONLY), (10, 1_000, ONLY),
            ),
        ],
        "refresh": {name: {"first_ms": 900, "plain_ms": 800, "concurrently_ms": 1100} for name in VARIANTS},
        "ingest": {
            "rows_of_a_chunk": 20_083,
            "rounds": 7,
            "variants": {
                name: {
                    "rows_per_second": rate, "share_of_unique": rate / 20_000, "wal_bytes_per_row": 1000.0,
                    "wal_bytes_per_row_after_checkpoint": 1500.0,
                }
                for name, rate in rates.items()
            },
        },
        "after_append": {
            name: {"before": one(0.2, 105, ONLY, 100), "after": one(0.04, 5, ONLY), "vacuum_seconds": 0.4}
            for name in figures.DECLARED
        },
        "module": {"postgresql_optimization": idle(1, 85, 36.0), "postgresql_idx": idle(9, 27, 35.0)},
    }  # fmt: skip


def printed(what: Any) -> list[str]:
    """The lines that go to the terminal."""
    console = Console(width=tables.WIDTH, record=True, file=io.StringIO(), color_system=None)
    console.print(what)
    return console.export_text().splitlines()


def cells(lines: list[str], beginning: str) -> list[str]:
    """The cells of the line that begins so."""
    line = next(line for line in lines if line.strip().startswith(beginning))
    return re.split(r" {2,}", line.strip())


def test_every_target_is_reached_where_it_is(result: dict[str, Any]) -> None:
    assert [target.what for target in figures.targets(result) if not target.reached] == []
    assert len(figures.targets(result)) == 7


def slow(result: dict[str, Any]) -> None:
    result["reads"][0]["variants"]["guide"]["ms"] = 1.0


def wide(result: dict[str, Any]) -> None:
    result["reads"][0]["variants"]["lean"]["buffers"] = 13


def less_than_twenty_times(result: dict[str, Any]) -> None:
    result["reads"][1]["variants"]["guide"]["ms"] = 116


def less_than_95_percent(result: dict[str, Any]) -> None:
    result["reads"][1]["variants"]["lean"]["buffers"] = 9_001


def slow_to_write(result: dict[str, Any]) -> None:
    result["ingest"]["variants"]["lean"]["share_of_unique"] = 0.749


MISSED = [
    pytest.param(slow, ["Symbol and date, the nine"], id="a-millisecond"),
    pytest.param(wide, ["Symbol and date, lean"], id="thirteen-pages"),
    pytest.param(less_than_twenty_times, ["Dashboard, the nine beside unique"], id="less-than-twenty-times"),
    pytest.param(less_than_95_percent, ["Dashboard, lean beside unique"], id="less-than-95-percent"),
    pytest.param(slow_to_write, ["Ingest, lean beside the unique constraint alone"], id="slow-to-write"),
]


@pytest.mark.parametrize(("spoil", "missed"), MISSED)
def test_a_target_that_is_missed_says_so(
    result: dict[str, Any], spoil: Callable[[dict[str, Any]], None], missed: list[str]
) -> None:
    spoil(result)
    assert [target.what for target in figures.targets(result) if not target.reached] == missed
    assert any("not reached" in line for line in printed(tables.goals(result)))


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        pytest.param(one(1, 1, SEQ), "whole table", id="whole"),
        pytest.param(one(1, 1, "Bitmap Heap Scan"), "bitmap", id="bitmap"),
        pytest.param(one(1, 1, PLAIN), "index", id="index"),
        pytest.param(one(1, 1, ONLY), "index only", id="index-only"),
        pytest.param(one(1, 1, SEQ) | {"tables": [figures.VIEW]}, "the view", id="view"),
        pytest.param(one(1, 1, ONLY, 1200), "index only, 1,200 fetches", id="with-visits-to-the-table"),
    ],
)
def test_how_a_read_found_its_rows_is_named(measured: dict[str, Any], words: str) -> None:
    assert figures.how(measured) == words


def test_the_dashboard_is_the_sum_of_its_reads_beside_what_the_guide_says(result: dict[str, Any]) -> None:
    lines = printed(tables.worth(result))
    assert cells(lines, "Dashboard load, 2 reads")[1:] == ["4.00 s", "2.50 s", "1.00 s", "40 ms", "50 ms"]
    assert any(line.strip() == figures.CLAIMS["dashboard"] for line in lines)
    assert cells(lines, "Memory that the load touches")[1:] == ["3,125 MB", "1,562 MB", "78.1 MB", "3.12 MB", "39.1 MB"]


def test_less_is_said_only_of_what_has_more_indexes(result: dict[str, Any]) -> None:
    faster = cells(printed(tables.worth(result)), "Symbol and date, faster than unique")
    assert faster[1:] == ["1 x", "4 x", "5 x"]


def test_a_read_whose_view_is_not_there_yet_is_left_out(result: dict[str, Any]) -> None:
    for variant in figures.BEFORE:
        del result["reads"][2]["variants"][variant]
    assert cells(printed(tables.reads(result)), "Core")[1:] == ["no view", "no view", "no view", "10 ms", "10 ms"]


def test_an_index_that_several_variants_share_stands_once(result: dict[str, Any]) -> None:
    lines = printed(tables.indexes(result))
    assert sum(line.strip().startswith("key ") for line in lines) == 1
    assert cells(lines, "of_lean") == ["of_lean", "150 MB", "lean"]


def test_rates_are_set_against_the_unique_constraint(result: dict[str, Any]) -> None:
    assert cells(printed(tables.costs(result)), "of the rate")[1:] == ["1.50", "1.00", "0.60", "0.40", "0.95"]


def test_no_line_is_wider_than_the_table(result: dict[str, Any]) -> None:
    assert max(map(len, printed(tables.shown(result)))) <= tables.WIDTH


def test_a_run_of_the_module_alone_is_shown_too(result: dict[str, Any]) -> None:
    for part in ("reads", "refresh", "ingest", "after_append"):
        del result[part]
    assert cells(printed(tables.shown(result)), "statements") == ["statements", "85", "27"]
    assert cells(printed(tables.shown(result)), "a run")[1:] == ["postgresql_optimization", "postgresql_idx"]
    assert "A run that finds nothing to do" in page(result)
    assert "<svg" not in page(result)


def test_the_page_needs_nothing_beside_it_and_takes_the_readers_colours(result: dict[str, Any]) -> None:
    made = page(result)
    assert made.count("<svg") == 3
    assert re.findall(r"<(?:script|link|img|iframe)\b", made) == []
    assert re.findall(r"(?:src|@import|url\()=?.?https?:", made) == []
    assert "prefers-color-scheme: dark" in made
    assert "currentColor" in made
    assert "#010203" not in made


def test_the_page_shows_names_as_they_are(result: dict[str, Any]) -> None:
    result["reads"][0]["title"] = "<b>Symbol & date</b>"
    made = page(result)
    assert "&lt;b&gt;Symbol &amp; date&lt;/b&gt;" in made
    assert "<b>Symbol" not in made


def test_the_same_result_does_not_differ_from_itself(result: dict[str, Any]) -> None:
    lines = compare.compared(result, copy.deepcopy(result))
    assert len(lines) > 30
    assert [line for line in lines if line.verdict] == []
    assert compare.differences(result, result) == []


CHANGES = [
    pytest.param(("reads", 0, "variants", "lean", "buffers"), 60, "Symbol and date, lean: pages", "worse", id="pages"),
    pytest.param(
        ("ingest", "variants", "guide", "wal_bytes_per_row"), 900.0, "WAL a row, the nine", "better", id="wal"
    ),
    pytest.param(
        ("ingest", "variants", "lean", "share_of_unique"),
        0.5,
        "COPY, share of unique's rate, lean",
        "worse",
        id="rate",
    ),
    pytest.param(
        ("module", "postgresql_optimization", "statements"),
        40,
        "A run with nothing to do: statements",
        "better",
        id="statements",
    ),
]


@pytest.mark.parametrize(("where", "value", "what", "verdict"), CHANGES)
def test_what_changed_is_called_better_or_worse(
    result: dict[str, Any], where: tuple[Any, ...], value: float, what: str, verdict: str
) -> None:
    second = copy.deepcopy(result)
    place = second
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    assert {line.what: line.verdict for line in compare.compared(result, second) if line.verdict} == {what: verdict}


def test_a_machine_that_is_slower_in_all_is_no_difference(result: dict[str, Any]) -> None:
    second = copy.deepcopy(result)
    for measured in (one for read in second["reads"] for one in read["variants"].values()):
        measured["ms"] *= 3
    for written in second["ingest"]["variants"].values():
        written["rows_per_second"] /= 3
    assert [line for line in compare.compared(result, second) if line.verdict] == []


def test_nothing_is_called_better_on_other_data(result: dict[str, Any]) -> None:
    second = copy.deepcopy(result)
    second["data"]["rows"] = 10_000_000
    second["reads"][0]["variants"]["lean"]["buffers"] = 60
    lines = printed(compare.shown(result, second, everything=False))
    assert "The data differ, so nothing is called better or worse." in lines
    assert cells(lines, "Symbol and date, lean: pages")[1:] == ["6", "60", "+900.0 %"]


def test_other_conditions_are_named(result: dict[str, Any]) -> None:
    second = copy.deepcopy(result)
    second["data"]["rows"] = 10_000_000
    second["server"]["settings"]["work_mem"] = "64MB"
    assert compare.differences(result, second) == ["rows: 2000000 / 10000000", "work_mem: 10MB / 64MB"]


def test_the_command_shows_draws_and_compares(
    result: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bench-1.json"
    file.write_text(json.dumps(result))
    command.main(["show", str(file)])
    assert "PostgreSQL 15.18, 2,000,000 hourly rows of 1,057 symbols" in capsys.readouterr().out
    command.main(["page", str(file)])
    assert (tmp_path / "bench-1.html").read_text().lstrip().startswith("<!doctype html>")
    command.main(["compare", str(file), str(file)])
    assert " values compared, 0 differ: " in capsys.readouterr().out
