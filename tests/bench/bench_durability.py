"""Measure what a loss costs and how long the way back takes, on a primary, a standby and a repository host.

  recovery    what is lost when the archive is all that is left of a primary that is killed under load
  switchover  what clients feel of a planned change of the primary, to and fro
  copies      seconds per GB of a backup and of a restore, beside pg_basebackup and cp
  rebuild     how long each kind of host takes to come back from an empty container

Prints tables and keeps each part as JSON. No time is asserted; a row that is missing without a reason ends it.

usage: make bench BENCH=durability, which makes the hosts; the parts and their counts are options of this script.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "molecule/shared"))

import bench_copies
import bench_rebuild
import bench_recovery
import bench_switchover
from harness import PROJECT, RELEASE, Cluster

PARTS = ("recovery", "switchover", "copies", "rebuild")


def say(line: str) -> None:
    """Progress, with the time."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")


def molecule(action: str) -> None:
    """Run one molecule action on the scenario of hosts that are broken on purpose."""
    command = ["molecule", action, "--scenario-name", "faults"]
    subprocess.run(command, env=os.environ, cwd=PROJECT, check=True, capture_output=True)


def provisioned() -> Cluster:
    """The hosts, made and provisioned where they are not."""
    cluster = Cluster()
    say("hosts")
    molecule("create")
    cluster.provision()
    cluster.is_whole()
    return cluster


def spread(values: Sequence[float]) -> list[str]:
    """The least, the median and the greatest."""
    return [f"{value:.1f} s" for value in (min(values), statistics.median(values), max(values))]


def show_recovery(result: dict[str, Any]) -> Table:
    """Of the archive's last commits, and of the real restores."""
    table = Table("recovery point", "kills", "min", "median", "max", "target", "", box=None)
    for title, name in (("the archive's last commit", "archived_seconds"), ("a real restore", "restored_seconds")):
        values = [kill[name] for kill in result["kills"] if name in kill]
        if values:
            target = result["target_seconds"]
            verdict = "reached" if max(values) <= target else "missed"
            table.add_row(title, str(len(values)), *spread(values), f"at most {target} s", verdict)
    return table


def show_switchover(result: list[dict[str, Any]]) -> Table:
    """The gap as the oracle felt it, and as the play says it."""
    table = Table("write gap", "runs", "min", "median", "max", "acknowledged", "lost", box=None)
    counts = [str(result[-1]["acknowledged"]), str(sum(run["rows_lost"] for run in result))]
    table.add_row("of clients", str(len(result)), *spread([run["gap_seconds"] for run in result]), *counts)
    for title, name in (("the play: at the server", "server"), ("the play: the pooler", "pooler")):
        table.add_row(title, str(len(result)), *spread([run[f"said_{name}_seconds"] for run in result]))
    table.add_row("the whole play", str(len(result)), *spread([run["play_seconds"] for run in result]))
    return table


def show_copies(result: dict[str, Any]) -> Table:
    """Seconds per GB."""
    table = Table("", f"s per GB ({result['gigabytes']} GB)", "seconds of each round", box=None)
    for verb in ("backup", "restore"):
        for name, way in result[verb].items():
            table.add_row(f"{verb}, {name}", str(way["seconds_per_gb"]), ", ".join(map(str, way["seconds"])))
    return table


def show_rebuild(result: dict[str, Any]) -> Table:
    """Seconds by kind."""
    table = Table("rebuilt", "seconds", box=None)
    for kind, took in result.items():
        table.add_row(kind, str(took))
    return table


SHOW: dict[str, Callable[[Any], Table]] = {
    "recovery": show_recovery,
    "switchover": show_switchover,
    "copies": show_copies,
    "rebuild": show_rebuild,
}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--parts", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--restores", type=int, default=5, help="of so many kills a real restore is looked at, too")
    parser.add_argument("--switchovers", type=int, default=20, help="an even number")
    parser.add_argument("--megabytes", type=int, default=1000, help="of databases, for the copies")
    parser.add_argument("--rounds", type=int, default=3, help="of the copies")
    parser.add_argument("--hosts", choices=bench_rebuild.KINDS, nargs="+", default=list(bench_rebuild.KINDS))
    parser.add_argument("--keep", action="store_true", help="leave the hosts for another run")
    parser.add_argument("--output", type=Path, default=PROJECT / ".lab/results/bench_durability.json")
    options = parser.parse_args()
    if options.switchovers % 2:
        parser.error("an odd number of switchovers leaves another primary than the inventory's")
    return options


def main() -> None:
    """Measure, print and keep."""
    options = arguments()
    cluster = provisioned()
    measures: dict[str, Callable[[], Any]] = {
        "recovery": lambda: bench_recovery.measure(cluster, options.kills, options.restores, say),
        "switchover": lambda: bench_switchover.measure(cluster, options.switchovers, say),
        "copies": lambda: bench_copies.measure(cluster, options.megabytes, options.rounds, say),
        "rebuild": lambda: bench_rebuild.measure(cluster, options.hosts, say),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    results = json.loads(options.output.read_text()) if options.output.exists() else {}
    for part in options.parts:
        found = {"release": RELEASE, "load_average": round(os.getloadavg()[2], 1), "result": measures[part]()}
        results[part] = found
        options.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        Console().print(SHOW[part](found["result"]), "")
    if not options.keep:
        molecule("destroy")


if __name__ == "__main__":
    main()
