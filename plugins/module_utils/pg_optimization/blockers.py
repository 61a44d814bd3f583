"""Who is in the way: asked after a lock timeout, before a build, and by a second connection during one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from . import blocker_queries as queries
from .action import Lock
from .connection import Row, Session, sql
from .errors import OptimizationError
from .model import Name

_WEAKEST_FIRST = [
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
]
# From the documentation's table "Conflicting Lock Modes": the modes that each one waits for.
_CONFLICTS = {
    "ACCESS SHARE": _WEAKEST_FIRST[7:],
    "ROW SHARE": _WEAKEST_FIRST[6:],
    "ROW EXCLUSIVE": _WEAKEST_FIRST[4:],
    "SHARE UPDATE EXCLUSIVE": _WEAKEST_FIRST[3:],
    "SHARE": ["ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", *_WEAKEST_FIRST[5:]],
    "SHARE ROW EXCLUSIVE": _WEAKEST_FIRST[2:],
    "EXCLUSIVE": _WEAKEST_FIRST[1:],
    "ACCESS EXCLUSIVE": _WEAKEST_FIRST,
}


def _internal(mode: str) -> str:
    return "".join(word.capitalize() for word in mode.split()) + "Lock"


def _oids(session: Session, names: Iterable[Name]) -> list[int]:
    known = list(dict.fromkeys(names))
    rows = session.rows(
        "SELECT c.oid::bigint AS oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE (n.nspname, c.relname) IN (SELECT * FROM unnest(%s::text[], %s::text[]))",
        ([name.schema for name in known], [name.name for name in known]),
    )
    return [row["oid"] for row in rows]


def holders(session: Session, locks: Iterable[Lock]) -> list[Row]:
    """Return the sessions that hold a lock which conflicts with one of those."""
    found: dict[tuple[Any, ...], Row] = {}
    for lock in locks:
        modes = [_internal(mode) for mode in _CONFLICTS[lock.mode]]
        for row in session.rows(queries.HOLDERS, (_oids(session, [lock.on]), modes)):
            found[row["pid"], row["holds"]] = row
    return list(found.values())


def holders_around(session: Session, names: Iterable[Name]) -> list[Row]:
    """Return the sessions that keep relations from being looked at: the holders of an ACCESS EXCLUSIVE lock there."""
    around = [row["oid"] for row in session.rows(queries.AROUND, (_oids(session, names),))]
    return session.rows(queries.HOLDERS, (around, [_internal("ACCESS EXCLUSIVE")]))


def of_build(session: Session, tables: Iterable[Name]) -> list[Row]:
    """Return the sessions that a concurrent build on these tables will wait for."""
    return session.rows(queries.BLOCKERS_OF_BUILD, (_oids(session, tables),))


def sentence(rows: Iterable[Row]) -> str:
    """Return blockers as a person reads them."""
    return "; ".join(f"{_who(row)}: {row['holds']}" for row in rows)


def _who(row: Row) -> str:
    application = row["application"] or "unnamed"
    since = f" for {row['transaction_seconds']:.0f} s" if row["transaction_seconds"] is not None else ""
    details = [row["user"], application if row["pid"] is not None else None, f"{row['state'] or 'working'}{since}"]
    head = f"pid {row['pid']}" if row["pid"] is not None else application
    return f"{head} ({', '.join(detail for detail in details if detail is not None)})"


class Watch:
    """Watches a concurrent build from a second connection, opened only when it takes longer than a moment.

    A build that does nothing but wait for other sessions longer than `patience` seconds is cancelled, and its blockers
    are kept in `blockers`. A connection that cannot be had costs the watching, not the build.
    """

    def __init__(self, session: Session, patience: float, pause: float = 0.5) -> None:
        """Watch what `session` is doing."""
        self.session = session
        self.patience = patience
        self.pause = pause
        self.blockers: list[Row] = []
        self.gave_up = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        if self._done.wait(self.pause):
            return
        try:
            other = self.session.another()
        except OptimizationError:
            return
        try:
            self._look(other)
        except OptimizationError:
            return
        finally:
            other.close()

    def _look(self, other: Session) -> None:
        pid = self.session.server.pid
        since: float | None = None
        while not self._done.wait(self.pause):
            rows = other.rows(queries.WATCH, (pid, pid))
            if not rows:
                since = None
                continue
            self.blockers = rows
            since = since if since is not None else time.monotonic()
            if time.monotonic() - since > self.patience:
                self.gave_up = True
                other.execute(sql.SQL("SELECT pg_cancel_backend({})").format(sql.Literal(pid)))
                return
