"""Whether recovery ended where it should: PostgreSQL itself starts and promotes with rows missing."""

import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import recovery
from plan_restore import Plan, RefusedError, Target
from recovery import CLOSED, End, Place, RecoveryError, check_clone, check_end, check_place, make_room
from wal import parse_lsn

TIME = "2026-01-01 12:00:00+00"
BEFORE, AFTER = datetime(2026, 1, 1, 11, 59, tzinfo=UTC), datetime(2026, 1, 1, 12, 1, tzinfo=UTC)


def plan(kind: str, value: str = "", expected: str = "") -> Plan:
    label, segment = "20260101-000000F", "000000010000000000000005"
    return Plan(Target(kind, value, expected), label, (label,), segment, segment, 1, "7", "15", "0/5000000", 1000)


def end(lsn: str, reason: str, last_commit: datetime | None = BEFORE) -> End:
    return End(2, parse_lsn(lsn), reason, last_commit)


WELL = [
    pytest.param(plan("latest"), end("0/5000028", "no recovery target specified"), id="latest"),
    pytest.param(
        plan("latest", "", TIME), end("0/5000028", "no recovery target specified", AFTER), id="latest-expected"
    ),
    pytest.param(plan("time", TIME), end("0/5000028", "before 2026-01-01 12:00:03+00"), id="time"),
    pytest.param(plan("lsn", "0/5000000"), end("0/5000028", "after LSN 0/5000000"), id="lsn"),
    pytest.param(plan("name", "here"), end("0/5000028", 'at restore point "here"'), id="name"),
    pytest.param(plan("xid", "77"), end("0/5000028", "after transaction 77"), id="xid"),
]
WRONG = [
    pytest.param(
        plan("latest"), end("0/4FFFFFF", "no recovery target specified"), "before 0/5000000", id="latest-cut-short"
    ),
    pytest.param(
        plan("latest", "", TIME),
        end("0/5000028", "no recovery target specified"),
        "before the expected end",
        id="latest-before-what-is-expected",
    ),
    pytest.param(plan("time", TIME), end("0/5000028", "before …", AFTER), "with a commit of", id="a-later-commit"),
    pytest.param(
        plan("time", TIME), end("0/5000028", "no recovery target specified"), "met its target", id="no-target"
    ),
    pytest.param(
        plan("name", "here"), end("0/5000028", 'at restore point "there"'), "another point", id="another-name"
    ),
    pytest.param(plan("xid", "77"), end("0/5000028", "after transaction 777"), "another transaction", id="another-xid"),
]


@pytest.mark.parametrize(("planned", "ended"), WELL)
def test_an_end_as_planned_is_taken(planned: Plan, ended: End) -> None:
    check_end(planned, ended)


@pytest.mark.parametrize(("planned", "ended", "reason"), WRONG)
def test_any_other_end_is_an_error(planned: Plan, ended: End, reason: str) -> None:
    with pytest.raises(RecoveryError, match=reason):
        check_end(planned, ended)


@pytest.fixture
def another_cluster(tmp_path: Path) -> Place:
    """A directory with a cluster of system 8, where the plan is of system 7."""
    place = Place(tmp_path / "main", tmp_path)
    (place.directory / "global").mkdir(parents=True)
    (place.directory / "global/pg_control").touch()
    said = {"postgres": "postgres (PostgreSQL) 15.1", "pg_controldata": "Database system identifier: 8"}
    for name, text in said.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{text}'\n")
        (tmp_path / name).chmod(0o755)
    return place


def test_a_cluster_that_was_made_and_never_started_gives_way(another_cluster: Place) -> None:
    check_place(another_cluster, plan("latest"), "")


def test_another_system_that_ran_does_not_give_way_unasked(another_cluster: Place) -> None:
    (another_cluster.directory / "postmaster.opts").touch()
    with pytest.raises(RefusedError, match="restore_replaces=8"):
        check_place(another_cluster, plan("latest"), "")
    check_place(another_cluster, plan("latest"), "8")


@pytest.fixture
def half_way(tmp_path: Path) -> Place:
    """A restore that was killed while it recovered: what was there before is aside, the doors are closed."""
    place = Place(tmp_path / "main", tmp_path)
    place.work.mkdir()
    place.directory.mkdir()
    (place.directory / "PG_VERSION").write_text("15")
    (place.directory / "postgresql.auto.conf").write_text(f"restore_command = 'x'\n{CLOSED}")
    (tmp_path / "main.before-restore-1").mkdir()
    place.remember(old=str(tmp_path / "main.before-restore-1"), recovering=True)
    return place


def test_a_restore_that_was_killed_while_it_recovered_goes_on(half_way: Place) -> None:
    assert make_room(half_way, plan("latest")) == half_way.directory.with_name("main.before-restore-1")
    assert (half_way.directory / "PG_VERSION").exists()


def test_a_restore_that_was_killed_when_its_doors_were_open_is_done_and_another_keeps_its_data(half_way: Place) -> None:
    (half_way.directory / "postgresql.auto.conf").write_text("")
    (half_way.directory / "live").touch()
    assert half_way.state == {}
    old = make_room(half_way, plan("latest"))
    assert old is not None
    assert old.name != "main.before-restore-1"
    assert (old / "live").exists()
    assert list(half_way.directory.iterdir()) == []
    assert half_way.state == {"old": str(old), "moves": []}


@pytest.fixture
def sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where servers of this host answer; one does at port 5432, and one that was killed left port 5433."""
    monkeypatch.setattr(recovery, "SOCKETS", str(tmp_path))
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(tmp_path / ".s.PGSQL.5432"))
        server.listen()
        with closing(socket.socket(socket.AF_UNIX)) as killed:
            killed.bind(str(tmp_path / ".s.PGSQL.5433"))
        yield tmp_path


CLONES = [
    pytest.param("clone", "5499", "begins with /", id="a-relative-directory"),
    pytest.param("{}/clone", "", "is a number", id="no-port"),
    pytest.param("{}/clone", "65536", "is a number", id="no-such-port"),
    pytest.param("{}/clone", "5432", "a server answers at port 5432", id="somebody-s-port"),
    pytest.param("{}", "5499", "is not empty", id="somebody-s-directory"),
]


@pytest.mark.parametrize(("directory", "port", "reason"), CLONES)
def test_a_clone_that_could_not_be_left_running_is_refused(
    sockets: Path, directory: str, port: str, reason: str
) -> None:
    with pytest.raises(RefusedError, match=reason):
        check_clone(Place(Path(directory.format(sockets)), sockets), port)


def test_a_clone_takes_an_empty_directory_and_the_port_of_nobody_alive(sockets: Path) -> None:
    check_clone(Place(sockets / "clone", sockets), "5433")


@pytest.mark.usefixtures("sockets")
def test_a_clone_that_was_killed_half_way_goes_on(half_way: Place) -> None:
    check_clone(half_way, "5432")
