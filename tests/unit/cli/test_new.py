"""`mldb init` judges each answer at once, and keeps those before it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from mltrading_db.cli import new
from mltrading_db.cli.environment import RefusedError

ANSWERS = new.Answers(
    primary="db1.example.net=10.0.0.11",
    replicas=("db2.example.net=10.0.0.12",),
    repository="backup1.example.net=10.0.0.41",
    pooler="db1.example.net=10.0.0.11",
    clients=("10.0.1.0/24",),
    monitoring=("10.0.0.41/32",),
)
ELSEWHERE = {"10.9.9.9": "production"}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        pytest.param("primary", "db1.example.net=10.0.0.11", "", id="a host"),
        pytest.param("primary", "db1", "HOST=ADDRESS", id="no address"),
        pytest.param("primary", "db1=10.0.0", "one of IPv4", id="half an address"),
        pytest.param("primary", "DB1=10.0.0.11", "lower-case", id="capitals"),
        pytest.param("primary", "db1=10.9.9.9", "belongs to production too", id="another environment's"),
        pytest.param("replicas", ("db3=10.0.0.11",), "db1.example.net has this address", id="the primary's address"),
        pytest.param("replicas", ("db1.example.net=10.0.0.11",), "a host of its own", id="the primary itself"),
        pytest.param("replicas", ("a=10.0.0.1", "a=10.0.0.2"), "has the address 10.0.0.1", id="two addresses"),
        pytest.param("replicas", ("a=10.0.0.1", "b=10.0.0.2"), "", id="two standbys"),
        pytest.param("pooler", "db1.example.net=10.0.0.11", "", id="the primary's host pools"),
        pytest.param("pooler", "db1.example.net=10.0.0.99", "has the address 10.0.0.11", id="with another address"),
        pytest.param("clients", ("10.0.1.0/24", "10.0.2.5/24"), "'10.0.2.5/24'", id="a network with host bits"),
        pytest.param("clients", ("0.0.0.0/0",), "whole world", id="the whole world"),
        pytest.param("monitoring", ("10.0.0.41",), "", id="one address"),
        pytest.param("monitoring", ("monitoring1",), "10.0.0.0/24", id="a name"),
    ],
)
def test_each_answer_is_judged_beside_those_before_it(name: str, value: str | tuple[str, ...], says: str) -> None:
    problems = new.answer_problems(name, replace(ANSWERS, **{name: value}), ELSEWHERE)
    assert bool(problems) == bool(says)
    assert says in "".join(problems)


def ask(monkeypatch: pytest.MonkeyPatch, typed: list[str]) -> list[str]:
    """Have somebody type these, one after another; returns the questions as they come."""
    questions: list[str] = []

    def prompt(question: str, **_: object) -> str:
        questions.append(question)
        return typed.pop(0)

    monkeypatch.setattr(typer, "prompt", prompt)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    return questions


def test_a_wrong_answer_is_asked_for_again_and_the_others_are_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = ["db1", "db1=10.0.0.11", "b1=10.0.0.11", "b1=10.0.0.41", "db1=10.0.0.11", "", "10.0.0.5/24", "10.0.1.0/24"]
    questions = ask(monkeypatch, [*typed, "10.0.0.41/32"])
    made = new.asked(new.Answers(), {})
    assert made == new.Answers(
        "db1=10.0.0.11", (), "b1=10.0.0.41", "db1=10.0.0.11", ("10.0.1.0/24",), ("10.0.0.41/32",)
    )
    assert [questions.count(new.QUESTIONS[name]) for name in new.QUESTIONS] == [2, 2, 1, 1, 2, 1]
    said = capsys.readouterr().err
    assert "db1 has this address" in said
    assert "host bits set" in said


def test_what_the_command_line_says_is_judged_before_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    questions = ask(monkeypatch, [])
    wrong = new.Answers(primary="db1", clients=("office",), replicas=("db2=10.0.0.12",))
    with pytest.raises(RefusedError) as refused:
        new.asked(wrong, {})
    assert [problem.partition(" ")[0] for problem in refused.value.problems] == ["--primary", "--clients"]
    assert questions == []


def test_an_answer_is_judged_beside_what_the_command_line_says_later(monkeypatch: pytest.MonkeyPatch) -> None:
    ask(monkeypatch, ["db1=10.0.0.41", "db1=10.0.0.11"])
    given = replace(ANSWERS, primary="", replicas=(), pooler="p1=10.0.0.21")
    monkeypatch.setattr(new, "QUESTIONS", {name: text for name, text in new.QUESTIONS.items() if name != "replicas"})
    assert new.asked(given, {}).primary == "db1=10.0.0.11"


def test_the_addresses_of_other_environments_are_known(checkout: Path) -> None:
    assert new.taken(checkout)["10.30.0.11"] == "production"
