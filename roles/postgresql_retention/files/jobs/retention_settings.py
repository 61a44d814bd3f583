"""The settings of retention, from the environment; run_retention lists them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from dbjob_session import SettingsError
from retention_policy import Policy, read


@dataclass(frozen=True)
class Settings:
    """What the environment says."""

    policies: list[Policy]
    owner: str
    audit_schema: str
    archive: Path
    most_percent: float
    most_rows: int
    batch_rows: int
    rest: float
    lag_bytes: int
    backlog_files: int
    longest_wait: float
    silence: timedelta
    reserve: int
    lock_wait: float
    reports: Path
    reports_kept: int


def settings(environment: dict[str, str]) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: one is wrong.
    """
    get = environment.get
    policies = read(get("RETENTION_POLICIES", "[]"))
    try:
        given = Settings(
            policies=policies,
            owner=get("RETENTION_OWNER", ""),
            audit_schema=get("RETENTION_AUDIT_SCHEMA", "retention"),
            archive=Path(get("RETENTION_ARCHIVE", "/var/lib/mltrading-db/archive")),
            most_percent=float(get("RETENTION_MOST_PERCENT", "50")),
            most_rows=int(get("RETENTION_MOST_ROWS", "5000000")),
            batch_rows=int(get("RETENTION_BATCH_ROWS", "1000")),
            rest=float(get("RETENTION_REST", "2")),
            lag_bytes=int(get("RETENTION_LAG_MB", "64")) << 20,
            backlog_files=int(get("RETENTION_BACKLOG_FILES", "32")),
            longest_wait=float(get("RETENTION_LONGEST_WAIT", "600")),
            silence=timedelta(hours=float(get("RETENTION_SILENCE_HOURS", "24"))),
            reserve=int(get("RETENTION_RESERVE_MB", "1024")) << 20,
            lock_wait=float(get("RETENTION_LOCK_WAIT", "600")),
            reports=Path(get("RETENTION_REPORTS", "/var/lib/mltrading-db/reports")),
            reports_kept=int(get("RETENTION_REPORTS_KEPT", "30")),
        )
    except ValueError as error:
        raise SettingsError(f"a setting is not the number it should be: {error}") from error
    if min(given.most_rows, given.batch_rows, given.reports_kept) < 1 or min(given.most_percent, given.rest) < 0:
        raise SettingsError("rows, batches and reports are 1 or more, the share and the rest 0 or more")
    archives = [given.archive] if any(policy.archive for policy in policies) else []
    for folder in [given.reports, *archives]:
        if not os.access(folder, os.W_OK):
            raise SettingsError(f"{folder} is not a folder that this user writes to")
    return given
