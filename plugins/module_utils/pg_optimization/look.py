"""Look at the database, without waiting in a lock for ever: who keeps it from being looked at is named."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from . import blockers
from .apply import Patience
from .catalog import observe
from .connection import Session
from .errors import LOCK_NOT_AVAILABLE, OptimizationError, ServerError
from .model import Declaration
from .normalise import normalise
from .sizes import with_sizes
from .state import Found
from .twins import Canonical


def _builds(found: Found, canonical: Canonical) -> bool:
    """Tell whether an index or a view is not there as it is declared."""
    have = found.indexes
    if any(name not in have or have[name].definition != wanted for name, wanted in canonical.indexes.items()):
        return True
    present = found.relations
    return any(name not in present or present[name].query != made.query for name, made in canonical.views.items())


def look(
    session: Session, wanted: Declaration, patience: Patience, sleep: Callable[[float], None] = time.sleep
) -> tuple[Found, Canonical]:
    """Return what the database has, and the declaration in the server's spelling.

    Columns, definitions and sizes are read under the weakest lock, which waits for whoever rewrites or drops a table.

    Raises:
        OptimizationError: a lock could not be had within the budget; the sessions that have it are named.
    """
    end = time.monotonic() + patience.lock_budget
    session.settings({"lock_timeout": f"{max(1, round(patience.lock_timeout * 1000))}ms"})
    while True:
        try:
            found = observe(session, wanted)
            canonical = normalise(session, wanted, found)
            return (with_sizes(session, found) if _builds(found, canonical) else found), canonical
        except ServerError as error:
            if error.sqlstate != LOCK_NOT_AVAILABLE:
                raise
            if time.monotonic() >= end:
                rows = blockers.holders_around(session, wanted.tables)
                message = f"the declared objects could not be looked at: {error.message}"
                if rows:
                    message += f"\nIn the way: {blockers.sentence(rows)}"
                raise OptimizationError(
                    message, sqlstate=error.sqlstate, statement=error.statement, blockers=rows
                ) from error
        sleep(patience.lock_timeout * random.uniform(0.1, 0.3))  # noqa: S311 - jitter, not a secret
