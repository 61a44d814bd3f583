"""A refusal of a moment that has just passed says what may still arrive, and when."""

import importlib.machinery
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "roles/pgbackrest/files/jobs/restore_backup"
FOLLOWS = json.dumps({"primary": False})


def primary(archived: bool) -> str:
    return json.dumps({"primary": True, "segment": "000000010000000000000007", "archived": archived})


@pytest.fixture(scope="module")
def job() -> ModuleType:
    """The script, which has a command's name."""
    loader = importlib.machinery.SourceFileLoader("restore_backup", str(SCRIPT))
    spec = importlib.util.spec_from_loader("restore_backup", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


ANSWERS = [
    pytest.param({}, "", id="nobody-was-asked"),
    pytest.param({"db1": primary(True), "db2": FOLLOWS}, "db1 takes writes, and has archived all", id="all-is-there"),
    pytest.param({"db1": primary(False)}, "segment 000000010000000000000007 is not archived yet", id="it-cannot"),
    pytest.param({"db1": "", "db2": FOLLOWS}, "db1 did not answer as a primary", id="the-primary-is-gone"),
    pytest.param({"db1": FOLLOWS}, "db1 did not answer as a primary", id="there-is-none"),
]


@pytest.mark.parametrize(("answers", "expected"), ANSWERS)
def test_it_says_what_may_still_arrive(job: ModuleType, answers: dict[str, str], expected: str) -> None:
    said = job.still_to_come(answers)
    assert said.startswith(expected) if not expected else expected in said
