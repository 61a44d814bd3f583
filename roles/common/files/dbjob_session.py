"""The session of a job: a WARNING is a failure, a signal ends what runs, the lock is the optimization module's.

Installed beside the scripts that import it. Where the server is and who logs in are libpq's own variables (PGHOST,
PGPORT, PGUSER, PGDATABASE). Debian's Python 3.11 and python3-psycopg2.
"""

from __future__ import annotations

import contextlib
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import psycopg2.extras
from psycopg2 import sql

# Session level, one per database. The module postgresql_optimization takes the same one.
LOCK = (1885826928, 1)

# Unqualified names are of the catalog or of public, times are UTC, and a statement whose client was killed ends by
# itself. Whoever waits for a lock is in front of others who want one: half a minute at most. Rows that a policy of
# row-level security hides are an error, and not taken for rows that are not there.
SETTINGS = {
    "search_path": "pg_catalog, public",
    "TimeZone": "UTC",
    "client_min_messages": "warning",
    "client_connection_check_interval": "5s",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": "30s",
    "row_security": "off",
}
# Of PostgreSQL 17: it would end a build half-way, and leave it INVALID.
SINCE_17 = {"transaction_timeout": "0"}
PG_17 = 170000
# What everybody waits behind waits a tenth of a second, lets go, and waits longer the next time, up to a second.
SHORTEST, LONGEST, BUDGET = 0.1, 1.0, 60.0
LOCK_NOT_AVAILABLE = "55P03"

HOLDER = """
SELECT 'pid ' || l.pid || ' (' || coalesce(nullif(a.application_name, ''), a.usename, '?') || ')' AS holder
FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = %s AND l.objsubid = 2 AND l.granted
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class JobError(Exception):
    """Something that the job did not get done; says what, and the way out."""


class SettingsError(JobError):
    """The job's settings are wrong, and nothing was done."""


class BusyError(JobError):
    """Somebody else is at it."""


class StoppedError(JobError):
    """A signal ended the job."""


class Session:
    """A connection in autocommit mode whose statements SIGTERM and SIGINT cancel."""

    def __init__(self, name: str, statement_timeout: float = 0) -> None:
        """Connect; `statement_timeout` in seconds, 0 for none."""
        options = {**SETTINGS, "statement_timeout": milliseconds(statement_timeout)}
        escaped = {key: value.replace(" ", r"\ ") for key, value in options.items()}
        self.stopping = threading.Event()
        self._ended, self._cancelling = threading.Event(), threading.Lock()
        self.connection = psycopg2.connect(
            application_name=name,
            client_encoding="UTF8",
            options=" ".join(f"-c {key}={value}" for key, value in escaped.items()),
        )
        self.connection.autocommit = True
        for setting, value in SINCE_17.items() if self.connection.server_version >= PG_17 else ():
            self.run("SELECT set_config(%s, %s, false)", [setting, value])

    def watch_signals(self) -> None:
        """From now on a SIGTERM or SIGINT cancels the statement that runs, and those that follow raise StoppedError.

        libpq goes on waiting when a signal comes, and Python's handlers run only afterwards: so a thread waits for the
        signal. Call it from the main thread, before any other thread is started.
        """
        signals = {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)

        def wait() -> None:
            signal.sigwait(signals)
            with self._cancelling:
                if self._ended.is_set():
                    return
                self.stopping.set()
            # Again and again: the first may come between two statements. Under a lock: once the end is accepted no
            # cancelling is under way.
            while not self._ended.wait(0.1):
                with self._cancelling, contextlib.suppress(psycopg2.Error):
                    if not self._ended.is_set():
                        self.connection.cancel()

        threading.Thread(target=wait, daemon=True).start()

    def run(self, statement: Any, values: Any = None) -> list[dict[str, Any]]:
        """Run a statement and return its rows.

        Raises:
            StoppedError: a signal came.
            JobError: the server refused, or warned: a WARNING "skipping" is a thing not done.
        """
        with self._cursor() as cursor:
            cursor.execute(statement, values)
            return [dict(row) for row in cursor.fetchall()] if cursor.description else []

    def copy(self, query: str, target: Any) -> None:
        """Write the rows of a query as CSV into something that has `write`; raises as `run` does."""
        with self._cursor() as cursor:
            cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT csv)", target)

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[Any]:
        self.check()
        self.connection.notices.clear()
        try:
            with self.connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
                yield cursor
        except psycopg2.Error as error:
            self.check()
            raise JobError(said(error)) from error
        except (ValueError, OverflowError) as error:
            # A time that is none in Python: a year before 1 or after 9999, an interval of more than 2.7 million years.
            raise JobError(f"the server's answer cannot be held: {error}") from error
        if warnings := [notice.strip() for notice in self.connection.notices if notice.startswith("WARNING")]:
            raise JobError("; ".join(warnings))

    def value(self, statement: Any, values: Any = None) -> Any:
        """Run a statement and return the first value of its first row."""
        return next(iter(self.run(statement, values)[0].values()))

    def check(self) -> None:
        """Raise StoppedError where a signal came."""
        if self.stopping.is_set():
            raise StoppedError("stopped by a signal; the next run goes on")

    def sleep(self, seconds: float) -> None:
        """Sleep until then, or until a signal comes."""
        self.stopping.wait(seconds)
        self.check()

    def try_once(self, statement: Any, values: Any = None) -> None:
        """Run a statement that tidies up, also after a signal, whose cancelling may hit it."""
        with contextlib.suppress(psycopg2.Error):
            try:
                self._execute(statement, values)
            except psycopg2.errors.QueryCanceled:
                self._execute(statement, values)

    def _execute(self, statement: Any, values: Any = None) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values)

    def accept_stop(self) -> None:
        """Cancel nothing any more, whatever signal comes: what follows is the end of the job."""
        with self._cancelling:
            self._ended.set()
            self.stopping.clear()
        # What was sent before is taken by this one.
        self.try_once("SELECT 1")

    def run_shortly(self, statement: Any, budget: float = BUDGET) -> None:
        """Run a statement whose lock shuts everybody out, and who waits for it is in front of all of them.

        Raises:
            JobError: the lock was not to be had within `budget` seconds.
        """
        end, wait = time.monotonic() + budget, SHORTEST
        while True:
            try:
                with self.settings(lock_timeout=milliseconds(wait)):
                    self.run(statement)
                return
            except JobError as error:
                if getattr(error.__cause__, "pgcode", None) != LOCK_NOT_AVAILABLE or time.monotonic() >= end:
                    raise
            self.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
            wait = min(2 * wait, LONGEST)

    @contextlib.contextmanager
    def settings(self, **values: str) -> Iterator[None]:
        """Have other settings inside, and those of the session's start again afterwards."""
        for name, value in values.items():
            self.run("SELECT set_config(%s, %s, false)", [name, value])
        try:
            yield
        finally:
            for name in values:
                self.try_once(sql.SQL("RESET {}").format(sql.Identifier(name)))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is run inside, or nothing of it."""
        self.run("BEGIN")
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            self.try_once("ROLLBACK")
            raise

    @contextlib.contextmanager
    def lock(
        self, seconds: float, key: tuple[int, int] = LOCK, before: Callable[[], object] = lambda: None
    ) -> Iterator[None]:
        """Hold an advisory lock, by default the one that the optimization module takes too.

        Polled with jitter, and never waited in: a waiting statement has a snapshot that concurrent builds wait for.
        `before` is called ahead of each attempt, and may raise what makes the lock needless.

        Raises:
            BusyError: somebody else kept it for so many seconds.
        """
        end = time.monotonic() + seconds
        pause = 0.05
        before()
        while not self.value("SELECT pg_try_advisory_lock(%s, %s)", key):
            if time.monotonic() >= end:
                holders = ", ".join(row["holder"] for row in self.run(HOLDER, key))
                raise BusyError(f"{holders or 'somebody'} held the lock of this database for more than {seconds:g} s")
            self.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
            pause = min(pause * 2, 2.0)
            before()
        try:
            yield
        finally:
            # Where that fails, the end of the session gives it back.
            self.try_once("SELECT pg_advisory_unlock(%s, %s)", key)

    def close(self) -> None:
        """End the session, and with it what it holds."""
        self._ended.set()
        self.connection.close()


def milliseconds(seconds: float) -> str:
    """Return a time as the server's settings take it."""
    return f"{int(seconds * 1000)}ms"


def said(error: psycopg2.Error) -> str:
    """Return the server's own words, on one line."""
    return " ".join((error.diag.message_primary or str(error)).split())


def identifier(name: str) -> sql.Identifier:
    """Return schema.name, as format('%I.%I') or a setting has it, as an identifier.

    Raises:
        SettingsError: it is something else.
    """
    parts = re.findall(r'(?:^|\.)(?:"((?:[^"]|"")+)"|([a-z_][a-z0-9_$]*))', name)
    whole = ".".join(f'"{quoted}"' if quoted else plain for quoted, plain in parts)
    if len(parts) != len(("schema", "name")) or whole != name:
        raise SettingsError(f"'{name}' is not a schema and a name, as public.orders")
    return sql.Identifier(*(quoted.replace('""', '"') or plain for quoted, plain in parts))


def quoted(name: sql.Identifier) -> str:
    """Return an identifier as to_regclass reads it."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.strings)
