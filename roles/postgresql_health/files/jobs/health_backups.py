"""What pgBackRest's repository still has: a backup that a job has taken can have been deleted since."""

from __future__ import annotations

import json
import subprocess

from health_checks import ROOT

PROGRAM = ROOT / "usr/bin/pgbackrest"
SECONDS = 30


def newest_kept() -> tuple[float, str] | None:
    """When the newest backup ended that is there without an error, and its label; None where there is none."""
    command = [str(PROGRAM), "info", "--output=json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    backups = [
        (float(backup["timestamp"]["stop"]), str(backup["label"]))
        for stanza in json.loads(done.stdout)
        for backup in stanza["backup"]
        if not backup.get("error")
    ]
    return max(backups, default=None)
