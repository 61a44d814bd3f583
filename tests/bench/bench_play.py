"""How long the whole site takes: on a release's blank hosts with their packages fetched, and again, with nothing to do.

Makes the hosts of molecule/default anew, provisions each release by itself, and prints a table with the five slowest
tasks of the second run. The numbers are kept as JSON, so that two runs can be compared.

    python tests/bench/bench_play.py [--release bookworm] [--output .lab/results/bench_play.json]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

PROJECT = Path(__file__).parents[2]
EPHEMERAL = PROJECT / ".lab/molecule/bench"
RELEASES = ("bookworm", "trixie")
TASK_SECONDS = re.compile(r"^(?P<name>\S.*?) -+ (?P<seconds>[\d.]+)s$", re.MULTILINE)
RECAP_CHANGED = re.compile(r"changed=(\d+)")


def molecule(action: str) -> None:
    """Run one molecule action on the scenario of whole hosts."""
    command = ["molecule", action, "--scenario-name", "default"]
    environment = os.environ | {"MOLECULE_EPHEMERAL_DIRECTORY": str(EPHEMERAL)}
    subprocess.run(command, env=environment, cwd=PROJECT, check=True, capture_output=True)


def play(release: str) -> dict[str, object]:
    """Run the site on a release's hosts, without sample data: seconds, changed tasks, the five slowest tasks."""
    command = ["ansible-playbook", "--inventory", EPHEMERAL / "inventory", "--limit", f"test-{release}-*"]
    command += ["--extra-vars", '{"mltrading_sample_data_enabled": false}', PROJECT / "playbooks/site.yml"]
    environment = os.environ | {
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_tasks",
        "MOLECULE_EPHEMERAL_DIRECTORY": str(EPHEMERAL),
    }
    began = time.monotonic()
    run = subprocess.run(command, env=environment, cwd=PROJECT, check=True, capture_output=True, text=True)
    seconds = time.monotonic() - began
    slowest = [(match["name"], float(match["seconds"])) for match in TASK_SECONDS.finditer(run.stdout)][:5]
    changed = sum(int(count) for count in RECAP_CHANGED.findall(run.stdout))
    return {"seconds": round(seconds, 1), "changed": changed, "slowest": slowest}


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--release", choices=RELEASES, action="append", help="one release; both by default")
    parser.add_argument("--output", type=Path, default=PROJECT / ".lab/results/bench_play.json")
    options = parser.parse_args()
    results = {}
    for action in ("destroy", "create"):
        molecule(action)
    for release in options.release or RELEASES:
        results[release] = {"blank": play(release), "second": play(release)}
    molecule("destroy")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    table = Table("release", "blank hosts", "second run", "changed", "slowest tasks of the second run", box=None)
    for release, result in results.items():
        slowest = "\n".join(f"{seconds:4.1f} s  {name}" for name, seconds in result["second"]["slowest"])  # type: ignore[misc]
        runs = (f"{result[name]['seconds']} s" for name in ("blank", "second"))
        table.add_row(release, *runs, str(result["second"]["changed"]), slowest)
    Console().print(table)


if __name__ == "__main__":
    main()
