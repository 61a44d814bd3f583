"""The names the module makes fit, are recognised, and never meet; the mark leaves the person's comment as it is."""

from __future__ import annotations

import pytest
from ansible.module_utils.pg_optimization import naming
from ansible.module_utils.pg_optimization.model import Name

NAMES = {"short": "x", "long": "x" * 63, "beyond ASCII": "é" * 31, "with a space": "my index", "emoji": "🐘" * 15}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_own_names_fit_and_are_recognised(name: str) -> None:
    made = [
        naming.building(Name("public", name)),
        naming.retired(Name("public", name)),
        naming.on_partition(Name("public", name), Name("other", name), "btree (a)"),
    ]
    assert [len(item.name.encode()) <= naming.LIMIT and naming.is_own(item.name) for item in made] == [True] * 3
    assert len(set(made)) == 3


def test_names_that_are_cut_alike_stay_apart() -> None:
    assert naming.building(Name("public", "x" * 62 + "a")) != naming.building(Name("public", "x" * 62 + "b"))


def test_a_partition_of_another_definition_has_another_name() -> None:
    index, partition = Name("public", "x"), Name("public", "p_1")
    assert naming.on_partition(index, partition, "btree (a)") != naming.on_partition(index, partition, "btree (b)")


@pytest.mark.parametrize("name", ["x", "x__pgopt_new", "x__pgopt_new_0123456", "x__pgopt_tmp_01234567"])
def test_a_persons_name_is_not_taken_for_an_own_one(name: str) -> None:
    assert not naming.is_own(name)


@pytest.mark.parametrize(
    ("name", "declared", "is_leftover"),
    [
        pytest.param("x_ccnew", "x", True, id="new"),
        pytest.param("x_ccold2", "x", True, id="old with a number"),
        pytest.param("x_ccnew", "y", False, id="of another index"),
        pytest.param("x_ccnew", "x_y", False, id="of a longer name"),
        pytest.param("x" * 57 + "_ccnew", "x" * 63, True, id="of a name that was cut"),
        pytest.param("x" * 40 + "_ccnew", "x" * 63, False, id="too short to have been cut"),
        pytest.param("x_cc", "x", False, id="something else"),
    ],
)
def test_what_a_killed_reindex_leaves_is_recognised(name: str, declared: str, is_leftover: bool) -> None:
    assert naming.is_reindex_leftover(name, declared) is is_leftover


@pytest.mark.parametrize("text", ["", "Why", "It's [so]", naming.MARK[1:], "two\nlines"])
def test_a_comment_comes_back_from_behind_the_mark(text: str) -> None:
    marked = naming.mark(text)
    assert naming.marked(marked)
    assert naming.own_comment(marked) == text
    assert naming.mark(marked) == marked


@pytest.mark.parametrize("text", ["", "Why", naming.mark(""), naming.mark("Why")])
def test_the_sign_of_an_unfinished_build_goes_as_it_came(text: str) -> None:
    signed = naming.pending(text)
    assert naming.is_pending(signed)
    assert not naming.is_pending(text)
    assert naming.pending(signed) == signed
    assert naming.own_comment(signed) == naming.own_comment(text)
    assert naming.marked(signed) is naming.marked(text)
    assert naming.settled(signed) == text


def test_a_comment_without_the_mark_is_the_persons() -> None:
    assert naming.own_comment("by hand") == "by hand"
    assert naming.own_comment(None) == ""
    assert not naming.marked("by hand")
    assert not naming.marked(None)
