"""What can a database hold, and how many bytes has a name there?"""

from __future__ import annotations

import pytest
from ansible.module_utils.pg_optimization.declaration import parse
from ansible.module_utils.pg_optimization.encoding import Encoding
from ansible.modules import postgresql_optimization
from psycopg2.extensions import encodings

SIZES = [
    ("UTF8", "é→", 5), ("LATIN1", "éé", 2), ("LATIN9", "€", 1), ("WIN1252", "€", 1), ("KOI8R", "я", 1),
    ("EUC_JP", "日本", 4), ("EUC_KR", "한", 2), ("SQL_ASCII", "Ã©", 2), ("EUC_TW", "é", 2), ("LATIN1", "→", 3),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "size"), SIZES)
def test_a_name_has_the_bytes_of_the_databases_encoding(name: str, text: str, size: int) -> None:
    assert Encoding(name).size(text) == size


LACKS = [
    ("UTF8", "→", None), ("LATIN1", "é", None), ("LATIN1", "a → b", "→"), ("WIN1251", "я é", "é"),
    ("SQL_ASCII", "→", None), ("EUC_TW", "→", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "lacking"), LACKS)
def test_what_an_encoding_does_not_have_is_known(name: str, text: str, lacking: str | None) -> None:
    assert Encoding(name).lacks(text) == lacking


@pytest.mark.parametrize("name", sorted(encodings))
def test_no_encoding_is_a_name_that_python_does_not_know(name: str) -> None:
    assert Encoding(name).size("a") == 1
    assert Encoding(name).lacks("a") is None


def test_bytes_of_no_encoding_come_and_go_as_they_are() -> None:
    raw = Encoding("SQL_ASCII")
    declared = {"name": "café", "items": ["→", 1, None, True]}
    assert raw.inward(declared) == {"name": "cafÃ©", "items": ["â\x86\x92", 1, None, True]}
    assert raw.outward(raw.inward(declared)) == declared
    assert raw.outward("caf\xe9 … Ã©") == "caf\\xe9 … é"
    assert Encoding("LATIN1").inward("é") == Encoding("LATIN1").outward("é") == "é"


TEXTS = {
    "a name": {"name": "a→b"},
    "a comment": {"comment": "a → b"},
    "a predicate": {"where": "b = '→'"},
    "an expression": {"columns": [{"expression": "b || '→'"}]},
    "a column": {"columns": ["a→b"]},
    "an included column": {"include": ["→"]},
    "a parameter": {"storage_parameters": {"fillfactor": "→"}},
}


@pytest.mark.parametrize("more", TEXTS.values(), ids=TEXTS)
def test_what_the_database_cannot_hold_is_refused(more: dict[str, object]) -> None:
    params = {"indexes": [{"name": "x", "table": "t", "columns": ["a"], **more}]}
    assert parse(params, Encoding("UTF8"))[1] == []
    problem = parse(params, Encoding("LATIN1"))[1][0]
    assert "→ (U+2192), which LATIN1, the encoding of the database, does not have" in problem.problem


def test_a_comment_ends_where_its_last_letter_ends() -> None:
    params = {"indexes": [{"name": "x", "table": "t", "columns": ["a"], "comment": " déjà\n"}]}
    raw = Encoding("SQL_ASCII")
    assert raw.outward(parse(raw.inward(params), raw)[0].indexes[0].comment) == "déjà"
    assert postgresql_optimization.argument_spec()["indexes"]["options"]["comment"] == {"type": "str"}
