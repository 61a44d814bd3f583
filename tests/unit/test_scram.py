"""The filters that make and compare what the server keeps of a password."""

import base64
import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("scram", Path(__file__).parents[2] / "plugins/filter/scram.py")
assert SPEC is not None
assert SPEC.loader is not None
scram = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(scram)

# What PostgreSQL 15 keeps of the first password below.
VERIFIER = (
    "SCRAM-SHA-256$4096:EXRK7mqtyNbilRwiJfGleg=="
    "$qrVSvJH3LqoLfdjle0GScZxblxHG0OKjeG2WJsIsDU8=:rKLw7kd6nL0rky+K4OyBtimu8UalbnloT71RU53Sqkk="
)

CASES = [
    pytest.param("correct-horse-battery", VERIFIER, True, id="the-password"),
    pytest.param("correct-horse-batterx", VERIFIER, False, id="another-password"),
    pytest.param("", VERIFIER, False, id="no-password"),
    pytest.param("correct-horse-battery", None, False, id="no-verifier"),
    pytest.param("correct-horse-battery", "md5c2d3a4b5", False, id="another-kind-of-verifier"),
    pytest.param("correct-horse-batterÿ", VERIFIER, False, id="not-ascii"),
]


@pytest.mark.parametrize(("password", "verifier", "expected"), CASES)
def test_a_password_is_known_by_its_verifier(password: str, verifier: str | None, expected: bool) -> None:
    assert scram.is_password_of(password, verifier) is expected


def test_a_verifier_is_what_the_server_makes_of_the_same_salt() -> None:
    salt = base64.b64decode(VERIFIER.split(":")[1].split("$", maxsplit=1)[0])
    assert scram.verifier("correct-horse-battery", salt) == VERIFIER


def test_two_verifiers_of_one_password_differ_and_both_belong_to_it() -> None:
    one, other = scram.scram_verifier("correct-horse-battery"), scram.scram_verifier("correct-horse-battery")
    assert one != other
    assert scram.is_password_of("correct-horse-battery", one)
    assert scram.is_password_of("correct-horse-battery", other)


def test_a_password_that_the_server_would_prepare_is_refused() -> None:
    with pytest.raises(ValueError, match="ASCII"):
        scram.scram_verifier("correct-horse-batterÿ")
