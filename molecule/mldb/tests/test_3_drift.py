"""What is changed by hand is found by its name, and then kept or undone. All is changed before drift looks once."""

from typing import Any

import pytest
from by_hand import CHANGES, NOBODY, ByHand
from environment import DB1, DB2, NAME, NODES, answer, eventually, follows, mldb

pytestmark = pytest.mark.timeout(2400)

EACH = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
Drift = list[dict[str, Any]]


def words(one: dict[str, Any]) -> str:
    """All that drift says of one thing."""
    return " ".join([one["name"], *one["why"]])


@pytest.fixture(scope="module")
def found(applied: object) -> Drift:
    """What drift finds once everything was changed."""
    assert applied
    for change in CHANGES.values():
        change.make()
        assert change.is_there()
    assert eventually(lambda: follows(DB1, DB2))
    return list(answer("drift", code=3)["drift"])


@pytest.fixture(scope="module")
def accepted(found: Drift) -> set[str]:
    """The commands that stand last in the hosts' audit logs after all of it was taken as it is."""
    assert found
    done = mldb("drift", NAME, "--accept")
    assert (done.returncode, f"--confirm {NAME}" in done.stderr) == (2, True)
    answer("drift", "--accept", "--confirm", NAME)
    return {str(node.audit()["command"]) for node in NODES}


@pytest.fixture(scope="module")
def overwritten(accepted: set[str]) -> dict[str, Any]:
    """What the run has changed that came after."""
    assert accepted == {"drift --accept"}
    return answer("apply", "--confirm", NAME)


@EACH
def test_a_change_by_hand_is_found_by_its_name(found: Drift, change: ByHand) -> None:
    named = [one for one in found if one["host"] == change.node.name and change.word in words(one)]
    assert (change.kind, change.right) in {(one["kind"], one["right"]) for one in named}, named or found
    assert all(one["keep"] and one["undo"] for one in named)


def test_nothing_is_found_that_nobody_changed(found: Drift) -> None:
    known = [change.word for change in CHANGES.values()]
    # What follows from a change: the file that holds the rule, and what the drop-in sets.
    known += ["pg_hba.conf", "log_temp_files"]
    assert [one for one in found if not any(word in words(one) for word in known)] == []


@EACH
def test_a_run_overwrites_what_the_repository_says_otherwise_and_leaves_the_rest(
    overwritten: dict[str, Any], change: ByHand
) -> None:
    assert overwritten["exit_code"] == 0
    assert change.is_there() == (change.right == NOBODY)


@pytest.mark.usefixtures("overwritten")
def test_what_was_accepted_and_what_was_overwritten_is_no_drift_any_more() -> None:
    assert answer("drift")["drift"] == []
