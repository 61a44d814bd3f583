"""What PostgreSQL would refuse of a setting: a name that it does not have, or a value that it does not take.

The servers' own catalogs are the source, a file for each major that a supported release carries (server_settings.sql
makes them; tests/integration/test_server_settings.py holds them and the rules below against real servers). Which major
a host has is known on the host alone: what one of them takes is taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

Setting = Mapping[str, Any]
MAJORS = (15, 17)
# Bytes and microseconds (guc.c, memory_unit_conversion_table and time_unit_conversion_table).
BYTES = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
MICROSECONDS = {"us": 1, "ms": 1000, "s": 10**6, "min": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6}
NUMBER = re.compile(r"\s*([+-]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))\s*([A-Za-z]*)\s*")
UNIT = re.compile(r"(\d*)(\w+)")
# guc.c, parse_bool: each word may be shortened as long as it is one of them alone.
TRUE_AND_FALSE = ("true", "false", "yes", "no", "on", "off", "1", "0")
# Words that pg_settings does not show, as they are old names of others (guc_tables.c).
OLD_WORDS = {"debug", "fatal", "panic", "archive", "hot_standby"}
# A setting of a role that pg_settings does not show (guc_tables.c, GUC_NO_SHOW_ALL): whom its sessions are.
NOT_SHOWN = "role"


@cache
def catalog(major: int) -> Mapping[str, Setting]:
    """The settings of a major by their names in lower case, each with the name as it is written."""
    path = Path(__file__).with_name(f"server_settings_{major}.json")
    found = json.loads(path.read_text(encoding="utf-8"))
    return {name.lower(): {"name": name, **setting} for name, setting in found.items()}


def is_boolean(text: str) -> bool:
    """Whether the server reads a text as true or false."""
    word = text.strip().lower()
    return bool(word) and word != "o" and any(one.startswith(word) for one in TRUE_AND_FALSE)


def measured(text: str, unit: str) -> float | None:
    """A number in a setting's unit; None where the text is none, or has a unit of another kind."""
    found = NUMBER.fullmatch(text)
    if not found:
        return None
    digits, given = found.groups()
    number = float(int(digits, 16)) if "x" in digits.lower() else float(digits)
    if not given:
        return number
    own = UNIT.fullmatch(unit or "")
    table = next((table for table in (BYTES, MICROSECONDS) if own and own[2] in table), {})
    if own is None or given not in table:
        return None
    return number * table[given] / (int(own[1] or 1) * table[own[2]])


def units_of(setting: Setting) -> str:
    """The units that a setting takes, as words."""
    own = UNIT.fullmatch(setting.get("unit") or "")
    table = next((table for table in (BYTES, MICROSECONDS) if own and own[2] in table), {})
    return f", with {', '.join(table)} or without a unit" if table else ""


def value_problem(setting: Setting, value: Any) -> str:
    """What is wrong with a setting's value; empty for nothing, and for a text, which only the server judges."""
    text, kind = str(value), setting["kind"]
    if kind == "bool":
        return "" if is_boolean(text) else "it is on or off"
    if kind == "enum":
        words = setting["words"]
        known = text.lower() in {*map(str.lower, words), *OLD_WORDS}
        either = is_boolean(text) and bool({"on", "off"} & set(words))
        return "" if known or either else f"it is one of {', '.join(words)}"
    if kind not in ("integer", "real"):
        return ""
    number = measured(text, setting.get("unit") or "")
    if number is None:
        return f"it is a number{units_of(setting)}"
    number = round(number) if kind == "integer" else number
    low, high = setting["low"], setting["high"]
    unit = f" {setting['unit']}" if setting.get("unit") else ""
    return "" if float(low) <= number <= float(high) else f"it is {low} to {high}{unit}"


def problem(name: str, value: Any, *, session: bool = False) -> str:
    """What every supported major has against a setting, as one line; `session` is one that a role has for its own.

    A name with a dot is an extension's, or nobody's, and is not looked at.
    """
    if "." in name or (session and name.lower() == NOT_SHOWN):
        return ""
    found = [catalog(major)[name.lower()] for major in MAJORS if name.lower() in catalog(major)]
    if not found:
        known = {setting["name"] for major in MAJORS for setting in catalog(major).values()}
        meant = get_close_matches(name, known, n=1)
        hint = f"; is {meant[0]} meant?" if meant else ""
        return f"{name}: PostgreSQL {' and '.join(map(str, MAJORS))} have no such setting{hint}"
    contexts = {setting["context"] for setting in found}
    if contexts == {"internal"}:
        return f"{name}: nobody sets it; it follows from how the server and the cluster were made"
    if session and contexts <= {"internal", "postmaster", "sighup"}:
        return f"{name}: a session has no value of its own; it is set for the whole server (postgresql_settings)"
    wrong = [value_problem(setting, value) for setting in found]
    return f"{name} = {value!r}: {wrong[-1]}" if all(wrong) else ""


def problems(settings: object, *, session: bool = False) -> Iterator[str]:
    """What is wrong with settings by their names; what is no name or no plain value is the role's to refuse."""
    for name, value in settings.items() if isinstance(settings, Mapping) else ():
        if isinstance(value, (str, int, float)) and (line := problem(str(name), value, session=session)):
            yield line
