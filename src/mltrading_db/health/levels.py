"""Writes the table of the checks' levels into the page on health: python -m mltrading_db.health.levels.

The levels are said once, where the checks are declared.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

from mltrading_db.alerts import ENGINE, PROJECT, TRADING

PAGE = Path("docs/operations/health.md")
BEGIN, END = "<!-- Levels: made from checks.yml by `make docs`. -->\n", "<!-- The end of the levels. -->\n"
LEVEL = re.compile(r"([0-9.]+) ?([A-Za-z]*)")
UNITS = {"%": "%", "seconds": "s", "days": "days", "ms": "ms"}


def level(check: dict[str, Any], severity: str) -> str:
    """From where a state begins: `> 80 %`, `< 30 days`, `> 100 GB`; nothing where the worse state begins there too."""
    if check["warning"] == check["critical"] and severity == "warning":
        return ""
    number, unit = LEVEL.fullmatch(str(check[severity])).groups()  # type: ignore[union-attr]
    return f"{'<' if check.get('below') else '>'} {number} {unit or UNITS.get(check['unit'], '')}".strip()


def table(checks: list[dict[str, Any]]) -> str:
    """The table, a line a check that has levels."""
    lines = ["| check | warning | critical | of what |", "|---|---|---|---|"]
    for check in checks:
        if "critical" in check:
            cells = [f"`{check['name']}`", level(check, "warning"), level(check, "critical"), check["title"]]
            lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return "\n".join(lines) + "\n"


def page(project: Path) -> str:
    """The page with the table of now."""
    engine = yaml.safe_load((project / ENGINE).read_text())
    trading = yaml.safe_load((project / TRADING).read_text())["mltrading_health_checks"]
    before, begin, rest = (project / PAGE).read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}\n{table([*engine, *trading])}\n{end}{after}"


def main(project: Path) -> int:
    """Write the page where it differs from what it should be, and say so."""
    if (project / PAGE).read_text() != (text := page(project)):
        (project / PAGE).write_text(text)
        sys.stdout.write(f"wrote {PAGE}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(PROJECT))
