"""Watches a statement that waits for others: from a connection of its own, and only so long."""

from __future__ import annotations

import contextlib
import threading
import time

import psycopg2
from dbjob_session import Session

# Whom the session waits for; several after each other count as one wait.
WAITED_FOR = """
SELECT string_agg(
    format('pid %%s (%%s, %%s, transaction open for %%s)', a.pid,
           coalesce(nullif(a.application_name, ''), a.usename, '?'), coalesce(a.state, '?'),
           date_trunc('second', clock_timestamp() - a.xact_start)), '; ')
FROM unnest(pg_blocking_pids(%s)) AS b (pid) LEFT JOIN pg_stat_activity AS a USING (pid)
"""


class Watch:
    """Cancels what the session runs once it has done nothing but wait for other sessions for `patience` seconds.

    A connection that cannot be had costs the watching, and not the work.
    """

    def __init__(self, session: Session, patience: float) -> None:
        """Take whom to watch."""
        self.pid, self.patience = session.connection.get_backend_pid(), patience
        self.dsn = session.connection.info.dsn_parameters
        # Whom it waited for when it was given up; empty while it was not.
        self.blockers = ""
        self._pause = min(0.5, patience / 4)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        if self._done.wait(self._pause):
            return
        with contextlib.suppress(psycopg2.Error):
            known = {key: self.dsn[key] for key in ("host", "port", "user", "dbname") if key in self.dsn}
            with contextlib.closing(
                psycopg2.connect(**known, application_name="watch", client_encoding="UTF8")
            ) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    self._look(cursor)

    def _look(self, cursor: psycopg2.extensions.cursor) -> None:
        since: float | None = None
        while not self._done.wait(self._pause):
            cursor.execute(WAITED_FOR, [self.pid])
            (blockers,) = cursor.fetchone() or (None,)
            if not blockers:
                since = None
                continue
            since = since if since is not None else time.monotonic()
            if time.monotonic() - since > self.patience:
                self.blockers = blockers
                cursor.execute("SELECT pg_cancel_backend(%s)", [self.pid])
                return
