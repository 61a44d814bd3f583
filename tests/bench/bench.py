"""Measure the declared indexes, and the module's run that finds nothing to do, and keep what was found.

    python tests/bench/bench.py [--rows 2000000] [--parts indexes module]

Writes .lab/results/bench-<time>.json and the page beside it, and prints the tables. Two results are compared by
`python -m mltrading_db.bench compare A B`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bench_indexes
import bench_module
from bench_server import ROOT, TABLE, VARIANTS, build, database_of, described, load, say, server_for, settings_of

from mltrading_db.bench.__main__ import main as report

PARTS = ("indexes", "module")
# Rows and symbols as they were seen in the field: a year of hourly bars.
ROWS, SYMBOLS = 2_000_000, 1_057
# The module's part takes its time from the catalog, whatever the rows: a few do.
ROWS_FOR_MODULE = 100_000


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--symbols", type=int, default=SYMBOLS)
    parser.add_argument("--parts", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--folder", type=Path, default=ROOT / ".lab" / "results")
    options = parser.parse_args()
    if options.parts == ["module"]:
        options.rows = min(options.rows, ROWS_FOR_MODULE)
    return options


def machine() -> dict[str, Any]:
    """What it is measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "processors": os.cpu_count(),
        "processor": processor,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
        "load_average": round(os.getloadavg()[1], 1),
    }


def commit() -> str:
    """The commit that is measured, with a plus where files differ from it."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def measured(options: argparse.Namespace, began: datetime) -> dict[str, Any]:
    """Load, build the variants and measure the parts."""
    end_time = began.replace(tzinfo=None).isoformat(timespec="minutes")
    with server_for(options.rows) as server:
        say(f"load {options.rows:,} rows of {options.symbols:,} symbols")
        built = {VARIANTS[0].name: load(server, options.rows, options.symbols, end_time)}
        built |= {variant.name: build(server, variant) for variant in VARIANTS[1:]}
        base = database_of(server, VARIANTS[0].name)
        result = {
            "server": {"version": base.value("SHOW server_version").split()[0], "settings": settings_of(server)},
            "data": {
                "rows": options.rows,
                "symbols": options.symbols,
                "end_time": end_time,
                "table_bytes": base.value(f"SELECT pg_table_size('{TABLE}')"),
            },
            "variants": described(server, built),
        }
        if "module" in options.parts:
            result["module"] = bench_module.measure(server)
        if "indexes" in options.parts:
            result |= bench_indexes.measure(server, options.symbols)
        return result


def main() -> None:
    """Measure, keep, print."""
    options, began, clock = arguments(), datetime.now(UTC), time.monotonic()
    result = {"format": 1, "began": began.isoformat(timespec="seconds"), "commit": commit(), "machine": machine()}
    result |= measured(options, began)
    result["seconds"] = round(time.monotonic() - clock)
    options.folder.mkdir(parents=True, exist_ok=True)
    file = options.folder / f"bench-{began:%Y%m%dT%H%M%SZ}.json"
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    report(["show", str(file)])
    report(["page", str(file)])
    say(f"kept: {file} (and {file.with_suffix('.html').name} beside it)")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
