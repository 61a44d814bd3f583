"""What goes wrong: errors that carry the server's words, its code and the statement."""

from __future__ import annotations

from typing import Any

LOCK_NOT_AVAILABLE = "55P03"
DEADLOCK = "40P01"
CONNECTION_FAILURE = "08006"
UNDEFINED_TABLE = "42P01"
INSUFFICIENT_PRIVILEGE = "42501"


class OptimizationError(Exception):
    """What the module reports as its failure."""

    def __init__(self, message: str, **facts: Any) -> None:
        """Keep the message and the facts that the result carries beside it."""
        super().__init__(message)
        self.message = message
        self.facts = facts


class ServerError(OptimizationError):
    """An error of the server, with its sqlstate and the statement."""

    def __init__(self, message: str, sqlstate: str | None, statement: str | None, context: str | None = None) -> None:
        """Keep the server's message, its five-character code, what was running, and in which functions."""
        super().__init__(message, sqlstate=sqlstate, statement=statement)
        self.sqlstate = sqlstate
        self.statement = statement
        self.context = context


class RefusedError(OptimizationError):
    """A connection or a declaration that is refused before the first change."""


def server_error(error: Exception, statement: str | None) -> ServerError:
    """Return the driver's error as one of ours, with the detail and the hint that say what to do."""
    diagnostics = getattr(error, "diag", None)
    primary = getattr(diagnostics, "message_primary", None) or str(error).strip() or type(error).__name__
    parts = [primary]
    for label, attribute in (("DETAIL", "message_detail"), ("HINT", "message_hint")):
        if text := getattr(diagnostics, attribute, None):
            parts.append(f"{label}: {text}")
    context = getattr(diagnostics, "context", None)
    return ServerError("\n".join(parts), getattr(error, "pgcode", None), statement, context)
