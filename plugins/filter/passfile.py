r"""A filter for password files of libpq, where `:` parts the fields and `\` escapes (libpq-pgpass in the manual).

It is a filter because Ansible doubles a backslash in an expression of a variable: an escape written there becomes two.
"""

from __future__ import annotations

from collections.abc import Callable


def pgpass_line(password: str, host: str, port: int | str, database: str, user: str) -> str:
    """Return the line that gives a role's password; `*` in the place of a field stands for any.

    Raises:
        ValueError: a field holds the end of a line, which no line can carry.
    """
    fields = [str(field) for field in (host, port, database, user, password)]
    if any(sign in field for field in fields for sign in "\r\n\0"):
        msg = f"a line of a password file for {user} at {host} cannot carry the end of a line"
        raise ValueError(msg)
    return ":".join(field.replace("\\", "\\\\").replace(":", "\\:") for field in fields)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by their names in a template."""
        return {"pgpass_line": pgpass_line}
