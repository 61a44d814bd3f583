"""The table that a scenario writes while it runs: JSON for each release, and one page of Markdown for all of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Row = dict[str, Any]

# The title of each page, and that of docs/operations which explains it; <table>_measured.md there is such a page.
PAGES = {"faults": ("Faults, as measured", "faults.md"), "alerts": ("Alerts that fired", "alerts_fired.md")}


def keep(folder: Path, table: str, release: str, row: Row) -> None:
    """Add a line to a release's file, or replace that of the same first column, and write the page of all releases."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{table}-{release}.json"
    rows: list[Row] = json.loads(file.read_text()) if file.exists() else []
    first = next(iter(row))
    names = [known[first] for known in rows]
    if row[first] in names:
        rows[names.index(row[first])] = row
    else:
        rows.append(row)
    file.write_text(json.dumps(rows, indent=2) + "\n")
    pages = [
        page(one.stem.removeprefix(f"{table}-"), json.loads(one.read_text())) for one in folder.glob(f"{table}-*.json")
    ]
    today = datetime.now(UTC).strftime("%d %B %Y").lstrip("0")
    title, explained = PAGES[table]
    said = f"Written by `make test-faults` on {today}: [how it is made, and what the columns are]({explained})."
    (folder / f"{table}.md").write_text("\n".join([f"# {title}", "", said, "", *sorted(pages)]))


def cell(value: Any) -> str:
    """A value as the page has it."""
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def page(release: str, rows: list[Row]) -> str:
    """The table of one release, as Markdown."""
    lines = [f"## {release}", "", f"| {' | '.join(rows[0])} |", "|---" * len(rows[0]) + "|"]
    lines += [f"| {' | '.join(map(cell, row.values()))} |" for row in rows]
    return "\n".join([*lines, ""])
