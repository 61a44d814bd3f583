"""A tablespace comes back to where it was, what was there set aside on its own disk; or it is refused beforehand."""

import os
from pathlib import Path

import pytest
import tablespaces
from recovery import Place, free_bytes, make_room
from test_recovery import plan

DETAILS = {"tablespace": [{"destination": "/srv/ts1", "name": "ts1", "oid": 16394}]}


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        pytest.param(DETAILS, {"ts1": "/srv/ts1"}, id="one"),
        pytest.param({"tablespace": None}, {}, id="none"),
        pytest.param({}, {}, id="an-older-answer"),
    ],
)
def test_a_backup_says_where_its_tablespaces_were(details: dict[str, object], expected: dict[str, str]) -> None:
    assert tablespaces.of_backup(details) == expected


CREATED = [
    pytest.param('CREATE "/srv/ts3"', {"/srv/ts3"}, "/srv/ts3", id="a-live-one"),
    pytest.param('CREATE 16385 "/srv/ts3"', {"/srv/ts3"}, "/srv/ts3", id="a-live-one-with-its-number"),
    pytest.param('CREATE "/srv/ts3"', {"/srv/ts4"}, "", id="another"),
    pytest.param("CREATE base/5/16384", {"/srv/ts3"}, "", id="a-relation"),
]


@pytest.mark.parametrize(("text", "live", "found"), CREATED)
def test_the_log_tells_which_live_location_recovery_would_write_to(text: str, live: set[str], found: str) -> None:
    assert tablespaces.created([text], live) == found


def test_a_location_that_is_not_there_is_refused_with_the_command_that_makes_it(tmp_path: Path) -> None:
    said = tablespaces.problem("ts1", str(tmp_path / "ts1"), "postgres")
    assert f"install -d -o postgres -g postgres -m 0700 {tmp_path}/ts1" in said
    (tmp_path / "ts1").mkdir()
    assert tablespaces.problem("ts1", str(tmp_path / "ts1"), "postgres") == ""


@pytest.fixture
def cluster(tmp_path: Path) -> Place:
    """A cluster with a tablespace, beside whose folder somebody keeps a file."""
    place = Place(tmp_path / "main", tmp_path)
    place.work.mkdir()
    (place.directory / "pg_tblspc").mkdir(parents=True)
    (tmp_path / "ts1/PG_15_1").mkdir(parents=True)
    (tmp_path / "ts1/PG_15_1/live").touch()
    (tmp_path / "ts1/mine").touch()
    (place.directory / "pg_tblspc/16394").symlink_to(tmp_path / "ts1")
    return place


def test_in_place_its_folder_is_renamed_where_it_is_and_goes_on_after_a_kill(cluster: Place) -> None:
    make_room(cluster, plan("latest"))
    location = cluster.directory.with_name("ts1")
    [[source, aside]] = cluster.state["moves"]
    assert source == str(location / "PG_15_1")
    assert (Path(aside) / "live").exists()
    assert sorted(path.name for path in location.iterdir()) == [Path(aside).name, "mine"]
    # Half of the copy is there when it is run again: neither it nor what is aside is renamed again.
    (location / "PG_15_1").mkdir()
    (cluster.directory / "PG_VERSION").write_text("15")
    make_room(cluster, plan("latest"))
    assert (location / "PG_15_1").exists()
    assert (Path(aside) / "live").exists()


def test_a_clone_leaves_the_tablespaces_of_the_server_alone(cluster: Place) -> None:
    copied = Place(cluster.directory.with_name("clone"), cluster.binaries, tablespaces=cluster.directory.with_name("t"))
    copied.work.mkdir()
    make_room(copied, plan("latest"))
    assert (cluster.directory.with_name("ts1") / "PG_15_1/live").exists()
    assert os.listdir(copied.directory) == []


def test_a_disk_counts_once_however_many_tablespaces_are_on_it(tmp_path: Path) -> None:
    once = free_bytes([tmp_path])
    assert abs(free_bytes([tmp_path, tmp_path / "not/there/yet"]) - once) < once / 2
