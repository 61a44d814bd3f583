"""When a primary is kept from taking writes because another server has taken its place."""

from pathlib import Path
from typing import Any

import guard
import pytest
from guard import MARKER, patience, replacement, timeline
from standby import Failed, Settings, kind, refuse_wrong_clone, retire

SYSTEM = "7300000000000000001"
STANDBY = {"system": SYSTEM, "timeline": 1, "position": "0/3000000", "writes": False, "slot": "missing"}


def writes(on: int, system: str = SYSTEM) -> dict[str, Any]:
    return STANDBY | {"writes": True, "timeline": on, "system": system}


def fails(text: str) -> dict[str, Any]:
    return {"error": f'connection to server at "db2" (10.0.0.2), port 5432 failed: {text}'}


ANSWERS = [
    pytest.param(writes(2), 1, True, id="a-later-timeline"),
    pytest.param(writes(1), 1, True, id="the-same-timeline"),
    pytest.param(writes(1), 2, False, id="one-that-we-have-replaced"),
    pytest.param(writes(2, "7"), 1, False, id="another-system"),
    pytest.param(STANDBY, 1, False, id="a-standby"),
    pytest.param(fails("Connection timed out"), 1, False, id="no-answer"),
]


@pytest.mark.parametrize(("answer", "least", "replaced"), ANSWERS)
def test_a_server_is_replaced_by_one_of_its_system_on_no_earlier_timeline(
    answer: dict[str, Any], least: int, replaced: bool
) -> None:
    assert bool(replacement({"db2": answer}, SYSTEM, least)) == replaced


WAITED_FOR = [
    pytest.param("Connection refused", True, id="a-server-that-is-restarted"),
    pytest.param("FATAL:  the database system is starting up", True, id="one-that-recovers"),
    pytest.param("FATAL:  the database system is shutting down", True, id="one-that-stops"),
    pytest.param("FATAL:  the database system is not yet accepting connections", True, id="one-that-is-not-consistent"),
    pytest.param("No route to host", False, id="a-host-that-is-gone"),
    pytest.param("timeout expired", False, id="a-host-that-is-silent"),
]


@pytest.mark.parametrize(("text", "waits"), WAITED_FOR)
def test_a_server_that_may_answer_in_a_moment_is_waited_for(text: str, waits: bool) -> None:
    assert (patience({"db2": fails(text), "db3": STANDBY}) > 0) == waits


@pytest.mark.parametrize(("checkpoint", "recovery", "expected"), [("1", "0", 1), ("1", "2", 2), ("3", "2", 3)])
def test_a_server_that_was_promoted_a_moment_ago_knows_its_timeline(
    checkpoint: str, recovery: str, expected: int
) -> None:
    found = {"Latest checkpoint's TimeLineID": checkpoint, "Min recovery ending loc's timeline": recovery}
    assert timeline(found) == expected


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A server that was a primary."""
    (tmp_path / "global").mkdir()
    for name in ("PG_VERSION", "postmaster.opts", "global/pg_control"):
        (tmp_path / name).touch()
    return Settings("host=db1", ["db2"], "replica_db1", tmp_path, tmp_path, "/nowhere", 1, tmp_path / "start.conf", {})


def test_a_question_may_be_of_another_primary_than_the_files_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("PRIMARY_CONNINFO", "OTHER_HOSTS", "SLOT", "DATA", "BINARIES", "SOCKET", "START_CONF")
    lines = [f"STANDBY_{name}=host=db1" for name in names]
    (tmp_path / "standby.env").write_text("\n".join(["# ours", *lines, "STANDBY_PORT=5432", ""]))
    monkeypatch.setattr("standby.SETTINGS", tmp_path / "standby.env")
    assert Settings.read().conninfo == "host=db1"
    monkeypatch.setenv("STANDBY_PRIMARY_CONNINFO", "host=db2")
    assert (Settings.read().conninfo, Settings.read().slot) == ("host=db2", "host=db1")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the other server answers, one after the other; the last again and again. No second passes."""
    answers: list[dict[str, Any]] = []
    now = [0.0]
    control = {
        "Database system identifier": SYSTEM,
        "Latest checkpoint's TimeLineID": "1",
        "Min recovery ending loc's timeline": "0",
    }
    monkeypatch.setattr(guard, "control", lambda *_: control)
    monkeypatch.setattr(guard, "ask", lambda _: {"db2": answers.pop(0) if len(answers) > 1 else answers[0]})
    monkeypatch.setattr(guard.time, "sleep", lambda seconds: now.append(now[-1] + seconds))
    monkeypatch.setattr(guard.time, "monotonic", lambda: now[-1])
    return answers


def test_a_refusal_is_remembered_when_nobody_answers_any_more(settings: Settings, said: list[dict[str, Any]]) -> None:
    said[:] = [writes(2)]
    with pytest.raises(Failed, match=r"db2 takes writes for this cluster \(timeline 2\)"):
        guard.start(settings)
    assert (settings.data / MARKER).exists()
    said[:] = [fails("No route to host")]
    with pytest.raises(Failed, match="was replaced: db2 takes writes"):
        guard.start(settings)


def test_a_restart_of_the_new_primary_is_waited_out(settings: Settings, said: list[dict[str, Any]]) -> None:
    said[:] = [fails("Connection refused")] * 3 + [fails("the database system is starting up")] * 50 + [writes(2)]
    with pytest.raises(Failed, match="db2 takes writes"):
        guard.start(settings)


ALONE = [
    pytest.param([fails("Connection refused")], id="a-server-that-stays-down"),
    pytest.param([fails("No route to host")], id="a-host-that-is-gone"),
    pytest.param([STANDBY], id="a-standby"),
    pytest.param([writes(0)], id="an-old-primary"),
]


@pytest.mark.parametrize("answers", ALONE)
def test_a_primary_that_nobody_has_replaced_starts(
    settings: Settings, said: list[dict[str, Any]], answers: list[dict[str, Any]]
) -> None:
    said[:] = answers
    guard.start(settings)
    assert not (settings.data / MARKER).exists()


def test_data_that_lost_its_control_file_is_nobody_s(settings: Settings) -> None:
    assert kind(settings.data) == "primary"
    (settings.data / "global/pg_control").unlink()
    assert kind(settings.data) == "unused"
    (settings.data / "standby.signal").touch()
    assert kind(settings.data) == "unused"


def test_data_that_lost_its_control_file_is_in_no_clone_s_way(settings: Settings) -> None:
    (settings.data / "global/pg_control").unlink()
    refuse_wrong_clone(settings, {"writes": True, "system": SYSTEM}, again=False)
    assert retire(settings, unclean=True) == ""
    assert not (settings.data / "standby.signal").exists()
