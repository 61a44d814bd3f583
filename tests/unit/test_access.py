"""What a declared role is compared by, and how its settings are written."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

SPEC = importlib.util.spec_from_file_location("access", Path(__file__).parents[2] / "plugins/filter/access.py")
assert SPEC is not None
assert SPEC.loader is not None
access = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(access)


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("search_path", 'public, "$user"', "'public', '$user'"),
        ("Search_Path", '"A""b",C', "'A\"b', 'c'"),
        ("search_path", "", "''"),
        ("temp_tablespaces", "one,two", "'one', 'two'"),
        ("DateStyle", "ISO, DMY", "'ISO, DMY'"),
        ("application_name", "it's", "'it''s'"),
        ("jit", False, "'off'"),
        ("work_mem", 4096, "'4096'"),
    ],
)
def test_a_setting_is_written_as_sql(name: str, value: Any, written: str) -> None:
    assert access.role_settings({name: value}) == {name: written}


@pytest.mark.parametrize(
    ("name", "value", "well"),
    [
        ("search_path", 'a, "b', False),
        ("search_path", '"a"b', False),
        ("search_path", "a,\nb", False),
        ("application_name", "one\n", False),
        ("application_name", '"', True),
        ("search_path", '"$user"', True),
    ],
)
def test_a_setting_that_cannot_be_written_is_known(name: str, value: str, well: bool) -> None:
    assert access.is_setting_of(value, name) is well


@pytest.mark.parametrize(
    ("text", "well"),
    [
        ("2030-01-01 00:00:00+00", True),
        ("2030-01-01T00:00:00Z", True),
        ("2030-01-01 00:00:00 UTC", True),
        ("infinity", True),
        ("2030-01-01 00:00:00", False),
        ("2030-02-30 00:00:00+00", False),
        ("tomorrow", False),
        ("", False),
    ],
)
def test_an_instant_has_an_offset(text: str, well: bool) -> None:
    assert access.is_instant(text) is well


FOUND = {
    "attributes": ["LOGIN"],
    "connection_limit": -1,
    "expires": None,
    "settings": {"TimeZone": "UTC", "search_path": 'public, "$user"'},
}
DECLARED = {"name": "a", "settings": {"timezone": "UTC", "search_path": 'public,"$user"'}}


@pytest.mark.parametrize(
    ("found", "declared", "differs"),
    [
        pytest.param({}, {}, False, id="spellings-of-one-setting"),
        pytest.param({"expires": "infinity"}, {}, False, id="never"),
        pytest.param({"expires": "2030-01-01T01:00:00+01:00"}, {}, True, id="expires-no-more"),
        pytest.param(
            {"expires": "2030-01-01T01:00:00+01:00"}, {"expires": "2030-01-01 00:00:00+00"}, False, id="one-instant"
        ),
        pytest.param({"expires": "20300-01-01T00:00:00+00:00"}, {"expires": "2030-01-01Z"}, True, id="a-far-year"),
        pytest.param({}, {"expires": "2030-01-01 00:00:00+00"}, True, id="expires-from-now-on"),
        pytest.param({"connection_limit": 5}, {}, True, id="a-limit"),
        pytest.param({"attributes": ["LOGIN", "CREATEDB"]}, {}, True, id="an-attribute"),
        pytest.param({"attributes": []}, {"login": False}, False, id="no-login"),
        pytest.param({"settings": {"TimeZone": "UTC", "search_path": '"public, ""$user"""'}}, {}, True, id="one-name"),
        pytest.param({"settings": {}}, {"settings": {"jit": False}}, True, id="a-setting-more"),
        pytest.param({"settings": {"jit": "off"}}, {"settings": {"jit": False}}, False, id="yaml-s-false"),
    ],
)
def test_a_role_differs_by_meaning(found: dict[str, Any], declared: dict[str, Any], differs: bool) -> None:
    assert bool(access.role_changes(FOUND | found, DECLARED | declared)) is differs


FOUND_PLAIN = {"attributes": ["LOGIN"], "connection_limit": -1, "settings": {}, "expires": None}


@pytest.mark.parametrize(
    ("found", "declared", "password", "says"),
    [
        pytest.param(None, {}, False, ["a new role", "LOGIN"], id="a new one"),
        pytest.param({}, {"login": False}, True, ["a new role", "NOLOGIN"], id="a new one that cannot log in"),
        pytest.param(
            None,
            {"attributes": ["REPLICATION"], "connection_limit": 5, "settings": {"jit": False}, "member_of": ["b"]},
            False,
            ["a new role", "LOGIN", "REPLICATION", "a member of b", "connection limit 5", "jit = off"],
            id="a new one with all there is",
        ),
        pytest.param(FOUND_PLAIN, {}, False, [], id="as declared"),
        pytest.param(FOUND_PLAIN, {}, True, ["another password"], id="another password"),
        pytest.param(FOUND_PLAIN, {"login": False}, False, ["NOLOGIN"], id="no login any more"),
        pytest.param(FOUND_PLAIN, {"attributes": ["BYPASSRLS"]}, False, ["BYPASSRLS"], id="an attribute"),
        pytest.param(FOUND_PLAIN, {"connection_limit": 9}, False, ["connection limit 9 (now -1)"], id="a limit"),
        pytest.param(
            FOUND_PLAIN | {"settings": {"work_mem": "4MB", "jit": "on", "search_path": '"a", b'}},
            {"settings": {"work_mem": "8MB", "search_path": "a, b", "lock_timeout": "5s"}},
            False,
            ["no jit", "lock_timeout = 5s", "work_mem = 8MB (now 4MB)"],
            id="settings, of which one is only spelt otherwise",
        ),
        pytest.param(
            FOUND_PLAIN,
            {"expires": "2030-01-01 00:00:00+00"},
            False,
            ["expires 2030-01-01 00:00:00+00 (now never)"],
            id="an end",
        ),
    ],
)
def test_what_becomes_of_a_role_is_said_in_words(
    found: dict[str, Any] | None, declared: dict[str, Any], *, password: bool, says: list[str]
) -> None:
    assert access.role_changes(found, {"name": "a", **declared}, password=password) == says


def test_roles_are_told_apart_by_their_state_in_their_order() -> None:
    roles = [{"name": "b"}, {"name": "a", "state": "absent"}, {"name": "c", "state": "present"}]
    assert [role["name"] for role in access.roles_by_state(roles, "present")] == ["b", "c"]
    assert [role["name"] for role in access.roles_by_state(roles, "absent")] == ["a"]
