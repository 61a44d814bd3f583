"""What is known of a job's last run: a status (JSON) for people and programs, and metrics for Prometheus."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbjob_log import seconds_of, stamp
from dbjob_settings import ROOT

STATE = ROOT / "var/lib/mltrading-db"
KILLED = 128 + signal.SIGKILL
METRICS = {
    "last_success_timestamp_seconds": "When the job last succeeded; 0: never.",
    "last_run_timestamp_seconds": "When the job was last started.",
    "duration_seconds": "How long its last run took.",
    "exit_code": "What its last run ended with; 0: well.",
    "running": "Whether it is running.",
    "not_my_role": "Whether its last run left it to the other node.",
    "consecutive_failures": "How many runs have failed since one succeeded.",
    "time_limit_seconds": "How long it may run.",
}


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    state: str
    exit_code: int
    message: str


def write(path: Path, text: str, mode: int, group: int) -> None:
    """Write a file that is there as a whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        if os.geteuid() == 0:
            os.fchown(file.fileno(), 0, group)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def booted() -> dict[str, Any]:
    """Which boot this is, and when it was by the present clock: a clock that is set moves it, and nothing else does."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return {"boot": boot, "booted": round(time.time() - time.clock_gettime(time.CLOCK_BOOTTIME), 3)}


def clock_step(previous: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """What the next run compares its clock with unless this one succeeds, and by how many seconds the clock was set.

    A run that refused to work with a clock that had been set must be followed by one that refuses too.
    """
    now = booted()
    with suppress(KeyError, TypeError, ValueError):
        if previous["clock"]["boot"] == now["boot"]:
            return dict(previous["clock"]), round(now["booted"] - float(previous["clock"]["booted"]))
    return now, 0


def started(pid: int) -> int:
    """When a process was started, in the kernel's ticks; 0 where there is none of that number."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError):
        return 0


def read_status(name: str) -> dict[str, Any]:
    """What the last run left, {} where there was none. A run that was killed says `running` for ever: not here."""
    try:
        status: dict[str, Any] = json.loads((STATE / "status" / f"{name}.json").read_text(encoding="utf-8"))
        alive = started(int(status["pid"])) == int(status["pid_started"])
        failures = int(status["consecutive_failures"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    if status.get("state") == "running" and not alive:
        status |= {"state": "interrupted", "exit_code": KILLED, "consecutive_failures": failures + 1}
        status |= {"message": f"killed: process {status['pid']} is gone and left no result"}
    return status


def metrics(status: dict[str, Any], time_limit: int) -> str:
    """The status as Prometheus reads it."""
    values = {
        "last_success_timestamp_seconds": seconds_of(status["last_success"]),
        "last_run_timestamp_seconds": seconds_of(status["started"]),
        "duration_seconds": status["duration_seconds"],
        "exit_code": status["exit_code"],
        "running": int(status["state"] == "running"),
        "not_my_role": int(status["state"] == "not_my_role"),
        "consecutive_failures": status["consecutive_failures"],
        "time_limit_seconds": time_limit,
    }
    return "".join(
        f"# HELP mltrading_job_{name} {METRICS[name]}\n# TYPE mltrading_job_{name} gauge\n"
        f'mltrading_job_{name}{{job="{status["job"]}"}} {value}\n'
        for name, value in values.items()
        if value is not None
    )


class Record:
    """The status and the metrics of one run."""

    def __init__(self, name: str, previous: dict[str, Any], group: int, time_limit: int) -> None:
        """Write that the job is running; what is known of the run before stays in the metrics."""
        self.group, self.time_limit, self.began = group, time_limit, time.monotonic()
        now = time.time()
        # A clock that was ahead wrote a success that is still to come: it hides a job that does not run.
        success = min(seconds_of(previous.get("last_success")), now)
        self.status: dict[str, Any] = {
            "job": name,
            "state": "running",
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "pid_started": started(os.getpid()),
            "started": stamp(now),
            "finished": None,
            "duration_seconds": None,
            "exit_code": None,
            "message": "",
            "consecutive_failures": previous.get("consecutive_failures", 0),
            "last_success": stamp(success) if success else None,
        }
        self.status["clock"], self.clock_step = clock_step(previous)
        self.write({key: previous.get(key) for key in ("duration_seconds", "exit_code")})

    def write(self, shown: dict[str, Any]) -> None:
        """Write both files; `shown` goes into the metrics alone."""
        name = self.status["job"]
        write(STATE / "status" / f"{name}.json", json.dumps(self.status, indent=2) + "\n", 0o640, self.group)
        write(STATE / "metrics" / f"{name}.prom", metrics(self.status | shown, self.time_limit), 0o644, 0)

    def finish(self, outcome: Outcome) -> None:
        """Write how the run ended."""
        now = stamp(time.time())
        good = outcome.state in ("ok", "not_my_role")
        failures = 0 if good else int(str(self.status["consecutive_failures"])) + 1
        self.status |= {
            "state": outcome.state,
            "finished": now,
            "duration_seconds": round(time.monotonic() - self.began, 3),
            "exit_code": outcome.exit_code,
            "message": outcome.message[:500],
            "consecutive_failures": failures,
        }
        if outcome.state == "ok":
            self.status |= {"last_success": now, "clock": booted()}
        self.write({})


class NoRecord(Record):
    """The record of a run that changes nothing: no file tells of it."""

    def write(self, shown: dict[str, Any]) -> None:
        """Write nothing."""
