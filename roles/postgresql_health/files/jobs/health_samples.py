"""What one look at the server cannot tell: how much of a counter is of the last hour, and since when something is so.

Each of these checks leaves a sample of what it saw in a file, and compares what it sees with those before. The job
health_metrics takes one each minute. A check that has no older sample yet has no data.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from health_checks import STATE, Check, Rows

# In seconds: how old the sample is that counters are compared with, how far apart samples are kept, and the age at
# which one is none any more, as when no job ran.
WINDOW, APART, OLDEST = 3600, 300, 2 * 3600
# Fewer reads, and fewer calls of a statement, say nothing; nor do so few bytes of WAL, which an idle server writes.
READS, CALLS, IDLE_WAL = 10_000, 20, 65536
# In the first hour of a server its memory is filled: what it reads then is no sample.
WARM = 3600

Sample = dict[str, Any]


def grown(now: list[float], before: list[float]) -> list[float]:
    """How much counters have grown; from nought where they were reset meanwhile."""
    more = [one - other for one, other in zip(now, before, strict=True)]
    return now if any(value < 0 for value in more) else more


def minutes(seconds: float) -> str:
    """A time for the detail of a row."""
    return f"in {max(1, round(seconds / 60))} min"


def hit_ratio(rows: Rows, kept: list[Sample], now: float) -> tuple[Rows, Sample]:
    """The share of pages that were found in memory since the oldest sample of a server that is warm."""
    seen = {row["item"]: [row["hits"], row["reads"]] for row in rows}
    uptime = min((row["uptime"] for row in rows), default=0)
    # What was counted before the server's last start, and in the hour after it, says nothing of it.
    kept = [one for one in kept if uptime >= WARM and one["time"] >= now - uptime + WARM]
    found = []
    for row in rows:
        before = kept[0]["seen"].get(row["item"], [0, 0]) if kept else seen[row["item"]]
        hits, reads = grown(seen[row["item"]], before)
        enough = max(READS, row["enough_reads"])
        value = round(100 * hits / reads, 1) if reads >= enough else None
        if uptime < WARM:
            said = f"the server was started {round(uptime / 60)} min ago"
        elif kept:
            said = f"{reads} reads {minutes(now - kept[0]['time'])}" + (f", {enough} needed" if value is None else "")
        else:
            said = "the first sample"
        found.append({"database": row["database"], "item": row["item"], "value": value, "detail": said})
    return found, {"seen": seen}


def statements(rows: Rows, kept: list[Sample], now: float) -> tuple[Rows, Sample]:
    """The average time of each statement that ran often since the oldest sample, the slowest first."""
    seen = {row["item"]: [row["calls"], row["total_ms"]] for row in rows}
    if not kept:
        return [{"item": "statements", "value": None, "detail": "the first sample"}], {"seen": seen}
    found = [{"item": "statements", "value": 0, "detail": f"none ran {CALLS} times {minutes(now - kept[0]['time'])}"}]
    for row in rows:
        calls, total = grown(seen[row["item"]], kept[0]["seen"].get(row["item"], [0, 0]))
        if calls >= CALLS:
            said = f"{calls} calls {minutes(now - kept[0]['time'])}: {row['query']}"
            found.append({"item": row["item"], "value": round(total / calls, 1), "detail": said})
    return sorted(found[1:] or found, key=lambda row: -row["value"])[:5], {"seen": seen}


def archive(rows: Rows, kept: list[Sample], now: float) -> tuple[Rows, Sample]:
    """For how long WAL waits: the oldest file that is ready, or since when there is more than an idle server writes.

    Since when the last file was archived says nothing of it: the server may have been idle until a moment ago, or
    be a primary for as long.
    """
    if not rows:
        return rows, {}
    row = rows[0]
    sample = {"last": row["last_archived"], "since": None}
    if row["unarchived_bytes"] > IDLE_WAL:
        before = kept[-1] if kept else {}
        same = kept and before.get("last", "") == sample["last"]
        sample["since"] = (before.get("since") or before["time"]) if same else now
    waits = now - sample["since"] if sample["since"] else 0
    value = max(row["value"] or 0, round(waits))
    return [{"item": row["item"], "value": value, "detail": row["detail"]}], sample


def replay(rows: Rows, kept: list[Sample], now: float) -> tuple[Rows, Sample]:
    """How far a standby is behind. What it had received when a sample was taken, and has replayed, is not late.

    The age of the last transaction alone is that of the idle time before a burst.
    """
    seen = next((row for row in rows if row.get("replayed") is not None), None)
    found = []
    for row in rows:
        value = row["value"]
        if row is seen:
            caught_up = [
                sample["time"] for sample in kept if sample.get("received", row["replayed"] + 1) <= row["replayed"]
            ]
            value = min([value, *(round(now - caught_up[-1], 1) for _ in caught_up[-1:])])
        found.append({"item": row["item"], "value": value, "detail": row["detail"]})
    return found, {"received": seen["received"]} if seen else {}


def transactions(rows: Rows, kept: list[Sample], now: float) -> tuple[Rows, Sample]:
    """How long each transaction is open; of a slot that keeps rows, since when it has kept the same ones."""
    before = kept[-1].get("held", {}) if kept else {}
    held = {row["held"]: before.get(row["held"], now) for row in rows if row["held"]}
    found = [
        {"item": row["item"], "value": round(now - held[row["held"]]) if row["held"] else row["value"],
         "detail": row["detail"]} for row in rows
    ]  # fmt: skip
    return sorted(found, key=lambda row: -row["value"]), {"held": held}


# By the check. What is said of the last look is kept each time, what is compared over a while a few times an hour.
SAMPLED: dict[str, tuple[Callable[[Rows, list[Sample], float], tuple[Rows, Sample]], float]] = {
    "table_hit_ratio": (hit_ratio, APART),
    "index_hit_ratio": (hit_ratio, APART),
    "slow_statements": (statements, APART),
    "archive_age": (archive, 0),
    "oldest_transaction": (transactions, 0),
    "replication_lag_seconds": (replay, 0),
}


def sampled(check: Check, rows: Rows) -> Rows:
    """The rows of a check, compared with its samples where it has some; keeps another one."""
    # A database that could not be asked has no counters.
    silent = [row for row in rows if "state" in row]
    rows = [row for row in rows if "state" not in row]
    if check.name not in SAMPLED:
        return rows + silent
    look, apart = SAMPLED[check.name]
    now, path = time.time(), STATE / "health" / f"sample_{check.name}.json"
    kept: list[Sample] = []
    # A file that a full disk cut short is as good as none.
    with suppress(OSError, ValueError):
        kept = [one for one in json.loads(path.read_text(encoding="utf-8")) if now - OLDEST < one["time"] <= now]
    found, sample = look(rows, kept, now)
    if not kept or now - kept[-1]["time"] >= apart:
        within = [one for one in kept if one["time"] > now - WINDOW - apart]
        # Two jobs may look at the same moment.
        partial = path.with_suffix(f".{os.getpid()}.partial")
        # What was found is told although it cannot be kept: the next sample is compared with older ones.
        with suppress(OSError):
            partial.write_text(json.dumps([*within, sample | {"time": now}]), encoding="utf-8")
            partial.replace(path)
    return found + silent
