"""What backups there are, and what the last restore drill measured. Shown where the job that takes backups is."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from typing import Any

from health_checks import ROOT, STATE, Check, Rows, row
from health_server import Server

JOBS = {
    "backups": ROOT / "etc/cron.d/mltrading-db-backup_full",
    "drills": ROOT / "etc/cron.d/mltrading-db-drill_restore",
}
CONFIGURATION = ROOT / "etc/pgbackrest"
DRILL = STATE / "metrics" / "drill_restore_result.prom"
# The newest, so many: three weeks of a backup a day.
MOST = 21


def moment(seconds: float) -> str:
    """A time as programs read it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def of_backup(backup: dict[str, Any]) -> dict[str, Any]:
    """The row of a backup, from `pgbackrest info`; its size in the repository is that of its own files."""
    began, ended = (backup["timestamp"][name] for name in ("start", "stop"))
    return {
        "item": backup["label"], "type": backup["type"], "started": moment(began), "duration_seconds": ended - began,
        "database_bytes": backup["info"]["size"], "repository_bytes": backup["info"]["repository"]["delta"],
        "detail": "damaged pages were found" if backup.get("error") else "",
    }  # fmt: skip


def known() -> list[dict[str, Any]]:
    """What pgBackRest says of every backup of its repository."""
    command = ["pgbackrest", "info", "--output=json", "--log-level-console=off"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise RuntimeError(f"pgbackrest info: {(done.stderr or done.stdout).strip()}")
    return [backup for stanza in json.loads(done.stdout) for backup in stanza["backup"]]


def newest_kept() -> tuple[float, str] | None:
    """When the newest backup ended that is there without an error, and its label; None where there is none."""
    good = [backup for backup in known() if not backup.get("error")]
    return max(((float(backup["timestamp"]["stop"]), str(backup["label"])) for backup in good), default=None)


def backups(_check: Check, _server: Server, _settings: dict[str, Any]) -> Rows:
    """The backups of the repository, the newest first."""
    if not JOBS["backups"].exists():
        return []
    return sorted(map(of_backup, known()), key=lambda row: str(row["started"]), reverse=True)[:MOST]


def damaged_backups(_check: Check, _server: Server, _settings: dict[str, Any]) -> Rows:
    """The backups that pgBackRest flags, as it found damaged pages in them: 2 where no good one is newer, else 1."""
    if not JOBS["backups"].exists():
        return []
    found = known()
    newest = max((one["timestamp"]["stop"] for one in found if not one.get("error")), default=0)
    return [
        row(one["label"], 1 if one["timestamp"]["stop"] < newest else 2,
            "pgBackRest found damaged pages, so that nothing restores it")
        for one in found if one.get("error")
    ] or [row("backups", 0, f"{len(found)} without an error")]  # fmt: skip


def drills(_check: Check, _server: Server, _settings: dict[str, Any]) -> Rows:
    """What the last drill measured, one row; none where there was none yet."""
    if not JOBS["drills"].exists() or not DRILL.exists():
        return []
    said = dict(
        line.removeprefix("mltrading_drill_").rsplit(" ", 1)
        for line in DRILL.read_text(encoding="utf-8").splitlines()
        if line.startswith("mltrading_drill_")
    )
    if not said:
        return []
    values = {name: float(value) for name, value in said.items()}
    return [{
        "item": "drill_restore", "finished": moment(DRILL.stat().st_mtime), "ok": bool(values["ok"]),
        "recovery_point_seconds": values.get("recovery_point_seconds"),
        "recovery_time_seconds": values.get("recovery_time_seconds"),
    }]  # fmt: skip
