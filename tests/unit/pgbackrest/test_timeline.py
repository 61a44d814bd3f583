"""Whether the repository has a backup of the timeline that the server writes."""

import json
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

ROLE = Path(__file__).parents[3] / "roles/pgbackrest"
REBUILD = Path(__file__).parents[3] / "playbooks/rebuild_host.yml"


@pytest.fixture(scope="module", autouse=True)
def plugins() -> None:
    """Have Ansible find its filters, as its commands do."""
    init_plugin_loader()


def listed(*segments: str, **told: bool | None) -> str:
    """What `info` answers of backups that begin in these segments, each with what else is told of it."""
    return json.dumps([{"backup": [{"archive": {"start": one}, **told} for one in segments], "db": [], "repo": []}])


def backups(timeline: int, info: str) -> int:
    """How many of the backups that `info` lists are good ones of that timeline."""
    loader = DataLoader()
    variables = {
        **loader.load_from_file(str(ROLE / "vars/main.yml"), trusted_as_template=True),
        "__pgbackrest_info": {"stdout": info},
        "__pgbackrest_answer": {"stdout": json.dumps({"primary": True, "timeline": timeline})},
    }
    return int(Templar(loader=loader, variables=variables).template(variables["__pgbackrest_backups"]))


CASES = [
    pytest.param(1, (), 0, id="none"),
    pytest.param(1, ("000000010000000000000006",), 1, id="one"),
    pytest.param(2, ("000000010000000000000006",), 0, id="of-the-timeline-before"),
    pytest.param(10, ("000000090000000000000006", "0000000A0000000000000008"), 1, id="in-hexadecimal"),
    pytest.param(16, ("0000000A0000000000000008", "000000010000001000000008"), 0, id="of-no-other-part-of-the-name"),
]


@pytest.mark.parametrize(("timeline", "segments", "count"), CASES)
def test_a_backup_of_another_timeline_is_none_of_this_one(timeline: int, segments: tuple[str, ...], count: int) -> None:
    assert backups(timeline, listed(*segments)) == count


# `error` as pgBackRest tells it: true of damaged pages, and left out where no checksum was verified.
TOLD = [
    pytest.param({"error": True}, False, id="damaged-pages"),
    pytest.param({"error": False}, True, id="no-damaged-page"),
    pytest.param({"error": None}, True, id="null"),
    pytest.param({}, True, id="not-told"),
]


@pytest.mark.parametrize(("told", "good"), TOLD)
def test_a_backup_with_damaged_pages_is_not_the_first_of_a_timeline(told: dict[str, bool | None], good: bool) -> None:
    assert backups(1, listed("000000010000000000000006", **told)) == good


def rebuild_problems(info: str) -> str:
    """Why rebuild_host refuses a blank primary whose repository answers this; empty: it does not."""
    loader = DataLoader()
    plays = loader.load_from_file(str(REBUILD), trusted_as_template=True)
    declared = next(play["vars"] for play in plays if "rebuild_problems" in play.get("vars", {}))
    host = {"postgresql_primary": "db1"}
    variables = {
        **declared,
        "rebuild_host": "db1",
        "groups": {"postgresql": ["db1"]},
        "ansible_play_hosts": ["db1", "backup1"],
        "ansible_play_hosts_all": ["db1", "backup1"],
        "hostvars": {"db1": host, "backup1": {"rebuild_info": {"stdout": info}}},
        "pgbackrest_repository_host": "backup1",
        "pgbackrest_stanza": "main",
    }
    return str(Templar(loader=loader, variables=variables).template(declared["rebuild_problems"]) or "").strip()


@pytest.mark.parametrize(("told", "good"), TOLD)
def test_no_host_is_rebuilt_from_damaged_backups_alone(told: dict[str, bool | None], good: bool) -> None:
    said = rebuild_problems(listed("000000010000000000000006", **told))
    assert (not said) == good, said
    assert ("damaged pages" in said) != good


def test_a_repository_without_a_backup_is_not_told_to_be_damaged() -> None:
    said = rebuild_problems("[]")
    assert "has no backup of stanza 'main' that this could be made of." in said
    assert "damaged" not in said
