"""Raw parameters become values, and everything that is wrong with them without a server is said at once."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.pg_optimization.declaration import parse
from ansible.module_utils.pg_optimization.model import Index, Key, Name


def test_an_index_becomes_a_value() -> None:
    declaration, problems = parse(
        {
            "indexes": [
                {
                    "name": "x",
                    "table": "t",
                    "columns": ["a", {"name": "b", "order": "DESC", "nulls": "last"}, {"expression": " lower(c) "}],
                    "include": ["d"],
                    "storage_parameters": {"fillfactor": 70, "FastUpdate": False},
                    "comment": " Why ",
                }
            ]
        }
    )
    assert problems == []
    assert declaration.indexes == (
        Index(
            name=Name("public", "x"),
            table=Name("public", "t"),
            keys=(Key(column="a"), Key(column="b", order="desc", nulls="last"), Key(expression="lower(c)")),
            include=("d",),
            storage_parameters=(("fastupdate", "off"), ("fillfactor", "70")),
            comment="Why",
        ),
    )


def test_an_operator_class_may_be_qualified_in_two_ways() -> None:
    columns = [{"name": "a", "opclass": "s.ops"}, {"name": "a", "opclass": ["s", "o.ps"], "collation": "de_DE.utf8"}]
    declaration, problems = parse({"indexes": [{"name": "x", "table": "t", "columns": columns}]})
    assert problems == []
    assert [key.opclass for key in declaration.indexes[0].keys] == [("s", "ops"), ("s", "o.ps")]
    assert declaration.indexes[0].keys[1].collation == ("de_DE.utf8",)


def test_an_index_on_a_declared_view_becomes_the_views() -> None:
    declaration, problems = parse(
        {
            "indexes": [{"name": "x", "table": "v", "columns": ["a"], "unique": True}],
            "materialized_views": [{"name": "v", "query": "SELECT 1 AS a", "refresh": {"policy": "concurrently"}}],
        }
    )
    assert problems == []
    assert declaration.indexes == ()
    assert [index.name for index in declaration.materialized_views[0].indexes] == [Name("public", "x")]


def test_what_is_sound_is_kept_beside_what_is_not() -> None:
    good: dict[str, Any] = {"name": "good", "table": "t", "columns": ["a"]}
    declaration, problems = parse({"indexes": [good, {**good, "name": ""}]})
    assert [str(index) for index in declaration.indexes] == ["index public.good"]
    assert [problem.object for problem in problems] == ['index public.""']


def test_every_problem_of_an_object_is_said() -> None:
    _, problems = parse({"indexes": [{"name": "x" * 64, "table": "t\0", "columns": [{"order": "up"}], "where": "a;b"}]})
    assert [problem.problem.split(" ")[0] for problem in problems] == ["name", "table", "column", "order", "where"]


@pytest.mark.parametrize("name", ["\ud800", "x\udfff"], ids=["alone", "at the end"])
def test_half_a_character_is_no_name(name: str) -> None:
    _, problems = parse({"indexes": [{"name": name, "table": "t", "columns": ["a"]}]})
    assert [problem.problem for problem in problems] == ["name is not valid Unicode"]
