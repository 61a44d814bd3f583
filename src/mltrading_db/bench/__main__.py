"""Prints a result of the benchmark, writes its page, or compares two: python -m mltrading_db.bench --help."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from mltrading_db.bench import compare, tables


def read(path: Path) -> dict[str, Any]:
    """A result from its file."""
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def main(arguments: list[str] | None = None) -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m mltrading_db.bench", description="The benchmark's results.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("show", help="print a result's tables").add_argument("file", type=Path)
    commands.add_parser("page", help="write a result's page beside it").add_argument("file", type=Path)
    comparing = commands.add_parser("compare", help="hold one result against another")
    comparing.add_argument("first", type=Path)
    comparing.add_argument("second", type=Path)
    comparing.add_argument("--all", action="store_true", help="list what does not differ, too")
    options = parser.parse_args(arguments)
    console = Console(width=tables.WIDTH, highlight=False)
    if options.command == "show":
        console.print(tables.shown(read(options.file)))
    elif options.command == "page":
        # Matplotlib takes its time to import.
        from mltrading_db.bench.page import page  # noqa: PLC0415

        options.file.with_suffix(".html").write_text(page(read(options.file)), encoding="utf-8")
    else:
        console.print(compare.shown(read(options.first), read(options.second), everything=options.all))


if __name__ == "__main__":
    main()
