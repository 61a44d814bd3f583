"""What a job did and saw: for a terminal, as JSON, and as one page that needs nothing else."""

from __future__ import annotations

import html
import json
import os
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

# A row asks for a person's attention where this column says so; it is not shown.
ATTENTION = "attention"
LONGEST_CELL = 72

STYLE = """
:root { color-scheme: light dark; --line: #8884; --failed: #c62828; --attention: #b26a00; --done: #2e7d32 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.05rem; margin: 2rem 0 .3rem }
.state { font-size: .8rem; border: 1px solid; border-radius: .7rem; padding: 0 .6rem; margin-left: .5rem }
.done { color: var(--done) } .failed { color: var(--failed) } .skipped, .attention { color: var(--attention) }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-size: .88rem }
th, td { text-align: left; vertical-align: top; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid var(--line) }
td.number { text-align: right; font-variant-numeric: tabular-nums } tr.attention td { font-weight: 600 }
"""


@dataclass
class Step:
    """One thing that was done or looked at. `state` is done, skipped or failed; `said` a sentence on it."""

    title: str
    state: str
    said: str = ""
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def attention(self) -> int:
        """Return how many rows ask for a person."""
        return sum(1 for row in self.rows if row.get(ATTENTION))

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns that are shown."""
        return [name for name in self.rows[0] if name != ATTENTION] if self.rows else []


@dataclass
class Report:
    """One run of a job."""

    job: str
    database: str
    host: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    steps: list[Step] = field(default_factory=list)

    @property
    def failed(self) -> list[Step]:
        """Return the steps that failed."""
        return [step for step in self.steps if step.state == "failed"]

    @property
    def summary(self) -> str:
        """Return the run in one line."""
        counts = {state: sum(1 for step in self.steps if step.state == state) for state in ("done", "skipped")}
        attention = sum(step.attention for step in self.steps)
        return (
            f"{len(self.failed)} failed, {counts['done']} done, {counts['skipped']} skipped, "
            f"{attention} finding{'' if attention == 1 else 's'} for a person"
        )


def cell(value: object) -> str:
    """Return a value as it is shown, on one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(str(value).split())


def plain(value: object) -> object:
    """Return a value that JSON has no word for as one that it has."""
    return float(value) if isinstance(value, Decimal) else str(value)


def short(text: str) -> str:
    """Return a text no longer than a cell of the terminal."""
    return text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"


def step_text(step: Step) -> str:
    """Return a step as lines for the terminal; rows that ask for a person begin with `!`."""
    lines = [f"{step.state.upper():8}{step.title} ({step.seconds:.1f} s){': ' + step.said if step.said else ''}"]
    table = [[short(cell(row.get(name))) for name in step.columns] for row in step.rows]
    widths = [max(map(len, column)) for column in zip(step.columns, *table, strict=True)]
    if step.columns:
        lines.append("          " + "  ".join(map(str.ljust, step.columns, widths)).rstrip())
    for row, cells in zip(step.rows, table, strict=True):
        mark = "!" if row.get(ATTENTION) else " "
        lines.append(f"        {mark} " + "  ".join(map(str.ljust, cells, widths)).rstrip())
    return "\n".join(lines)


def say(text: str) -> None:
    """Write to the terminal and the log, or to nobody once who reads has gone away: the work goes on."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError:
        # What is left in the buffer goes there too, or the end of the process would fail for it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def as_dict(report: Report) -> dict[str, Any]:
    """Return the report for programs; times in UTC, durations in seconds."""
    return {
        "job": report.job,
        "database": report.database,
        "host": report.host,
        "started": report.started.isoformat(timespec="seconds"),
        "summary": report.summary,
        "failed": bool(report.failed),
        "steps": [
            {
                "title": step.title,
                "state": step.state,
                "said": step.said,
                "seconds": round(step.seconds, 3),
                "attention": step.attention,
                "rows": step.rows,
            }
            for step in report.steps
        ],
    }


def page(report: Report) -> str:
    """Return the report as a page of HTML that loads nothing."""
    title = html.escape(f"{report.job} of {report.database} on {report.host}")
    when = f"{report.started:%Y-%m-%d %H:%M:%S} UTC"
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style></head><body>',
        f"<h1>{title}</h1><p>{when}: {html.escape(report.summary)}</p>",
        *(step_html(step) for step in report.steps),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def step_html(step: Step) -> str:
    """Return a step as a section of the page."""
    head = f'<h2>{html.escape(step.title)}<span class="state {step.state}">{step.state}</span></h2>'
    said = f"<p>{html.escape(step.said)}</p>" if step.said else ""
    if not step.rows:
        return f"<section>{head}{said}</section>"
    titles = "".join(f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in step.columns)
    rows = "".join(row_html(row, step.columns) for row in step.rows)
    table = f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table></div>'
    return f"<section>{head}{said}{table}</section>"


def row_html(row: dict[str, Any], columns: list[str]) -> str:
    """Return a row of a table."""
    number = {True: ' class="number"', False: ""}
    cells = "".join(
        f"<td{number[not isinstance(row.get(name), (str, bool, type(None)))]}>{html.escape(cell(row.get(name)))}</td>"
        for name in columns
    )
    return ('<tr class="attention">' if row.get(ATTENTION) else "<tr>") + cells + "</tr>"


def write(report: Report, directory: Path, keep: int) -> Path:
    """Write the JSON and the page, drop all but the newest `keep` of this job, and return the page's path."""
    for half in directory.glob(f".{report.job}-*.partial"):
        half.unlink()  # a run was killed while it wrote it
    base = f"{report.job}-{report.started:%Y%m%dT%H%M%S%fZ}"
    texts = {
        "json": json.dumps(as_dict(report), default=plain, ensure_ascii=False, indent=2) + "\n",
        "html": page(report),
    }
    for kind, text in texts.items():
        partial = directory / f".{base}.{kind}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.chmod(0o640)
        os.replace(partial, directory / f"{base}.{kind}")
    for kind in texts:
        for old in sorted(directory.glob(f"{report.job}-[0-9]*T[0-9]*Z.{kind}"))[:-keep]:
            old.unlink()
    return directory / f"{base}.html"
