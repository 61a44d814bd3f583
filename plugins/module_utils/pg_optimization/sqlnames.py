"""Which relations does a query name, and where? A name means one only behind FROM, JOIN or TABLE, or in a list of them.

`sales.total` is the column total of a relation sales, and in FROM the relation total of a schema sales. A bare name in
FROM may be that of a WITH query. What the server makes of a name depends on its place, so the place is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .sqltext import TOKEN, skip

_PUNCTUATION = re.compile(r"::|[.,*]")
_BEGIN = {"select", "values", "with", "table"}
_END_OF_FROM = {
    "where", "group", "having", "window", "union", "intersect", "except", "order", "limit", "offset", "fetch", "for",
}  # fmt: skip
# What may follow a relation that has no alias.
_NO_ALIAS = _END_OF_FROM | {
    "on", "using", "join", "inner", "left", "right", "full", "cross", "natural", "tablesample",
}  # fmt: skip


class Reference(NamedTuple):
    """A name in a query that is one of a relation, or begins with one.

    parts: as the server folds them. start, end: of what stands for the relation. last: where the name without schema
    begins. aliased: whether an alias follows. kind: relation, column (of schema.relation.column) or type.
    """

    parts: tuple[str, ...]
    start: int
    last: int
    end: int
    kind: str = "relation"
    aliased: bool = False


class _Word(NamedTuple):
    """A token: a name or a word as the server folds it, or a sign."""

    text: str
    start: int
    end: int
    name: bool = False
    quoted: bool = False


def _signs(text: str, start: int, end: int) -> Iterator[_Word]:
    for match in _PUNCTUATION.finditer(text, start, end):
        yield _Word(match.group(), match.start(), match.end())


def _words(text: str) -> Iterator[_Word]:
    """Yield what matters of a query: names, words, parentheses, dots, commas, casts, stars."""
    position = 0
    while match := TOKEN.search(text, position):
        yield from _signs(text, position, match.start())
        position = skip(text, match)
        if position < 0:
            return
        if match["identifier"]:
            folded = match["identifier"][1:-1].replace('""', '"')
            yield _Word(folded, match.start(), position, name=True, quoted=True)
        elif match["word"]:
            yield _Word(_folded(match["word"]), match.start(), position, name=True)
        elif match["open"] or match["close"]:
            yield _Word(match.group(), match.start(), position)
        elif not (match["line"] or match["block"]):
            yield _Word("'", match.start(), position)
    yield from _signs(text, position, len(text))


def _folded(word: str) -> str:
    """Return a word in lower case, as the server has it in UTF-8: letters beyond ASCII stay."""
    return "".join(character.lower() if character.isascii() else character for character in word)


@dataclass
class _Level:
    """What is known within one pair of parentheses."""

    expect: bool = False  # a relation comes next
    query: bool = False
    in_from: bool = False
    fresh: bool = True  # nothing came yet
    known: frozenset[str] = frozenset()  # names of WITH queries
    naming: str = ""  # of WITH: "name", "body" or "next"
    recursive: bool = False
    pending: str = ""
    closes: str = ""  # the WITH query that is known behind this level


@dataclass
class _Scan:
    """Goes through a query once."""

    words: list[_Word]
    levels: list[_Level] = field(default_factory=lambda: [_Level()])
    found: list[Reference] = field(default_factory=list)
    at: int = 0

    def _peek(self, ahead: int = 0) -> _Word:
        position = self.at + ahead
        return self.words[position] if position < len(self.words) else _Word("", 0, 0)

    def _chain(self) -> list[_Word]:
        """Take names that are joined by dots; a star at the end counts as one."""
        names = [self._peek()]
        self.at += 1
        while self._peek().text == "." and (self._peek(1).name or self._peek(1).text == "*"):
            names.append(self._peek(1))
            self.at += 2
        return names

    def _open(self, level: _Level) -> None:
        inner = _Level(expect=level.expect, known=level.known)
        if level.naming == "body" and self.words[self.at - 1].text in {"as", "materialized"}:
            inner.closes = level.pending
            inner.known |= {level.pending} if level.recursive else set()
            level.naming = "next"
        level.expect = level.fresh = False
        self.levels.append(inner)
        self.at += 1

    def _close(self) -> None:
        closed = self.levels.pop() if len(self.levels) > 1 else self.levels[0]
        if closed.closes:
            self.levels[-1].known |= {closed.closes}
        self.at += 1

    def _word(self, level: _Level, word: str, before: str) -> bool:
        """Take a word that says what comes next; tell whether it was one."""
        if word == "with" and level.fresh:
            level.query, level.naming = True, "name"
            level.recursive = self._peek(1).text == "recursive" and not self._peek(1).quoted
            self.at += 1 if level.recursive else 0
        elif word in _BEGIN - {"with"} and (word != "values" or self._peek(1).text == "("):
            level.query, level.naming, level.in_from = True, "", word == "table"
            level.expect = word == "table"
        elif word == "from" and level.query and before != "distinct":
            level.in_from = level.expect = True
        elif word == "join":
            level.expect = True
        elif word in _END_OF_FROM:
            level.in_from = level.expect = False
        elif word in {"on", "using"}:
            level.expect = False
        elif word not in {"only", "lateral"}:
            return False
        level.fresh = False
        self.at += 1
        return True

    def _name(self, level: _Level, before: str) -> None:
        chain = self._chain()
        level.fresh = False
        if level.naming == "name":
            level.pending, level.naming = chain[0].text, "body"
            return
        behind = self._peek()
        expected, level.expect = level.expect, False
        if expected:
            if behind.text == "(":
                return
            if chain[0].text == "rows" and behind.text == "from":
                return
            if len(chain) > 1 or chain[0].text not in level.known:
                self._add(chain, "relation")
        elif before in {"::", "as"} and len(chain) > 1:
            self._add(chain, "type")
        elif len(chain) > 2:  # noqa: PLR2004 - schema, relation, column
            self._add(chain[:-1], "column")

    def _add(self, chain: list[_Word], kind: str) -> None:
        after = self._peek(1) if self._peek().text == "*" else self._peek()
        aliased = after.name and (after.quoted or after.text not in _NO_ALIAS)
        parts = tuple(word.text for word in chain)
        self.found.append(Reference(parts, chain[0].start, chain[-1].start, chain[-1].end, kind, aliased))

    def run(self) -> list[Reference]:
        """Return the references in the order of their places."""
        before = ""
        while self.at < len(self.words):
            word, level = self._peek(), self.levels[-1]
            if word.text in {"(", "["} and not word.name:
                self._open(level)
            elif word.text in {")", "]"} and not word.name:
                self._close()
            elif word.text == "," and not word.name:
                level.naming = "name" if level.naming == "next" else level.naming
                level.expect = level.in_from and not level.naming
                self.at += 1
            elif not word.name:
                level.fresh = False
                self.at += 1
            elif word.quoted or before in {".", "as"} or not self._word(level, word.text, before):
                self._name(level, before)
            before = word.text if not word.quoted else '"'
        return self.found


def names(text: str) -> set[str]:
    """Return the names and words in a piece of SQL, as the server folds them."""
    return {word.text for word in _words(text) if word.name}


def references(query: str) -> list[Reference]:
    """Return where a query names relations, but for those that are WITH queries of its own.

    Columns that are written with schema and relation, and types with their schema, are among them.
    """
    return _Scan(list(_words(query))).run()


def replaced(query: str, found: Iterable[Reference], written: Callable[[Reference], str | None]) -> str:
    """Return the query with other words for some of its references; None leaves one as it is."""
    pieces: list[str] = []
    copied = 0
    for reference in found:
        words = written(reference)
        if words is not None:
            pieces += [query[copied : reference.start], words]
            copied = reference.end
    return "".join([*pieces, query[copied:]])
