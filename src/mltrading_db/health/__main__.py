"""Prints what the hosts of an environment answered, or renders its page: python -m mltrading_db.health --help.

`table` exits with the state, as monitoring plugins do: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from rich.console import Console

from mltrading_db.health import table
from mltrading_db.health.answers import EXIT_CODES, read


def main(arguments: list[str] | None = None) -> int:
    """Do what is asked for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mltrading_db.health", description="How an environment does.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("table", help="print one table").add_argument("file", type=Path)
    page = commands.add_parser("page", help="render one page")
    page.add_argument("file", type=Path)
    page.add_argument("output", type=Path)
    options = parser.parse_args(arguments)
    environment = read(json.loads(options.file.read_text(encoding="utf-8")))
    if options.command == "page":
        # Matplotlib takes its time to import.
        from mltrading_db.health.page import rendered  # noqa: PLC0415

        text = rendered(environment)
        # It shows statements and names: nobody else reads it, from its first byte on.
        options.output.unlink(missing_ok=True)
        with open(os.open(options.output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        return 0
    # A command in two lines cannot be pasted: what is long is left to the terminal.
    Console(width=table.UNBROKEN, highlight=False, soft_wrap=True).print(table.shown(environment))
    return EXIT_CODES[environment.state]


if __name__ == "__main__":
    sys.exit(main())
