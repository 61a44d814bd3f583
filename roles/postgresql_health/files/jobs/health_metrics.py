"""What the checks found, for the textfile collector of Prometheus's node exporter: states, values and levels.

The state is judged here and nowhere else. An alert asks for `mltrading_health_state`, so that a level is said once.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from health_checks import STATE, Result
from health_files import scheduled

METRICS = Path(os.environ.get("HEALTH_METRICS", STATE / "metrics_health" / "health.prom"))
STATES = {"ok": 0, "info": 0, "warning": 1, "critical": 2, "unknown": 3, "no_data": -1, "not_configured": -2}
# The worst rows of a check: what a picture can show.
ITEMS = 20
HELP = {
    "mltrading_health_timestamp_seconds": "When the checks were run.",
    "mltrading_health_state": "0 ok, 1 warning, 2 critical, 3 unknown, -1 no data, -2 not configured.",
    "mltrading_health_worst": "The value that decided about the state.",
    "mltrading_health_level": "Where a state begins.",
    "mltrading_health_value": "The values that the history keeps, by item.",
    "mltrading_server_writes": "Whether the server of this host takes writes; none where it does not answer.",
    "mltrading_job_scheduled": "The jobs that cron starts on this host.",
}

Sample = tuple[dict[str, str], float]


def quoted(text: str) -> str:
    """The value of a label, as the exposition format has it."""
    return '"' + text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"') + '"'


def told(value: float) -> str:
    """A number, as the exposition format has it."""
    return "NaN" if math.isnan(value) else str(value)


def samples(results: list[Result], role: str, jobs: Collection[str]) -> Iterator[tuple[str, Sample]]:
    """Every sample: of the server, of the jobs, and of the checks that have levels."""
    if role in ("primary", "standby"):
        yield "mltrading_server_writes", ({}, int(role == "primary"))
    for job in jobs:
        yield "mltrading_job_scheduled", ({"job": job}, 1)
    for result in results:
        check = result.check
        name = {"check": check.name}
        yield "mltrading_health_state", (name, STATES[result.state])
        # An alert shows the value that decided. What is missing has none, and is an alert all the same.
        if result.value is not None or result.state in ("warning", "critical"):
            yield "mltrading_health_worst", (name, math.nan if result.value is None else result.value)
        for severity, level in (("warning", check.warning), ("critical", check.critical)):
            if level is not None:
                yield "mltrading_health_level", (name | {"severity": severity}, level)
        # Of several rows of one item, as two receivers of one name, the worst, which comes first.
        told_of: set[str] = set()
        for row in result.rows[:ITEMS] if check.record else ():
            if row["value"] is not None and str(row["item"]) not in told_of:
                told_of.add(str(row["item"]))
                yield "mltrading_health_value", (name | {"item": str(row["item"])}, row["value"])


def exposition(when: float, results: list[Result], role: str = "no server", jobs: Collection[str] = ()) -> str:
    """The text of the file: each metric with its samples together."""
    found: dict[str, list[Sample]] = {name: [] for name in HELP}
    found["mltrading_health_timestamp_seconds"].append(({}, int(when)))
    for name, sample in samples(results, role, jobs):
        found[name].append(sample)
    lines = []
    for name, of_name in found.items():
        lines += [f"# HELP {name} {HELP[name]}", f"# TYPE {name} gauge"]
        for labels, value in of_name:
            text = ",".join(f"{label}={quoted(labels[label])}" for label in labels)
            lines.append(f"{name}{{{text}}} {told(value)}" if text else f"{name} {told(value)}")
    return "\n".join(lines) + "\n"


def write(when: float, state: str, role: str, results: list[Result]) -> int:
    """Put the file in place, whole. Returns the exit code: the job did its work whatever it found."""
    partial = METRICS.with_suffix(".partial")
    partial.write_text(exposition(when, results, role, scheduled()), encoding="utf-8")
    partial.chmod(0o644)
    partial.replace(METRICS)
    print(state)
    return 0
