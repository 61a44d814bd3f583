"""Where does a query name relations?"""

from __future__ import annotations

import pytest
from ansible.module_utils.pg_optimization.model import Name
from ansible.module_utils.pg_optimization.sqlnames import Reference, references, replaced
from ansible.module_utils.pg_optimization.view_twins import first_in_path

RELATIONS = {
    "as it is folded": ("SELECT a FROM Public.V", ["public.v"]),
    "with quotes and space": ('SELECT a FROM "Public" . "V" x', ["Public.V"]),
    "with a comment between": ("SELECT a FROM public /* . */ . -- .\n v", ["public.v"]),
    "with its database": ("SELECT a FROM db.public.v", ["db.public.v"]),
    "letters beyond ASCII keep their case": ("SELECT a FROM É.V", ["É.v"]),
    "a list": ("SELECT a, b FROM v, s.w AS x, y z", ["v", "s.w", "y"]),
    "joins": ("SELECT a FROM v x LEFT JOIN s.w USING (a) NATURAL JOIN y ON x.a = s.a, z", ["v", "s.w", "y", "z"]),
    "joins in parentheses": (
        "SELECT a FROM (v JOIN (s.w CROSS JOIN y) ON true) AS j (a, b), z",
        ["v", "s.w", "y", "z"],
    ),
    "a star behind it": ("SELECT a FROM v * WHERE a > 1", ["v"]),
    "a sample": ("SELECT a FROM v TABLESAMPLE system (10), w", ["v", "w"]),
    "only": ("SELECT a FROM ONLY v, ONLY (w)", ["v", "w"]),
    "a table command": ("TABLE v UNION ALL TABLE s.w", ["v", "s.w"]),
    "a union in parentheses": ("(SELECT a FROM v) UNION (SELECT b FROM w ORDER BY 1) EXCEPT SELECT 1 FROM x", [*"vwx"]),
    "a query in FROM": ("SELECT a FROM (SELECT 1 FROM v) q, LATERAL (SELECT 2 FROM w) r", ["v", "w"]),
    "a query in an expression": ("SELECT (SELECT 1 FROM v) FROM w WHERE a IN (SELECT 1 FROM x), y", ["v", "w", "x"]),
    "a column with the schema's name": ("SELECT sales.total FROM public.sales", ["public.sales"]),
    "a column behind a comma": ("SELECT 1,\n s.v FROM w s", ["w"]),
    "a column in EXTRACT": ("SELECT EXTRACT(year FROM s.v) FROM w s", ["w"]),
    "a column in SUBSTRING": ("SELECT substring(s.v FROM s.v FOR 2) FROM w s", ["w"]),
    "a column behind DISTINCT FROM": ("SELECT 1 FROM w s WHERE s.v IS NOT DISTINCT FROM s.v", ["w"]),
    "a column to order by": ("SELECT 1 FROM w s GROUP BY s.v, s.x ORDER BY s.v, s.x", ["w"]),
    "a column that is called FROM": ("SELECT a AS from, s.v FROM w s", ["w"]),
    "functions": ("SELECT 1 FROM f(1) x, s.g(2), ROWS FROM (f(1), s.g(2)) y, w", ["w"]),
    "values": ("SELECT 1 FROM (VALUES (1, 2), (3, 4)) v (a, b), w", ["w"]),
    "in a string and a comment": ("SELECT 'FROM v' /* FROM v */ FROM w -- , v", ["w"]),
    "a WITH query": ("WITH v AS (SELECT 1) SELECT 1 FROM v, w", ["w"]),
    "a WITH query of the name of what it reads": ("WITH v AS (SELECT 1 FROM v) SELECT 1 FROM v", ["v"]),
    "a WITH query that reads one before it": (
        "WITH v (a) AS MATERIALIZED (SELECT 1), x AS (SELECT 1 FROM v) SELECT 1 FROM x, w",
        ["w"],
    ),
    "a recursive WITH query": (
        "WITH RECURSIVE v (a) AS (VALUES (1) UNION ALL SELECT a FROM v, w) SELECT 1 FROM v",
        ["w"],
    ),
    "a WITH query is known within": ("WITH v AS (SELECT 1) SELECT (SELECT 1 FROM v) FROM (SELECT 1 FROM v) q", []),
    "a WITH query is not known without": ("SELECT 1 FROM (WITH v AS (SELECT 1) SELECT 1 FROM v) q, v", ["v"]),
    "a schema before the name of a WITH query": ("WITH v AS (SELECT 1) SELECT 1 FROM s.v", ["s.v"]),
}


@pytest.mark.parametrize(("query", "names"), RELATIONS.values(), ids=RELATIONS)
def test_relations_are_known_by_their_place(query: str, names: list[str]) -> None:
    assert [".".join(item.parts) for item in references(query)] == names


OTHERS = {
    "a column with schema and relation": ("SELECT s.v.a FROM w", [("s.v", "column"), ("w", "relation")]),
    "all columns with schema and relation": ("SELECT s.v.* FROM w", [("s.v", "column"), ("w", "relation")]),
    "a type of a cast": ("SELECT NULL::s.v FROM w", [("s.v", "type"), ("w", "relation")]),
    "a type in CAST": ("SELECT CAST(NULL AS s.v) FROM w", [("s.v", "type"), ("w", "relation")]),
}


@pytest.mark.parametrize(("query", "found"), OTHERS.values(), ids=OTHERS)
def test_columns_and_types_of_a_schema_are_known_too(query: str, found: list[tuple[str, str]]) -> None:
    assert [(".".join(item.parts), item.kind) for item in references(query)] == found


@pytest.mark.parametrize(
    ("query", "aliased"),
    [
        ("SELECT 1 FROM v x", True),
        ("SELECT 1 FROM v AS x", True),
        ('SELECT 1 FROM v "where"', True),
        ("SELECT 1 FROM v * x", True),
        ("SELECT 1 FROM v", False),
        ("SELECT 1 FROM v WHERE true", False),
        ("SELECT 1 FROM (v JOIN w USING (a))", False),
        ("SELECT 1 FROM v, w", False),
    ],
)
def test_an_alias_is_known(query: str, aliased: bool) -> None:
    assert references(query)[0].aliased is aliased


def test_only_what_is_meant_gets_other_words() -> None:
    def written(reference: Reference) -> str | None:
        return "x.y" if reference.parts == ("s", "v") else None

    query = "SELECT s.v, s.v.a, 's.v' FROM S . v JOIN s.w USING (a) -- s.v"
    assert replaced(query, references(query), written) == "SELECT s.v, x.y.a, 's.v' FROM x.y JOIN s.w USING (a) -- s.v"


def test_a_bare_name_means_the_first_relation_of_the_search_path() -> None:
    names = [Name("b", "v"), Name("a", "v"), Name("c", "w"), Name("not in the path", "x")]
    assert first_in_path(names, ["a", "b", "c"]) == {"v": Name("a", "v"), "w": Name("c", "w")}
