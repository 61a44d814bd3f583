"""A piece of SQL in a declaration is one closed piece, or it is refused before it reaches a server."""

from __future__ import annotations

import pytest
from ansible.module_utils.pg_optimization.sqltext import closed, flaw, without_end

SOUND = {
    "a column": "a",
    "a call": "lower(c)",
    "a comparison": "a > 1 AND b < 2",
    "a semicolon in a string": "c = ';'",
    "a quote in a string": "c = 'it''s; so'",
    "a parenthesis in a string": "c = ')'",
    "a backslash in a plain string": r"c = 'x\'",
    "an escape string": r"c = E'x\'; y'",
    "an escape string in lower case": r"c = e'\''",
    "a name that ends in e before a string": r"datee'x\'",
    "an identifier with a semicolon": '"a;b" > 1',
    "an identifier with a quote": '"a"";b" > 1',
    "a dollar string": "c = $$;'($$",
    "a tagged dollar string": "c = $x$ $$;( $y$ $x$",
    "a dollar in a name": "a$b$c > 1",
    "a comment at the end": "a > 1 -- ; (",
    "a comment in the middle": "a -- ; '\n> 1",
    "a block comment": "a /* ;'( */ > 1",
    "a nested block comment": "a /* /* ; */ ' */ > 1",
    "a block comment that seems to end": "a /* /* */ ; DROP TABLE t; -- */",
    "brackets": "tags[1] = 'x'",
    "parentheses": "((a) + (b))",
    "a string on two lines": "c = 'a'\n'b;'",
    "letters beyond ASCII": "é = 'ü;'",
    "an operator of dashes apart": "a - -1",
}
FLAWED = {
    "nothing": ("", "is empty"),
    "space": (" \n", "is empty"),
    "only a comment": ("-- a", "is empty"),
    "only a block comment": ("/* a */", "is empty"),
    "a second statement": ("a; DROP TABLE t", "semicolon"),
    "a semicolon at the end": ("a;", "semicolon"),
    "a parenthesis closed": ("a) WHERE (b", "did not open"),
    "a bracket closed by a parenthesis": ("tags[1)", "did not open"),
    "a parenthesis left open": ("lower(c", "not closed"),
    "a string left open": ("c = 'x", "quote that is not closed"),
    "an identifier left open": ('"a', "quote that is not closed"),
    "a dollar string left open": ("c = $x$ a $y$", "not closed"),
    "a block comment left open": ("a /* b", "not closed"),
    "a nested block comment left open": ("a /* /* b */", "not closed"),
    "an escaped quote": (r"c = E'x\\'; DROP TABLE t", "semicolon"),
    "a plain string with a backslash": (r"c = 'x\'; DROP TABLE t; --'", "semicolon"),
    "an escape string in two parts": ("c = E'a'\n'\\''; DROP TABLE t; --'", "several parts"),
    "an escape string in two parts with a comment": ("c = E'a' -- x\n  '\\''; DROP TABLE t; --'", "several parts"),
    "a dollar quote behind a parameter": ("a = $1$$'$$; DROP TABLE t; --'", "parameter"),
    "a dollar quote behind a number": ("a = 1$$'$$; DROP TABLE t; --'", "semicolon"),
    "a comment that a string seems to end": ("a -- '\n; DROP TABLE t -- '", "semicolon"),
    "a NUL character": ("a\0", "NUL"),
}


@pytest.mark.parametrize("text", SOUND.values(), ids=SOUND)
def test_a_closed_piece_is_sound(text: str) -> None:
    assert flaw(text) is None


@pytest.mark.parametrize(("text", "piece"), FLAWED.values(), ids=FLAWED)
def test_what_is_not_closed_is_refused(text: str, piece: str) -> None:
    assert piece in (flaw(text) or "")


@pytest.mark.parametrize(
    ("text", "query"),
    [
        pytest.param("SELECT 1", "SELECT 1", id="none"),
        pytest.param("SELECT 1 ;\n ", "SELECT 1", id="one"),
        pytest.param("SELECT 1;;\n;", "SELECT 1", id="several"),
        pytest.param("SELECT 1; -- the end; of it\n", "SELECT 1", id="a comment behind it"),
        pytest.param("SELECT ';' ; /* ; */", "SELECT ';'", id="one in a string before it"),
        pytest.param("SELECT 1; SELECT 2;", "SELECT 1; SELECT 2", id="between two queries it stays"),
        pytest.param("SELECT $$; ", "SELECT $$;", id="in a string that is not closed it stays"),
        pytest.param("SELECT 1; /* DROP", "SELECT 1; /* DROP", id="before a comment that is not closed it stays"),
        pytest.param("SELECT 1; /* /* */", "SELECT 1; /* /* */", id="before a nested one that is not closed too"),
    ],
)
def test_a_query_may_end_in_a_semicolon(text: str, query: str) -> None:
    assert without_end(text) == query


def test_what_follows_a_comment_is_on_another_line() -> None:
    assert closed("a -- b") == "a -- b\n"
    assert closed("a") == "a"
