"""Filters for roles: how their settings are written, when they expire, and whether the server has another one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

# Settings whose value is a list of names, each of them quoted by itself (GUC_LIST_QUOTE of guc_tables.c),
LISTS_OF_NAMES = frozenset({"local_preload_libraries", "search_path", "session_preload_libraries", "temp_tablespaces"})
# of which each is either quoted, with a quote within doubled, or has no quote and no comma.
PART = r'\s*(?:"((?:[^"]|"")*)"|([^",]*?))\s*'
LIST = re.compile(f"{PART}(?:,{PART})*")
NEVER = "infinity"


def names_of(value: str) -> list[str]:
    """Return the names of a list as the server reads it: what is not quoted is in lower case.

    Raises:
        ValueError: a quote is not closed, or something stands beside it.
    """
    if not LIST.fullmatch(value):
        msg = f"{value!r} is no list of names: a quote is not closed, or something stands beside one"
        raise ValueError(msg)
    names = (quoted.replace('""', '"') or plain.lower() for quoted, plain in re.findall(rf"{PART}(?:,|\Z)", value))
    return [name for name in names if name]


def setting_text(value: Any) -> str:
    """Return a value as the server has it: YAML's true is on."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def literal(text: str) -> str:
    """Return a text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def role_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings as ALTER ROLE ... SET has them: a literal, or one for each name of a list."""
    written = {}
    for name, value in settings.items():
        text = setting_text(value)
        parts = names_of(text) if name.lower() in LISTS_OF_NAMES else [text]
        written[name] = ", ".join(map(literal, parts)) or "''"
    return written


def instant(text: Any) -> datetime | None:
    """Return the instant that a text names, None for never; raises ValueError where it is none, or has no offset."""
    written = str(text).strip()
    if written.lower() == NEVER:
        return None
    found = datetime.fromisoformat(re.sub(r"\s*(?:Z|UTC)\Z", "+00:00", written))
    if found.tzinfo is None:
        msg = f"{written!r} has no offset from UTC"
        raise ValueError(msg)
    return found


def is_instant(text: Any) -> bool:
    """Tell whether a text names an instant, or never."""
    try:
        instant(text)
    except ValueError:
        return False
    return True


def comparable(name: str, text: str) -> str | list[str]:
    """Return a setting's value in a form that is the same for all its spellings; raises ValueError as `names_of`."""
    return names_of(text) if name.lower() in LISTS_OF_NAMES else text


def is_setting_of(value: Any, name: str) -> bool:
    """Tell whether a value can be written as that setting's: one line; a list of names must be readable."""
    text = setting_text(value)
    if re.search(r"[\r\n\0]", text):
        return False
    try:
        comparable(name, text)
    except ValueError:
        return False
    return True


def roles_by_state(roles: Sequence[Mapping[str, Any]], state: str) -> list[Mapping[str, Any]]:
    """Return the roles that are declared to be `present`, which is the default, or `absent`, in their order."""
    return [role for role in roles if role.get("state", "present") == state]


def expires_alike(found: str | None, declared: Any) -> bool:
    """Tell whether a role of the server expires when the declared one does. What is not declared never expires."""
    try:
        return instant(found or NEVER) == instant(declared or NEVER)
    except ValueError:
        # A year that Python does not have, or BC: nothing that can be declared.
        return False


def role_differs(found: Mapping[str, Any] | None, declared: Mapping[str, Any]) -> bool:
    """Tell whether the server has another role than the declared one; its password is not looked at.

    `found` is one of `roles` of access_state.sql, or None; `declared` an item of postgresql_access_roles.
    """
    if not found:
        return True
    attributes = {*(declared.get("attributes") or []), *(["LOGIN"] if declared.get("login", True) else [])}
    settings = {
        name.lower(): comparable(name, setting_text(value)) for name, value in (declared.get("settings") or {}).items()
    }
    return (
        set(found["attributes"]) != attributes
        or found["connection_limit"] != int(declared.get("connection_limit", -1))
        or {name.lower(): comparable(name, value) for name, value in found["settings"].items()} != settings
        or not expires_alike(found["expires"], declared.get("expires"))
    )


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by their names in a template."""
        return {
            "role_settings": role_settings,
            "role_differs": role_differs,
            "is_instant": is_instant,
            "is_setting_of": is_setting_of,
            "roles_by_state": roles_by_state,
        }
