"""What `mldb apply` costs beside plain ansible-playbook where there is nothing to do, and where the time goes.

Both run the whole site on the hosts of an environment, in turns, so that what else the machine does falls on both. The
profile is read from the events that mldb keeps: a task lasts until the next one begins, on all hosts together.

    python tests/bench/bench_mldb.py [--environment lab] [--checkout .] [--rounds 5] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from mltrading_db.cli.environment import Environment, find

PROJECT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
BEGINNINGS = ("playbook_on_start", "playbook_on_play_start", "playbook_on_task_start", "playbook_on_stats")
RECAP_CHANGED = re.compile(r"changed=(\d+)")
SLOWEST = 5
Event = dict[str, Any]


@dataclass(frozen=True)
class Spent:
    """Seconds of a run, and what they went to."""

    playbook: str
    role: str
    task: str
    action: str
    seconds: float


def run(words: list[str], checkout: Path) -> tuple[float, str]:
    """Seconds and standard output of a command, which must end well."""
    environment = os.environ | {"ANSIBLE_CONFIG": str(checkout / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    began = time.monotonic()
    done = subprocess.run(words, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{words}: ended with {done.returncode}\n{done.stdout[-3000:]}{done.stderr}")
    return time.monotonic() - began, done.stdout


def by_mldb(environment: Environment) -> tuple[float, int, list[Spent]]:
    """Seconds, changed tasks and the profile of a run by mldb."""
    began = datetime.now(UTC)
    words = [str(PROGRAMS / "mldb"), "apply", environment.name, "--confirm", environment.name, "--json"]
    seconds, said = run(words, environment.project)
    record = max((environment.state / "runs").iterdir())
    with (record / "events.jsonl").open(encoding="utf-8") as file:
        spent = list(profile(map(json.loads, file)))
        file.seek(0)
        first = moment(json.loads(file.readline()))
    before = Spent("", "", "Start, and check the inputs", "", (first - began).total_seconds())
    return seconds, len(json.loads(said)["changes"]), [before, *spent]


def by_ansible(environment: Environment) -> tuple[float, int]:
    """Seconds and changed tasks of a run by ansible-playbook."""
    words = [str(PROGRAMS / "ansible-playbook"), "--inventory", str(environment.folder), "--diff", "playbooks/site.yml"]
    if environment.vault_password_file.exists():
        words += ["--vault-password-file", str(environment.vault_password_file)]
    seconds, said = run(words, environment.project)
    return seconds, sum(map(int, RECAP_CHANGED.findall(said)))


def moment(event: Event) -> datetime:
    """When an event was."""
    return datetime.fromisoformat(event["created"]).replace(tzinfo=UTC)


def profile(events: Iterable[Event]) -> Iterable[Spent]:
    """What each task of a run took, from the events in their order."""
    marks = [event for event in events if event["event"] in BEGINNINGS]
    playbook = ""
    for event, following in pairwise(marks):
        data = event.get("event_data") or {}
        playbook = Path(data.get("playbook") or playbook).stem
        seconds = (moment(following) - moment(event)).total_seconds()
        if event["event"] == "playbook_on_stats":
            yield Spent("", "", "Start the next playbook", "", seconds)
        elif event["event"] == "playbook_on_task_start":
            yield Spent(playbook, data.get("role") or "", data["task"], data.get("task_action", ""), seconds)
        else:
            yield Spent(playbook, "", "Between the tasks", "", seconds)


def grouped(runs: list[list[Spent]], key: Callable[[Spent], str]) -> dict[str, float]:
    """Median over the runs of the seconds that each group took, the longest first."""
    names = dict.fromkeys(key(one) for spent in runs for one in spent)
    found = {name: median([sum(one.seconds for one in spent if key(one) == name) for spent in runs]) for name in names}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def measure(environment: Environment, rounds: int) -> dict[str, Any]:
    """Both, in turns."""
    by_mldb(environment)
    mine, plain, runs = [], [], []
    for number in range(rounds):
        seconds, changed, spent = by_mldb(environment)
        plain_seconds, plain_changed = by_ansible(environment)
        if changed or plain_changed:
            sys.exit(f"round {number + 1} changed something: it was not a run that finds nothing to do")
        mine.append(seconds)
        plain.append(plain_seconds)
        runs.append(spent)
    tasks = grouped(
        [[one for one in spent if one.task] for spent in runs], lambda one: f"{one.role or '-'}: {one.task}"
    )
    return {
        "rounds": rounds,
        "mldb_seconds": [round(seconds, 1) for seconds in mine],
        "ansible_seconds": [round(seconds, 1) for seconds in plain],
        "ratio": median([one / other for one, other in zip(mine, plain, strict=True)]),
        "tasks": len(runs[0]),
        "playbooks": grouped(runs, lambda one: one.playbook or one.task),
        "roles": grouped(runs, lambda one: one.role or "(none)"),
        "actions": grouped(runs, lambda one: one.action or "(none)"),
        "slowest": dict(list(tasks.items())[:SLOWEST]),
    }


def table(heading: str, found: dict[str, float]) -> Table:
    """Seconds by name."""
    made = Table(heading, "seconds", box=None)
    for name, seconds in found.items():
        made.add_row(name, f"{seconds:.1f}")
    return made


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--environment", default="lab", help="whose hosts; lab by default")
    parser.add_argument("--checkout", type=Path, default=PROJECT, help="where the environment is described")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=PROJECT / ".lab/results/bench_mldb.json")
    options = parser.parse_args()
    result = measure(find(options.environment, options.checkout.resolve()), options.rounds)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    console = Console()
    console.print(
        f"mldb {median(result['mldb_seconds']):.1f} s, ansible-playbook {median(result['ansible_seconds']):.1f} s"
    )
    console.print(f"ratio {result['ratio']:.2f}, median of {result['rounds']} rounds; {result['tasks']} tasks")
    for name in ("playbooks", "roles", "actions", "slowest"):
        console.print(table(name, result[name]))


if __name__ == "__main__":
    main()
