"""Reads raw values of one object and collects what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from . import sqltext
from .encoding import Encoding
from .model import Problem, display
from .naming import LIMIT, MARK, PENDING

# What Ansible makes of a boolean where a text is due.
_YAML = {"True", "False"}


def yaml_word(text: str) -> str | None:
    """Return that a text is most likely a word that YAML took for a boolean, or None."""
    if text not in _YAML:
        return None
    words = "yes, on or true" if text == "True" else "no, off or false"
    return f"is {text}, which YAML makes of {words}: quote the word in YAML"


_TARGETS = range(-1, 10001)


class Reader:
    """Reads raw values of one object and collects what is wrong with them."""

    def __init__(self, title: str, problems: list[Problem], encoding: Encoding) -> None:
        """Collect into `problems` under the name `title` what is wrong in a database of an encoding."""
        self.title = title
        self.problems = problems
        self.encoding = encoding

    def refuse(self, problem: str) -> None:
        """Add one problem."""
        self.problems.append(Problem(self.title, problem))

    def _unfit(self, text: str) -> str | None:
        """Return why a text cannot reach the server, or not stay in the database."""
        if why := sqltext.unfit(text):
            return why
        lacking = self.encoding.lacks(text)
        if lacking is None:
            return None
        character = f"the character {lacking} (U+{ord(lacking):04X})"
        return f"has {character}, which {self.encoding.name}, the encoding of the database, does not have"

    def identifier(self, value: Any, what: str) -> str:
        """Return a name as the catalog can hold it."""
        if not isinstance(value, str):
            self.refuse(f"{what} is {value!r} and not a text: quote it in YAML")
            return ""
        if why := "is empty" if not value else self._unfit(value) or (yaml_word(value) if what == "name" else None):
            self.refuse(f"{what} {why}")
        elif (size := self.encoding.size(value)) > LIMIT:
            self.refuse(f"{what} {display(value)} has {size} bytes, PostgreSQL keeps {LIMIT}")
        return value

    def sql(self, value: Any, what: str) -> str:
        """Return a piece of SQL that is one closed piece."""
        text = value if isinstance(value, str) else ""
        flaw = (
            yaml_word(text) or sqltext.flaw(text) or self._unfit(text)
            if isinstance(value, str)
            else f"is {value!r} and not a text"
        )
        if flaw:
            self.refuse(f"{what} {flaw}")
        return text.strip(sqltext.SPACE)

    def qualified(self, value: Any, what: str) -> tuple[str, ...]:
        """Return one identifier, or schema and identifier given as a list of two."""
        if value is None:
            return ()
        parts = value if isinstance(value, list) else [value]
        if len(parts) not in (1, 2):
            self.refuse(f"{what} is a name, or a list of schema and name")
        return tuple(self.identifier(part, what) for part in parts)

    def parameters(self, value: Any, what: str = "storage parameter") -> tuple[tuple[str, str | None], ...]:
        """Return storage parameters as sorted texts; None stands for reset."""
        if value is None:
            return ()
        if not isinstance(value, Mapping):
            self.refuse(f"{what}s are {value!r} and not a mapping")
            return ()
        found: list[tuple[str, str | None]] = []
        for key, item in value.items():
            name = self.identifier(key, f"name of a {what}").lower()
            if isinstance(item, (list, dict)):
                self.refuse(f"{what} {name} is not a single value")
            text = parameter_text(item)
            if text is not None and (why := self._unfit(text)):
                self.refuse(f"{what} {name} {why}")
            found.append((name, text))
        return tuple(sorted(found))

    def set_parameters(self, value: Any, what: str = "storage parameter") -> tuple[tuple[str, str], ...]:
        """Return storage parameters that all have a value."""
        found = self.parameters(value, what)
        for name, item in found:
            if item is None:
                self.refuse(f"{what} {name} has no value")
        return tuple((name, item) for name, item in found if item is not None)

    def comment(self, value: Any) -> str | None:
        """Return a comment; the mark is ours to write."""
        if value is None:
            return None
        sign = next((sign for sign in (MARK, PENDING) if sign in value), None)
        if why := self._unfit(value) or yaml_word(value) or (f"contains the mark {sign!r}" if sign else None):
            self.refuse(f"comment {why}")
        return str(value).strip(sqltext.SPACE)

    def choice(self, value: Any, what: str, allowed: Iterable[str]) -> str | None:
        """Return one of the allowed words, in lower case."""
        if value is None:
            return None
        word = str(value).lower()
        if word not in allowed:
            self.refuse(f"{what} is {value!r} and not one of {', '.join(allowed)}")
        return word

    def target(self, value: Any) -> int:
        """Return a statistics target."""
        if not isinstance(value, int) or isinstance(value, bool) or value not in _TARGETS:
            self.refuse(f"target is {value!r} and not a number from -1 to 10000")
            return -1
        return value


def parameter_text(value: Any) -> str | None:
    """Return a storage parameter's value as the server writes it; YAML's booleans are on and off."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
