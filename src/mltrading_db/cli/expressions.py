"""Names and parts of Ansible's templates, and tasks within blocks. Pure: nothing is evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

WORD = re.compile(r"[A-Za-z_]\w*")
EXPRESSION = re.compile(r"\{[{%](.*?)[%}]\}", re.DOTALL)
TAG = re.compile(r"\{%-?\s*(\w+).*?%\}", re.DOTALL)
REFERENCE = re.compile(r"\{\{\s*([a-z]\w*)\s*\}\}")


def every_task(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Tasks and those within their blocks."""
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always"):
            yield from every_task(task.get(part) or [])


def listed(value: Any) -> list[Any]:
    """A value, or the values of a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def names_in(value: Any, *, bare: bool = False) -> set[str]:
    """The names that a value's expressions have; `bare` is for a condition, which is an expression as it stands."""
    if isinstance(value, dict):
        return {name for one in value.values() for name in names_in(one)}
    if isinstance(value, list):
        return {name for one in value for name in names_in(one, bare=bare)}
    if not isinstance(value, str):
        return set()
    return set(WORD.findall(value if bare else " ".join(EXPRESSION.findall(value))))


def referred(names: set[str], variables: dict[str, Any]) -> set[str]:
    """Names, and those that their values refer to, to the end."""
    found: set[str] = set()
    rest = set(names)
    while rest:
        name = rest.pop()
        found.add(name)
        if name in variables and name not in ("hostvars", "groups"):
            rest |= names_in(variables[name]) - found
    return found


def segments(template: str) -> list[str]:
    """The outermost parts of a template that stand for themselves, each with the `set` tags before it."""
    found: list[str] = []
    shared, start, end, depth = "", 0, 0, 0
    for tag in TAG.finditer(template):
        if depth == 0 and template[end : tag.start()].strip():
            return [template]
        opens, closes = tag[1] in ("if", "for"), tag[1] in ("endif", "endfor")
        if depth == 0 and not opens:
            shared += tag[0]
        elif depth == 0:
            start = tag.start()
        depth += opens - closes
        if closes and depth == 0:
            found.append(shared + template[start : tag.end()])
        end = tag.end()
    return found if found and not template[end:].strip() else [template]
