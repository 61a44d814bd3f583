"""The history: a line of values each time the job health_history runs, and no more than LINES of them."""

from __future__ import annotations

import json
import os
from typing import Any

from health_checks import STATE, Result

QUERY_REPORTS = STATE / "query_reports"
HISTORY = STATE / "health" / "history.jsonl"
# A month at a line every 15 minutes. The file is cut when it is an eighth longer, not each time.
LINES = int(os.environ.get("HEALTH_HISTORY_LINES", "2880"))
LONGEST_LINE, ITEMS = 16_384, 20
# What a page can show: more points than pixels are none.
POINTS = 360


def sample(when: float, state: str, results: list[Result]) -> dict[str, Any]:
    """The values of one run: {"time", "state", "values": {check: {item: value}}}."""
    # Of several rows of one item, as two receivers of one name, the worst, which comes first.
    values = {
        result.check.name: {
            str(row["item"]): row["value"] for row in reversed(result.rows[:ITEMS]) if row["value"] is not None
        }
        for result in results
        if result.check.record and result.rows
    }
    return {"time": int(when), "state": state, "values": values}


def record(when: float, state: str, results: list[Result]) -> int:
    """Add a line; cut the file where it is too long. Returns the exit code: the job did its work whatever it found."""
    line = json.dumps(sample(when, state, results), separators=(",", ":"))
    if len(line) > LONGEST_LINE:
        line = json.dumps({"time": int(when), "state": state, "values": {}}, separators=(",", ":"))
    with HISTORY.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    lines = HISTORY.read_text(encoding="utf-8").splitlines()
    if len(lines) > LINES + LINES // 8:
        shorter = HISTORY.with_suffix(".partial")
        shorter.write_text("\n".join(lines[-LINES:]) + "\n", encoding="utf-8")
        shorter.replace(HISTORY)
    print(f"{state}, {min(len(lines), LINES)} lines of history")
    return 0


def newest_query_report() -> str:
    """The newest page that pgBadger has made of the server's log; empty where there is none."""
    return max((str(path) for path in QUERY_REPORTS.glob("queries-*.html")), default="")


def read_history() -> list[dict[str, Any]]:
    """The samples, thinned to what a page can show. A line that a crash cut short is left out."""
    found = []
    if HISTORY.exists():
        for line in HISTORY.read_text(encoding="utf-8").splitlines()[-LINES:]:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    step = -(-len(found) // POINTS) or 1
    return found[::-step][::-1]
