"""Event triggers see twins. What they refuse is made in another way, or refused in words that are about twins."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import twin_queries
from .connection import Session
from .errors import ServerError
from .savepoint import Failed, kept

if TYPE_CHECKING:
    from .connection import Composable


def refusing(context: str | None, triggers: Sequence[tuple[str, str, str]]) -> str | None:
    """Return the event trigger whose function an error comes from.

    Args:
        context: of the error, the server's lines about where it was raised; the outermost is the last.
        triggers: name, and schema and name of the function, of each event trigger.
    """
    for line in reversed((context or "").splitlines()):
        for trigger, schema, function in triggers:
            own, of = re.escape(function), re.escape(schema)
            if re.search(rf'\bfunction "?(?:"?{of}"?\.)?"?{own}(?![\w$])', line):
                return trigger
    return None


def refused_by(session: Session, error: ServerError) -> str | None:
    """Return the event trigger that an error comes from; the transaction must be one that goes on."""
    if not error.context:
        return None
    rows = session.rows(twin_queries.EVENT_TRIGGERS)
    return refusing(error.context, [(row["name"], row["schema"], row["function"]) for row in rows])


def words(session: Session, error: ServerError) -> str:
    """Return what the server said, and where it was an event trigger, that this is about a twin."""
    trigger = refused_by(session, error)
    if trigger is None:
        return error.message
    return (
        f"event trigger {trigger} refuses the temporary twin by which definitions are compared: {error.message}; "
        "have its function let pass what is in the schema pg_temp"
    )


def make(session: Session, ways: Sequence[Composable]) -> None:
    """Make something in the first way that no event trigger refuses.

    Raises:
        ServerError: the last way is refused too, or one is by the server itself.
    """
    *others, last = ways
    for statement in others:
        try:
            with kept(session, "pgopt_make"):
                session.execute(statement)
                return
        except Failed as failed:
            if refused_by(session, failed.error) is None:
                raise failed.error from failed
    session.execute(last)
