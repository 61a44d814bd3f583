"""What the checks found, for the textfile collector of Prometheus's node exporter: states, values and levels.

The state is judged here and nowhere else. An alert asks for `mltrading_health_state`, so that a level is said once.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from health_checks import STATE, Result

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
}

Sample = tuple[dict[str, str], float]


def quoted(text: str) -> str:
    """The value of a label, as the exposition format has it."""
    return '"' + text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"') + '"'


def told(value: float) -> str:
    """A number, as the exposition format has it."""
    return "NaN" if math.isnan(value) else str(value)


def samples(results: list[Result]) -> Iterator[tuple[str, Sample]]:
    """Every sample of the checks that have levels."""
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
        for row in result.rows[:ITEMS] if check.record else ():
            if row["value"] is not None:
                yield "mltrading_health_value", (name | {"item": str(row["item"])}, row["value"])


def exposition(when: float, results: list[Result]) -> str:
    """The text of the file: each metric with its samples together."""
    found: dict[str, list[Sample]] = {name: [] for name in HELP}
    found["mltrading_health_timestamp_seconds"].append(({}, int(when)))
    for name, sample in samples(results):
        found[name].append(sample)
    lines = []
    for name, of_name in found.items():
        lines += [f"# HELP {name} {HELP[name]}", f"# TYPE {name} gauge"]
        for labels, value in of_name:
            text = ",".join(f"{label}={quoted(labels[label])}" for label in labels)
            lines.append(f"{name}{{{text}}} {told(value)}" if text else f"{name} {told(value)}")
    return "\n".join(lines) + "\n"


def write(when: float, state: str, results: list[Result]) -> int:
    """Put the file in place, whole. Returns the exit code: the job did its work whatever it found."""
    partial = METRICS.with_suffix(".partial")
    partial.write_text(exposition(when, results), encoding="utf-8")
    partial.chmod(0o644)
    partial.replace(METRICS)
    print(state)
    return 0
