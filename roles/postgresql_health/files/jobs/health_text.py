"""The results as a table for a terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from health_checks import RANKS, Result, shown

NAMES = {"not_configured": "not configured", "no_data": "no data", "info": "info"}
LONGEST_TEXT, LONGEST_CELL = 90, 60


def state_name(state: str) -> str:
    """A state as it is shown: what needs a person in capitals."""
    return NAMES.get(state, "ok" if state == "ok" else state.upper())


def columns(rows: list[list[str]], numbers: set[int]) -> list[str]:
    """Rows of cells as aligned lines; numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if index in numbers else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def cut(text: str, longest: int) -> str:
    """A text that fits on a line."""
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def summary(report: dict[str, Any], results: list[Result]) -> str:
    """The first line, which is all that some monitoring shows."""
    counts = [f"{sum(result.state == state for result in results)} {state}" for state in RANKS[:3]]
    bad = [result for state in RANKS[:3] for result in results if result.state == state]
    first = f": {bad[0].check.name}: {cut(bad[0].text, LONGEST_TEXT)}" if bad else ""
    return f"{state_name(report['state']).upper()} - {', '.join(counts)} of {len(results)} checks{first}"


def cell(name: str, value: Any) -> str:
    """A value of a row."""
    if value is None:
        return ""
    return shown(value, "bytes") if name.endswith("bytes") else cut(str(value), LONGEST_CELL)


def rows_of(result: Result) -> list[str]:
    """All rows of one check."""
    if not result.rows:
        return []
    names = list(result.rows[0])
    lines = [names] + [[cell(name, row.get(name)) for name in names] for row in result.rows]
    numeric = {
        index for index, name in enumerate(names) if all(isinstance(row.get(name), int | float) for row in result.rows)
    }
    return ["", result.check.title, *columns(lines, numeric)]


def table(report: dict[str, Any], results: list[Result], *, rows: bool) -> str:
    """The summary, a line a check, its rows where asked for, and what to do about each problem."""
    when = datetime.fromtimestamp(report["time"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    server = f", PostgreSQL {report['version']}" if report["version"] else ""
    lines = [["STATE", "CHECK", "WARNING", "CRITICAL", "FOUND"]]
    for result in results:
        check = result.check
        limits = [shown(value, check.unit) if value is not None else "" for value in (check.warning, check.critical)]
        lines.append([state_name(result.state), check.name, *limits, cut(result.text, LONGEST_TEXT)])
    found = [
        summary(report, results),
        f"{report['host']}, {report['role']}{server}, {when}",
        "",
        *columns(lines, {2, 3}),
    ]
    if rows:
        found += [line for result in results for line in rows_of(result)]
    bad = [result for state in RANKS[:3] for result in results if result.state == state]
    if bad:
        found += ["", "What to do"]
        found += [f"  {result.check.name}: {result.advice}" for result in bad]
    return "\n".join(found)
