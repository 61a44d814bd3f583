"""What a job of maintenance is given, and how it does one thing after another whatever comes of each."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from dbjob_report import Report, Step, say, step_text
from dbjob_session import JobError, Session, SettingsError, StoppedError, identifier
from psycopg2 import sql

QUERIES = Path(__file__).resolve().parent / "sql" / "maintenance"


@dataclass(frozen=True)
class Settings:
    """What the environment says."""

    vacuum_tables: list[str]
    views: list[str]
    bloat_percent: float
    nodes: dict[str, str]
    lock_wait: float
    statement_timeout: float
    build_wait: float
    cost_delay: float
    reports: Path
    reports_kept: int


def settings(environment: dict[str, str]) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: one is wrong.
    """
    try:
        read = Settings(
            vacuum_tables=environment.get("MAINTENANCE_VACUUM_TABLES", "").split(),
            views=environment.get("MAINTENANCE_VIEWS", "").split(),
            bloat_percent=float(environment.get("MAINTENANCE_BLOAT_PERCENT", "50")),
            nodes=dict(json.loads(environment.get("MAINTENANCE_NODES", "{}"))),
            lock_wait=float(environment.get("MAINTENANCE_LOCK_WAIT", "600")),
            statement_timeout=float(environment.get("MAINTENANCE_STATEMENT_TIMEOUT", "3600")),
            build_wait=float(environment.get("MAINTENANCE_BUILD_WAIT", "300")),
            cost_delay=float(environment.get("MAINTENANCE_COST_DELAY", "2")),
            reports=Path(environment.get("MAINTENANCE_REPORTS", "/var/lib/mltrading-db/reports")),
            reports_kept=int(environment.get("MAINTENANCE_REPORTS_KEPT", "30")),
        )
    except (TypeError, ValueError) as error:
        raise SettingsError(f"a setting is not what it should be: {error}") from error
    if read.bloat_percent <= 0 or read.reports_kept < 1:
        raise SettingsError("MAINTENANCE_BLOAT_PERCENT is above 0, and MAINTENANCE_REPORTS_KEPT 1 or more")
    if not os.access(read.reports, os.W_OK):
        raise SettingsError(f"MAINTENANCE_REPORTS: {read.reports} is not a folder that this user writes to")
    for name in read.vacuum_tables + read.views:
        identifier(name)
    return read


class Steps:
    """A run of one of the jobs: its session, and the report that its steps go to."""

    def __init__(self, job: str, session: Session, given: Settings) -> None:
        """Take what the steps need."""
        self.session, self.given = session, given
        self.report = Report(f"maintenance_{job}", session.value("SELECT current_database()"), socket.gethostname())

    def step(self, title: str, work: Callable[[], Step]) -> None:
        """Do one thing, and go on with the next whatever comes of it, unless a signal came."""
        begin = time.monotonic()
        try:
            step = work()
        except StoppedError as error:
            self.add(Step(title, "failed", str(error)), begin)
            raise
        except (JobError, psycopg2.Error, OSError) as error:
            step = Step(title, "failed", str(error).strip())
        self.add(step, begin)

    def add(self, step: Step, begin: float) -> None:
        """Add a step to the report, and show it."""
        step.seconds = time.monotonic() - begin
        self.report.steps.append(step)
        say(step_text(step))

    def gently(self, title: str, statement: sql.Composable) -> None:
        """Run a VACUUM or ANALYZE that leaves the disk to others now and then."""
        self.act(title, statement, vacuum_cost_delay=f"{self.given.cost_delay:g}ms")

    def act(self, title: str, statement: sql.Composable, **settings: str) -> None:
        """Run one statement under the lock, with other settings of the session than its own."""

        def work() -> Step:
            with self.session.lock(self.given.lock_wait), self.session.settings(**settings):
                self.session.run(statement)
            return Step(title, "done")

        self.step(title, work)

    def listed(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a query that says what to do; where it fails, that is a step."""
        begin = time.monotonic()
        try:
            return self.query(name)
        except JobError as error:
            self.session.check()
            self.add(Step(title_of(name), "failed", str(error)), begin)
            return []

    def query(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a query in sql/maintenance/."""
        return self.session.run((QUERIES / f"{name}.sql").read_text(encoding="utf-8"))

    def check(self, name: str) -> None:
        """Report the rows of a query."""
        title = title_of(name)
        self.step(title, lambda: Step(title, "done", rows=self.query(name)))


def title_of(query: str) -> str:
    """Return a query's title, which its first line is."""
    with (QUERIES / f"{query}.sql").open(encoding="utf-8") as lines:
        return lines.readline().removeprefix("-- ").strip()
