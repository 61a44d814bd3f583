"""Filters for roles: how their settings are written, when they expire, and what becomes of one."""

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


def settings_changes(found: Mapping[str, str], declared: Mapping[str, Any]) -> list[str]:
    """Return what becomes of a role's settings, a line each; spellings of one value are no change."""
    now = {name.lower(): text for name, text in found.items()}
    wanted = {name.lower(): setting_text(value) for name, value in declared.items()}
    changed = [
        name
        for name in sorted(now.keys() | wanted.keys())
        if name not in now or name not in wanted or comparable(name, now[name]) != comparable(name, wanted[name])
    ]
    return [
        f"{name} = {wanted[name]}{f' (now {now[name]})' if name in now else ''}" if name in wanted else f"no {name}"
        for name in changed
    ]


def role_changes(found: Mapping[str, Any] | None, declared: Mapping[str, Any], *, password: bool = False) -> list[str]:
    """Return what becomes of a role, a few words each; empty where the server has it as it is declared.

    `found` is one of `roles` of access_state.sql, or None; `declared` an item of postgresql_access_roles. `password` is
    whether the password is another one; a new role has one or none, which is not said.
    """
    attributes = {*(declared.get("attributes") or []), *(["LOGIN"] if declared.get("login", True) else [])}
    limit = int(declared.get("connection_limit", -1))
    settings = declared.get("settings") or {}
    if not found:
        groups = sorted(declared.get("member_of") or [])
        said = ["a new role", *sorted(attributes or {"NOLOGIN"}), *(f"a member of {group}" for group in groups)]
        return [*said, *([f"connection limit {limit}"] if limit >= 0 else []), *settings_changes({}, settings)]
    has = set(found["attributes"])
    said = [*sorted(attributes - has), *(f"NO{name}" for name in sorted(has - attributes))]
    if found["connection_limit"] != limit:
        said.append(f"connection limit {limit} (now {found['connection_limit']})")
    said += settings_changes(found["settings"], settings)
    if not expires_alike(found["expires"], declared.get("expires")):
        said.append(f"expires {declared.get('expires') or 'never'} (now {found['expires'] or 'never'})")
    return [*said, *(["another password"] if password else [])]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by their names in a template."""
        return {
            "role_settings": role_settings,
            "role_changes": role_changes,
            "is_instant": is_instant,
            "is_setting_of": is_setting_of,
            "roles_by_state": roles_by_state,
        }
