"""The table of the run: what was broken, what happened, and which rows were there afterwards."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

COLUMNS = ("fault", "what happened", "acknowledged", "found", "seconds")


@dataclass
class Fault:
    """One line. `acknowledged` and `found` are of the oracle's rows, None where no row was in question."""

    fault: str
    happened: str = ""
    acknowledged: int | None = None
    found: int | None = None
    seconds: float = 0.0
    passed: bool = False
    began: float = field(default_factory=time.monotonic, repr=False)

    def accounts_for(self, acknowledged: set[int], found: set[int]) -> None:
        """Assert that no acknowledged row is missing."""
        self.acknowledged, self.found = len(acknowledged), len(acknowledged & found)
        missing = sorted(acknowledged - found)
        assert not missing, f"{len(missing)} acknowledged rows are lost, from {missing[0]} to {missing[-1]}"

    def exactly(self, expected: set[int], found: set[int]) -> None:
        """Assert that these rows are there and no others."""
        self.accounts_for(expected, found)
        assert not found - expected, f"{len(found - expected)} rows are there that were written later"

    def as_row(self) -> dict[str, Any]:
        """For JSON."""
        row = asdict(self) | {"seconds": round(time.monotonic() - self.began, 1)}
        del row["began"]
        return row


def keep(folder: Path, release: str, fault: Fault) -> None:
    """Add a line to a release's file, or replace it there, and write the page of all releases.

    The page is docs/operations/faults_measured.md as it stands.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"faults-{release}.json"
    rows = json.loads(file.read_text()) if file.exists() else []
    new = fault.as_row()
    names = [row["fault"] for row in rows]
    if new["fault"] in names:
        rows[names.index(new["fault"])] = new
    else:
        rows.append(new)
    file.write_text(json.dumps(rows, indent=2) + "\n")
    pages = [
        page(file.stem.removeprefix("faults-"), json.loads(file.read_text())) for file in folder.glob("faults-*.json")
    ]
    today = datetime.now(UTC).strftime("%d %B %Y").lstrip("0")
    said = f"Written by `make test-faults` on {today}: [how it is made, and what the columns are](faults.md)."
    (folder / "faults.md").write_text("\n".join(["# Faults, as measured", "", said, "", *sorted(pages)]))


def page(release: str, rows: list[dict[str, Any]]) -> str:
    """The table of one release, as Markdown."""
    lines = [f"## {release}", "", f"| {' | '.join(COLUMNS)} |", "|---|---|---|---|---|"]
    for row in rows:
        happened = row["happened"] if row["passed"] else f"**FAILED** {row['happened']}"
        counts = ["" if row[name] is None else f"{row[name]:,}" for name in ("acknowledged", "found")]
        lines.append(f"| {row['fault']} | {happened} | {counts[0]} | {counts[1]} | {row['seconds']:.0f} |")
    return "\n".join([*lines, ""])
