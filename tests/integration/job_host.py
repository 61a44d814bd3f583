"""A job's script as a host has it: beside what it imports, in a process of its own, with cron's environment."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servers import Server

if TYPE_CHECKING:
    from conftest import Database

ROLES = Path(__file__).resolve().parents[2] / "roles"
SHARED = ("dbjob_clock.py", "dbjob_report.py", "dbjob_session.py", "dbjob_watch.py")


@dataclass
class Run:
    """How a run ended."""

    code: int
    output: str


@dataclass
class JobHost:
    """A folder with the scripts of a role, and the settings of its jobs."""

    folder: Path
    settings: dict[str, str]

    def environment(self, server: Server, database: str, **settings: str) -> dict[str, str]:
        """Return what a job of cron has, and no more."""
        where = {"PGHOST": str(server.home), "PGPORT": str(server.port), "PGDATABASE": database, "PGUSER": "postgres"}
        # On a host the folder is root's, and Python writes nothing into it.
        cron = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        return {**cron, **where, **self.settings, **settings}

    def command(self, *arguments: str) -> list[str]:
        """Return the command of a script: Debian's Python has no psycopg2 here, the tests' own has."""
        return [sys.executable, str(self.folder / arguments[0]), *arguments[1:]]

    def run(self, db: Database, *arguments: str, **settings: str) -> Run:
        """Run a script to its end."""
        return self.run_on(db.server, db.name, *arguments, **settings)

    def run_on(self, server: Server, database: str, *arguments: str, **settings: str) -> Run:
        """Run a script against another server."""
        # A script that may write no larger file is one whose disk is full.
        limit = int(settings.pop("largest_file", "-1"))
        done = subprocess.run(
            self.command(*arguments),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
            env=self.environment(server, database, **settings),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, timeout=300,
        )  # fmt: skip
        assert "Traceback" not in done.stdout, done.stdout
        return Run(done.returncode, done.stdout)

    def start(self, db: Database, *arguments: str, **settings: str) -> Background:
        """Start a script, and go on."""
        process = subprocess.Popen(
            self.command(*arguments),
            env=self.environment(db.server, db.name, **settings),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        return Background(process)

    @property
    def reports(self) -> list[dict[str, Any]]:
        """Return the reports, the oldest first."""
        return [
            json.loads(path.read_text())
            for path in sorted((self.folder / "reports").glob("*.json"), key=os.path.getmtime)
        ]


@dataclass
class Background:
    """A script that is running."""

    process: subprocess.Popen[str]

    def end(self) -> Run:
        """Wait for its end."""
        output, _ = self.process.communicate(timeout=120)
        assert "Traceback" not in output, output
        return Run(self.process.returncode, output)

    def terminate(self) -> Run:
        """Ask it to end, as dbjob does at the time limit."""
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def kill(self) -> Run:
        """Take its process away, as the kernel does that has no memory left."""
        self.process.kill()
        return self.end()


def install(role: str, folder: Path, **settings: str) -> JobHost:
    """Lay a role's job files and what they import into a folder, as the hosts have them."""
    shutil.copytree(ROLES / role / "files" / "jobs", folder, dirs_exist_ok=True)
    for name in SHARED:
        shutil.copy(ROLES / "common" / "files" / name, folder)
    (folder / "reports").mkdir()
    return JobHost(folder, settings)


def until(condition: Callable[[], Any], seconds: float = 300.0) -> Any:
    """Wait for something to become true, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


class Latencies:
    """A client that does one thing over and over, with a pause, and keeps the time that each took."""

    def __init__(self, db: Database, work: Callable[[Any], object], pause: float = 0.002) -> None:
        """Take the work, which is given a cursor, and the pause after each time, in seconds."""
        self.db, self.work, self.pause = db, work, pause
        self.errors: list[str] = []
        self._taken: list[float] = []
        self._stop = threading.Event()

    def _run(self) -> None:
        with contextlib.closing(self.db.connect()) as connection, connection.cursor() as cursor:
            while not self._stop.wait(self.pause):
                begin = time.perf_counter()
                try:
                    self.work(cursor)
                except Exception as error:
                    self.errors.append(f"{type(error).__name__}: {error}")
                self._taken.append(1000 * (time.perf_counter() - begin))

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Let the client work around a block."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(30)

    def percentiles(self) -> dict[int, float]:
        """Return the percentiles 50 and 99 in ms since the last call."""
        taken, self._taken = sorted(self._taken), []
        return {percent: taken[min(len(taken) - 1, len(taken) * percent // 100)] for percent in (50, 99)}
