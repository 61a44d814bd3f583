"""The record of runs: one folder each, with the masked events and what came of it. The last KEPT are there."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mltrading_db.cli.environment import Environment, make_private

KEPT = 30


class Record:
    """The folder of one run, a context manager: events are written as they come."""

    def __init__(self, environment: Environment, command: str) -> None:
        """Make the folder, and remove the oldest ones."""
        runs = make_private(environment.state / "runs")
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self.folder = make_private(runs / f"{stamp}-{command}")
        for old in sorted(path for path in runs.iterdir() if path.is_dir())[:-KEPT]:
            shutil.rmtree(old)
        self.events = (self.folder / "events.jsonl").open("w", encoding="utf-8")

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the file of events."""
        self.events.close()

    def write_event(self, event: dict[str, Any]) -> None:
        """Write an event, which has been masked."""
        self.events.write(json.dumps(event, ensure_ascii=False) + "\n")

    def write_result(self, result: dict[str, Any]) -> None:
        """Write what came of the run."""
        (self.folder / "result.json").write_text(
            json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def results(environment: Environment) -> list[tuple[Path, dict[str, Any]]]:
    """The runs that are kept, the newest first; one that was killed has no result."""
    found = []
    for path in sorted((environment.state / "runs").glob("*/result.json"), reverse=True):
        found.append((path.parent, json.loads(path.read_text(encoding="utf-8"))))
    return found
