"""Work behind a savepoint that leaves nothing, and whether the server's error is about what was asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .connection import Session
from .errors import ServerError

# Not the declaration's fault: connection, transaction rollback, resources, lock timeout, operator, system.
NOT_A_REFUSAL = ("08", "40", "53", "55P03", "57", "58", "XX")


class Failed(Exception):  # noqa: N818 - control flow of the files of twins
    """The work on one object was refused by the server."""

    def __init__(self, error: ServerError) -> None:
        """Keep the server's error."""
        super().__init__(error.message)
        self.error = error


def _refused(error: ServerError) -> bool:
    return error.sqlstate is not None and not error.sqlstate.startswith(NOT_A_REFUSAL)


@contextmanager
def undone(session: Session, savepoint: str) -> Iterator[None]:
    """Run a block behind a savepoint and undo it.

    Raises:
        Failed: the server refuses what was asked.
    """
    session.execute(f"SAVEPOINT {savepoint}")
    try:
        yield
    except ServerError as error:
        if _refused(error):
            raise Failed(error) from error
        raise
    finally:
        if not session.connection.closed:
            session.execute(f"ROLLBACK TO SAVEPOINT {savepoint}")


@contextmanager
def kept(session: Session, savepoint: str) -> Iterator[None]:
    """Run a block behind a savepoint, and undo it only where it fails.

    Raises:
        Failed: the server refuses what was asked.
    """
    session.execute(f"SAVEPOINT {savepoint}")
    try:
        yield
    except ServerError as error:
        if not _refused(error):
            raise
        session.execute(f"ROLLBACK TO SAVEPOINT {savepoint}")
        raise Failed(error) from error
    session.execute(f"RELEASE SAVEPOINT {savepoint}")
