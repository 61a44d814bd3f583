"""The age of a backup: of one that was checked when it was taken, and that the repository still has."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import health_files
import pytest
from health_checks import Check, judged

HOUR = 3600
CHECK = Check(
    "backup_age", "Age", unit="seconds", warning=26 * HOUR, critical=48 * HOUR, jobs=("backup_full",), kept=True
)
Age = Callable[[list[dict[str, Any]] | str], dict[str, Any]]


def backup(label: str, hours: int, *, error: bool = False) -> dict[str, Any]:
    """A backup that ended so many hours ago, as pgBackRest describes it."""
    return {"label": label, "error": error, "timestamp": {"stop": int(time.time()) - hours * HOUR}}


@pytest.fixture
def age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Age:
    """The row of the check where the job succeeded an hour ago, by what the repository says."""
    monkeypatch.setattr(health_files, "CRON", tmp_path)
    monkeypatch.setattr(health_files, "STATE", tmp_path)
    monkeypatch.setattr(health_files, "CONFIGURATION", tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "mltrading-db-backup_full").write_text("30 22 * * * root dbjob backup_full\n")
    (tmp_path / "status").mkdir()
    succeeded = datetime.fromtimestamp(time.time() - HOUR, UTC).isoformat()
    (tmp_path / "status/backup_full.json").write_text(json.dumps({"state": "ok", "last_success": succeeded}))

    def ask(backups: list[dict[str, Any]] | str) -> dict[str, Any]:
        said = f"echo '{json.dumps([{'backup': backups}])}'" if isinstance(backups, list) else backups
        (tmp_path / "pgbackrest").write_text(f"#!/bin/sh\n{said}\n")
        (tmp_path / "pgbackrest").chmod(0o755)
        return health_files.job_age(CHECK, None, {})[0]  # type: ignore[arg-type]

    return ask


@pytest.mark.parametrize(
    ("backups", "hours", "state", "detail"),
    [
        pytest.param([backup("old", 50), backup("new", 1)], 1, "ok", "new", id="the newest is there"),
        pytest.param([backup("old", 50)], 50, "critical", "old", id="the newest was deleted"),
        pytest.param(
            [backup("old", 30), backup("new", 1, error=True)], 30, "warning", "old", id="the newest is damaged"
        ),
        pytest.param([backup("new", 0)], 1, "ok", "backup_full", id="one was taken that nobody has checked"),
    ],
)
def test_a_backup_counts_while_the_repository_has_it(
    age: Age, backups: list[dict[str, Any]], hours: int, state: str, detail: str
) -> None:
    found = age(backups)
    assert (CHECK.state_of(found["value"]), found["detail"]) == (state, detail)
    assert found["value"] >= hours * HOUR


def test_where_all_backups_were_deleted_is_critical(age: Age) -> None:
    found = judged(CHECK, [age([])])
    assert (found.state, found.value) == ("critical", None)
    assert "the repository has none any more" in found.text


def test_a_repository_that_does_not_answer_is_unknown(age: Age) -> None:
    with pytest.raises(RuntimeError, match="pgbackrest info: no such stanza"):
        age("echo no such stanza >&2; exit 56")
