"""The advisory lock that excludes another run and the maintenance jobs. Released by the end of the session."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from .connection import Session
from .errors import RefusedError

# Session level, one per database: maintenance jobs that build, vacuum or refresh take the same one.
KEY = (1885826928, 1)  # 0x70676f70, "pgop"

_HOLDS = """
SELECT 1 FROM pg_catalog.pg_locks
WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND objsubid = 2 AND granted
  AND pid = pg_catalog.pg_backend_pid()
  AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
"""

_HOLDER = """
SELECT l.pid, a.usename, a.application_name, a.state, left(a.query, 200) AS query
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = %s AND l.objsubid = 2 AND l.granted
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
"""


def take(session: Session) -> bool:
    """Try once for the lock."""
    return bool(session.row("SELECT pg_catalog.pg_try_advisory_lock(%s, %s) AS taken", KEY)["taken"])


def holds(session: Session) -> bool:
    """Tell whether this very session holds the lock: not after a reconnection or behind a transaction pooler."""
    return bool(session.rows(_HOLDS, KEY))


def take_within(session: Session, seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Poll for the lock, with jitter, and never wait in it: a waiting statement has a snapshot that builds wait for.

    Raises:
        RefusedError: another session kept the lock; it is named.
    """
    end = time.monotonic() + seconds
    pause = 0.05
    while not take(session):
        if time.monotonic() >= end:
            holders = session.rows(_HOLDER, KEY)
            raise RefusedError(
                f"another run or a maintenance job holds the lock of this database since more than {seconds:g} s: "
                + "; ".join(f"pid {row['pid']} ({row['application_name']}, {row['usename']})" for row in holders),
                blockers=holders,
            )
        sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
        pause = min(pause * 2, 2.0)
