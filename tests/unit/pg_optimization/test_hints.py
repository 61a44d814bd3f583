"""What is said to a person who wrote something else than was meant."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.pg_optimization.declaration import parse
from ansible.module_utils.pg_optimization.twins import column_hint

COLUMNS = {
    "a DESC": "; write {name: a, order: desc}",
    "a desc nulls last": "; write {name: a, order: desc, nulls: last}",
    "b gin_trgm_ops": "; write {name: b, opclass: gin_trgm_ops}",
    '"B" COLLATE "C" text_pattern_ops ASC': "; write {name: B, collation: C, opclass: text_pattern_ops, order: asc}",
    "a NULLS FIRST": "; write {name: a, nulls: first}",
    "lower(a)": "; a text is a column's name, write {expression: …} for an expression",
    "a + b": "; a text is a column's name, write {expression: …} for an expression",
    "lower(a) DESC": "; a text is a column's name, write {expression: …} for an expression",
    "True": "; it is True, which YAML makes of yes, on or true: quote the word in YAML",
    "unknown": "",
}


@pytest.mark.parametrize(("text", "hint"), COLUMNS.items(), ids=COLUMNS)
def test_a_column_with_more_words_is_said_as_it_is_to_be_written(text: str, hint: str) -> None:
    assert column_hint(text) == hint


WORDS: dict[str, dict[str, Any]] = {
    "a predicate": {"indexes": [{"name": "x", "table": "t", "columns": ["a"], "where": "False"}]},
    "a comment": {"indexes": [{"name": "x", "table": "t", "columns": ["a"], "comment": "True"}]},
    "a name": {"indexes": [{"name": "False", "table": "t", "columns": ["a"]}]},
    "a comment of a view": {"materialized_views": [{"name": "v", "query": "SELECT 1", "comment": "False"}]},
    "a query": {"materialized_views": [{"name": "v", "query": "True"}]},
    "an expression": {"statistics": [{"name": "s", "table": "t", "columns": ["a"], "expressions": ["True"]}]},
}


@pytest.mark.parametrize("params", WORDS.values(), ids=WORDS)
def test_a_word_that_yaml_took_for_a_boolean_is_refused(params: dict[str, Any]) -> None:
    assert "quote the word in YAML" in parse(params)[1][0].problem


def test_a_predicate_may_be_a_boolean_of_sql() -> None:
    index = {"name": "x", "table": "t", "columns": ["a"], "where": "true", "comment": "yes"}
    assert parse({"indexes": [index]})[1] == []
