"""Read two texts of one definition a second time, where they differ: do both mean the same?

The text that the server writes of a definition is no fixed point. Read again it can become another text: a BETWEEN
that begins a chain of AND, a list of varchar constants. It does so in every restore of a dump, and where somebody
declares what psql shows. The second reading is stable. One call of a function also has two texts, timezone('UTC', ts)
and ts AT TIME ZONE 'UTC', and a parameter of an operator class has those that people write. What the server keeps of
such definitions is equal, but for the words in which it was said and where they stood.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from . import sqlbuild, twin_queries
from .catalog import parameter
from .connection import Row, Session, sql
from .savepoint import Failed, undone
from .state import Definition, FoundIndex, FoundStatistics

if TYPE_CHECKING:
    from .connection import Composable, Composed

_HAVE, _WANT = "__pgopt_twin_have", "__pgopt_twin_want"
# How something was said, in a stored tree, which the server's own comparison of trees leaves out too.
_SAID = re.compile(
    r"(?<!\\) :(?:location|stmt_location|stmt_len|list_start|list_end"
    r"|funcformat|relabelformat|coerceformat|coercionformat|convertformat|row_format) -?\d+"
)
# What a parameter of an operator class is where nobody sets it, by the function that reads them.
_DEFAULTS = {
    "brin_bloom_options": {"n_distinct_per_range": "-0.1", "false_positive_rate": "0.01"},
    "brin_minmax_multi_options": {"values_per_range": "32"},
    "gtsvector_options": {"siglen": "124"},
    "gtrgm_options": {"siglen": "12"},
    "ghstore_options": {"siglen": "16"},
    "ltree_gist_options": {"siglen": "8"},
    "_ltree_gist_options": {"siglen": "28"},
    "g_int_options": {"numranges": "100"},
    "g_intbig_options": {"siglen": "252"},
}


def meaning(tree: str | None, own: int = 0) -> str | None:
    """Return a stored tree without how it was said, and without the oid of the view that it belongs to."""
    said = None if tree is None else _SAID.sub("", tree)
    return said if said is None or not own else re.sub(rf"(?<!\\) :relid {own}\b", "", said)


def options(raw: list[tuple[int, list[str], str | None]]) -> dict[tuple[int, str], str]:
    """Return the parameters of operator classes by column and name, in one spelling, without those that say nothing.

    Args:
        raw: position of the column, its parameters as `name=value`, the function of its operator class that reads them.
    """
    found = {}
    for position, pairs, function in raw:
        for name, _, value in (pair.partition("=") for pair in pairs):
            text = parameter(name, value)
            if _DEFAULTS.get(function or "", {}).get(name) != text:
                found[position, name] = text
    return found


def _pair(session: Session, statements: Iterable[Composed], query: str) -> tuple[Row, Row] | None:
    """Make both as twins and read them back, or None where one cannot be made."""
    try:
        with undone(session, "pgopt_second"):
            session.execute(sql.SQL(";\n").join(statements))
            rows = {row["twin"]: row for row in session.rows(query, ([_HAVE, _WANT],))}
            return rows[_HAVE], rows[_WANT]
    except Failed:
        return None


def index(session: Session, existing: FoundIndex | None, made: Definition, table: Composable) -> Definition:
    """Return the definition of a declared index in the words of the one that is there, where they mean the same.

    Args:
        session: in the transaction of the twins.
        existing: the index that is there, on the table of the twin.
        made: the declared one as it was read back.
        table: the twin of the table.
    """
    if existing is None or existing.definition.tail == made.tail:
        return made
    have = existing.definition
    texts = [sqlbuild.index_of(text, sql.Identifier(name), table) for name, text in ((_HAVE, have), (_WANT, made))]
    both = _pair(session, texts, twin_queries.TWIN_INDEX_TREES)
    if both is None:
        return made
    if _is_same_index(*both):
        return replace(made, tail=have.tail, parts=have.parts, declared=made.tail)
    words = dict(zip(both[0]["parts"], have.parts, strict=True))
    return replace(made, parts=tuple(map(words.get, both[1]["parts"], made.parts)))


def _is_same_index(have: Row, want: Row) -> bool:
    plain = ("method", "columns", "classes", "collations", "options", "keys", "distinct_nulls")
    return (
        all(have[column] == want[column] for column in plain)
        and all(meaning(have[tree]) == meaning(want[tree]) for tree in ("expressions", "predicate"))
        and options(have["parameters"] or []) == options(want["parameters"] or [])
    )


def statistics(session: Session, existing: FoundStatistics | None, columns: str, table: Composable) -> str:
    """Return the columns of declared statistics in the words of those that are there, where they mean the same."""
    if existing is None or existing.columns == columns:
        return columns
    texts = ((_HAVE, existing.columns), (_WANT, columns))
    piece = "CREATE STATISTICS {} ON {} FROM {}"
    made = [sqlbuild.text(piece, sql.Identifier("pg_temp", name), sql.SQL(text), table) for name, text in texts]
    both = _pair(session, made, twin_queries.TWIN_STATISTICS_TREES)
    if both is None or both[0]["keys"] != both[1]["keys"]:
        return columns
    have, want = (meaning(row["expressions"]) for row in both)
    return existing.columns if have == want else columns


def query(session: Session, existing: str | None, made: str) -> str:
    """Return a declared query in the words of the one that is there, where they mean the same."""
    if existing is None or existing == made:
        return made
    texts = ((_HAVE, existing), (_WANT, made))
    views = [
        sqlbuild.text("CREATE TEMPORARY VIEW {} AS {}", sql.Identifier("pg_temp", name), sqlbuild.shown(text))
        for name, text in texts
    ]
    both = _pair(session, views, twin_queries.TWIN_VIEW_TREES)
    if both is None:
        return made
    have, want = (meaning(row["tree"], row["oid"]) for row in both)
    return existing if have == want else made


def same_within(session: Session, existing: str, made: str) -> bool:
    """Tell whether two queries mean the same, each read within another one that shows nothing of its columns.

    Raises:
        Failed: the server refuses the declared one.
    """
    piece = "CREATE TEMPORARY VIEW {} AS SELECT EXISTS ({}) AS there"
    names = [sql.Identifier("pg_temp", name) for name in (_HAVE, _WANT)]
    with undone(session, "pgopt_second"):
        with session.own_formats():
            session.execute(sqlbuild.text(piece, names[1], sqlbuild.raw(made)))
        session.execute(sqlbuild.text(piece, names[0], sqlbuild.shown(existing)))
        rows = {row["twin"]: row for row in session.rows(twin_queries.TWIN_VIEW_TREES, ([_HAVE, _WANT],))}
    have, want = (meaning(rows[name]["tree"], rows[name]["oid"]) for name in (_HAVE, _WANT))
    return have == want
