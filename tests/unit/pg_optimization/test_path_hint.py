"""When does an error of the server mean that a function needs a search path?"""

from __future__ import annotations

import pytest
from ansible.module_utils.pg_optimization.apply import path_hint

HINTS = {
    "plpgsql": ("42883", "PL/pgSQL function public.norm(text) line 1 at RETURN", "public.norm(text)"),
    "plpgsql through another": (
        "42P01",
        "PL/pgSQL function inner_one(text) line 1 at RETURN\nPL/pgSQL function norm(text) line 1 at RETURN",
        "inner_one(text)",
    ),
    "a function of SQL": ("42883", 'SQL function "norm" during inlining', "norm"),
    "a type": ("42704", "PL/pgSQL function norm(text,integer) line 1 at assignment", "norm(text,integer)"),
}


@pytest.mark.parametrize(("sqlstate", "context", "name"), HINTS.values(), ids=HINTS)
def test_a_function_that_does_not_find_what_it_names_is_named(sqlstate: str, context: str, name: str) -> None:
    hint = path_hint(sqlstate, context, 170002)
    assert f"HINT: function {name} does not find what it names: PostgreSQL 17 builds indexes and fills views" in hint
    assert f"ALTER FUNCTION {name} SET search_path = …" in hint
    assert "it may rely on another search_path" in path_hint(sqlstate, context, 150018)


NONE = {
    "another error": ("22012", "PL/pgSQL function norm(text) line 1 at RETURN"),
    "no function": ("42883", None),
    "a lock": ("55P03", None),
}


@pytest.mark.parametrize(("sqlstate", "context"), NONE.values(), ids=NONE)
def test_other_errors_have_no_hint(sqlstate: str, context: str | None) -> None:
    assert path_hint(sqlstate, context, 180000) == ""
