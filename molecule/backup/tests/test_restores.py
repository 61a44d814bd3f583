"""Restores: exactly the oracle's rows for each kind of target, and a reason for each that cannot be."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import PSQL, Mark, Query, archive_all, check_follows
from harness import REPOSITORY, SCRIPTS, said
from testinfra.backend.base import CommandResult
from testinfra.host import Host

# Each playbook takes backups and copies the standby.
pytestmark = pytest.mark.timeout(1800)

Play = Callable[..., subprocess.CompletedProcess[str]]
Restore = Callable[..., CommandResult]

DATA = "/var/lib/postgresql/1?/main"
DRILL_METRICS = "cat /var/lib/mltrading-db/metrics/drill_restore_result.prom"


@pytest.mark.parametrize("kind", ["time", "lsn", "name", "xid", "latest"])
def test_a_clone_has_exactly_the_rows_of_its_target(
    restore: Restore, marks: list[Mark], query: Query, clone: dict[str, Any], kind: str
) -> None:
    mark = marks[-1] if kind == "latest" else marks[1]
    run = restore("run", kind=kind, value=getattr(mark, kind, ""), **clone)
    assert run.rc == 0, run.stderr
    assert query("SELECT count(*), min(id), max(id) FROM oracle", clone["port"]) == f"{mark.rows}|1|{mark.rows}"
    assert query("SHOW archive_mode", clone["port"]) == "off"
    assert query("SHOW listen_addresses", clone["port"]) == ""
    assert query("SELECT count(*) FROM oracle") == str(marks[-1].rows)


REFUSED = [
    pytest.param("time", "2026-01-01 12:00:00", "needs a date, a time and an offset", id="no-offset"),
    pytest.param("time", "yesterday", "needs a date, a time and an offset", id="no-time"),
    pytest.param("time", "2000-01-01 00:00:00+00", "before the end of the oldest backup", id="before-all"),
    pytest.param("time", "2200-01-01 00:00:00+00", "not before the last commit that can be recovered to", id="to-come"),
    pytest.param("lsn", "0/28", "before the end of the oldest backup", id="before-all-lsn"),
    pytest.param("lsn", "FFFF/0", "after the last record that can be recovered to", id="lsn-to-come"),
    pytest.param("lsn", "here", "is not a position", id="no-lsn"),
    pytest.param("name", "nonesuch", "is not in the archive behind any backup", id="unknown-name"),
    pytest.param("xid", "4000000000", "is not in the archive behind any backup", id="unknown-transaction"),
    pytest.param("xid", "seven", "is not a number", id="no-transaction"),
]


@pytest.mark.usefixtures("marks")
@pytest.mark.parametrize(("kind", "value", "reason"), REFUSED)
def test_a_target_that_cannot_be_reached_is_refused_with_its_reason(
    restore: Restore, kind: str, value: str, reason: str
) -> None:
    run = restore("plan", kind=kind, value=value)
    assert run.rc == 3
    assert reason in run.stderr


@pytest.fixture
def missing_segment(repository: Host, query: Query, marks: list[Mark]) -> Iterator[str]:
    """A segment that the archive has lost, with later ones behind it, and every mark before it."""
    assert marks
    archive_all(query)
    segment = archive_all(query)
    archive_all(query)
    path = repository.check_output(f"find {REPOSITORY}/archive -name '{segment}-*'")
    repository.check_output("mv %s /var/tmp/kept", path)
    yield segment
    repository.check_output("mv /var/tmp/kept %s", path)


def test_a_missing_segment_is_named_and_refuses_latest_but_not_what_was_before(
    restore: Restore, missing_segment: str, marks: list[Mark], repository: Host
) -> None:
    latest = restore("plan", kind="latest")
    assert (latest.rc, f"WAL segment {missing_segment} is missing" in latest.stderr) == (3, True)
    later = restore("plan", kind="time", value="2200-01-01 00:00:00+00")
    assert (later.rc, f"as WAL segment {missing_segment} is missing" in later.stderr) == (3, True)
    assert restore("plan", kind="name", value=marks[1].name).rc == 0
    found = repository.run(f"cd / && runuser -u pgbackrest -- {SCRIPTS}/verify_repository.py")
    assert (found.rc, f"WAL segment {missing_segment} is missing" in found.stdout) == (1, True)


UNCLEAR = [
    pytest.param({"restore_target": "latest"}, "restore_confirm ('')", id="not-confirmed"),
    pytest.param({"restore_target": "latest", "restore_confirm": "db1"}, "restore_confirm ('db1')", id="another-host"),
    pytest.param({"restore_confirm": "bk-db1"}, "(0 are)", id="no-target"),
    pytest.param(
        {"restore_host": "bk-db2", "restore_confirm": "bk-db2", "restore_target": "latest"},
        "it is the primary that is restored (bk-db1)",
        id="a-standby",
    ),
    pytest.param(
        {"restore_confirm": "bk-db1", "restore_target": "latest", "restore_target_xid": 7}, "(2 are)", id="two-targets"
    ),
]


@pytest.mark.parametrize(("variables", "reason"), UNCLEAR)
def test_what_is_not_said_clearly_is_refused_and_changes_nothing(
    play: Play, query: Query, variables: dict[str, Any], reason: str
) -> None:
    before = query("SELECT pg_postmaster_start_time()")
    run = play("restore_backup.yml", **variables)
    assert run.returncode != 0
    assert reason in said(run)
    assert query("SELECT pg_postmaster_start_time()") == before


def test_the_drill_finds_all_well_and_leaves_only_its_result(repository: Host) -> None:
    run = repository.run(f"{SCRIPTS}/dbjob drill_restore")
    assert run.rc == 0, run.stdout
    result = json.loads(repository.check_output("cat /var/lib/mltrading-db-drill/result.json"))
    assert result["recovery_point_seconds"] >= 0
    assert result["rows"]["postgres: backup.heartbeat"] > 0
    assert "mltrading_drill_ok 1" in repository.check_output(DRILL_METRICS)
    assert not repository.file("/var/lib/mltrading-db-drill/data").exists
    assert repository.run("pgrep postgres").rc == 1


def test_a_drill_that_recovers_too_little_fails(repository: Host) -> None:
    settings = "DRILL_DIRECTORY=/var/lib/mltrading-db-drill RECOVERY_POINT_LIMIT=-100000"
    run = repository.run(f"cd / && runuser -u pgbackrest -- env {settings} {SCRIPTS}/drill_restore")
    assert run.rc == 1
    assert "older than the drill" in run.stdout
    assert "mltrading_drill_ok 0" in repository.check_output(DRILL_METRICS)
    # What it kept for whoever looks for the reason goes with the next one.
    assert repository.run(f"{SCRIPTS}/dbjob drill_restore").rc == 0
    assert not repository.file("/var/lib/mltrading-db-drill/data").exists


def test_a_running_server_is_not_restored_over(restore: Restore, marks: list[Mark], query: Query) -> None:
    run = restore("run", kind="name", value=marks[0].name)
    assert (run.rc, "a server runs on" in run.stderr) == (3, True)
    assert query("SELECT count(*) FROM oracle") == str(marks[-1].rows)


KILLED_WHEN = [
    pytest.param(f"ls {DATA}.before-restore-* {DATA}/base/1", id="while-copying"),
    pytest.param(f"grep -q recovering {DATA}.restore/state.json", id="while-recovering"),
]


@pytest.mark.parametrize("moment", KILLED_WHEN)
def test_a_restore_that_was_killed_goes_on_when_it_is_run_again(
    database: Host, restore: Restore, marks: list[Mark], query: Query, moment: str
) -> None:
    target = {"kind": "name", "value": marks[2].name}
    unit = f"postgresql@{database.check_output('ls /etc/postgresql')}-main"
    database.check_output(f"rm -rf {DATA}.before-restore-*; systemctl stop {unit}")
    begin = f"cd /; runuser -u postgres -- {SCRIPTS}/restore_backup run '{json.dumps(target)}' >/dev/null 2>&1 &"
    kill = f"until {moment} >/dev/null 2>&1; do sleep 0.02; done; pkill -KILL -u postgres"
    database.check_output("bash -c %s", f"{begin} {kill}")
    time.sleep(1)
    assert len(database.check_output(f"ls -d {DATA}.before-restore-*").splitlines()) == 1
    run = restore("run", **target)
    assert run.rc == 0, run.stderr
    database.check_output(f"systemctl reset-failed; systemctl restart {unit} pgbackrest")
    assert query("SELECT count(*), max(id) FROM oracle") == f"{marks[2].rows}|{marks[2].rows}"
    assert len(database.check_output(f"ls -d {DATA}.before-restore-*").splitlines()) == 1
    assert database.run(f"ls -d {DATA}.restore").rc != 0
    assert query("SHOW archive_mode") == "on"


def timeline(query: Query) -> str:
    """The timeline that the server writes."""
    return query("SELECT timeline_id FROM pg_control_checkpoint()")


@pytest.fixture(scope="module")
def timeline_before(query: Query, marks: list[Mark]) -> str:
    """The timeline before the playbook restores."""
    assert marks
    return timeline(query)


@pytest.mark.usefixtures("timeline_before")
def test_the_playbook_restores_to_a_time_and_the_server_archives_again(
    play: Play, query: Query, marks: list[Mark], restore: Restore, repository: Host
) -> None:
    full = "runuser -u pgbackrest -- pgbackrest info | grep -c 'full backup: '"
    backups = int(repository.check_output(full))
    run = play("restore_backup.yml", restore_target_time=marks[1].time, restore_confirm="bk-db1")
    assert run.returncode == 0, said(run)
    assert "recovery_point:" in said(run)
    assert "recovery_seconds:" in said(run)
    assert query("SELECT count(*), max(id) FROM oracle") == f"{marks[1].rows}|{marks[1].rows}"
    assert int(repository.check_output(full)) == backups + 1
    assert query("SELECT count(*) FROM pg_file_settings WHERE sourcefile LIKE '%auto.conf'") == "0"
    query("SELECT pg_create_restore_point('on the new timeline')")
    archive_all(query)
    assert restore("plan", kind="name", value="on the new timeline").rc == 0


def test_a_standby_that_was_ahead_of_what_was_restored_has_been_copied_anew(
    query: Query, marks: list[Mark], standby: Host
) -> None:
    check_follows(standby, query)
    rows = standby.check_output(f"{PSQL} -c %s", "SELECT count(*) FROM oracle")
    assert rows == str(marks[1].rows)


def test_the_way_back_from_a_restore_that_succeeded_is_another_along_the_old_timeline(
    play: Play, query: Query, marks: list[Mark], standby: Host, timeline_before: str
) -> None:
    assert query("SELECT count(*) FROM oracle") == str(marks[1].rows)
    wanted = {"restore_target_name": marks[2].name, "restore_timeline": timeline_before}
    run = play("restore_backup.yml", restore_confirm="bk-db1", **wanted)
    assert run.returncode == 0, said(run)
    assert query("SELECT count(*), max(id) FROM oracle") == f"{marks[2].rows}|{marks[2].rows}"
    check_follows(standby, query)


EXPECTED = [
    pytest.param("FF/0", "before the expected end FF/0", id="a-position"),
    pytest.param("2200-01-01 00:00:00+00", "before the expected end 2200-01-01", id="a-time"),
    pytest.param("2200-01-01 00:00:00", "an offset from UTC", id="a-time-without-an-offset"),
]


@pytest.mark.parametrize(("expected", "reason"), EXPECTED)
@pytest.mark.usefixtures("marks")
def test_latest_is_refused_where_the_archive_ends_before_what_is_expected(
    restore: Restore, expected: str, reason: str
) -> None:
    run = restore("plan", kind="latest", expected_end=expected)
    assert (run.rc, reason in run.stderr) == (3, True), run.stderr


def test_latest_says_which_end_it_takes_and_who_gave_it(restore: Restore, marks: list[Mark], query: Query) -> None:
    archive_all(query)
    computed = json.loads(restore("plan", kind="latest").stdout)
    assert computed["expected_end"].endswith(", the last record that is archived; nobody gave one")
    given = json.loads(restore("plan", kind="latest", expected_end=marks[1].time).stdout)
    assert given["expected_end"] == f"{marks[1].time}, as given"


DAMAGES = [
    pytest.param(f"rm -rf {DATA}", id="a-directory-that-is-gone"),
    pytest.param(f"rm -rf {DATA}/global/pg_control {DATA}/base", id="a-directory-that-is-destroyed"),
]


@pytest.mark.usefixtures("marks")
@pytest.mark.parametrize("damage", DAMAGES)
def test_the_playbook_restores_what_was_destroyed(
    play: Play, query: Query, database: Host, standby: Host, damage: str
) -> None:
    rows = query("SELECT count(*), max(id) FROM oracle")
    archive_all(query)
    expected = query("SELECT clock_timestamp()")
    query("INSERT INTO oracle VALUES (-1); DELETE FROM oracle WHERE id = -1")
    archive_all(query)
    database.check_output("bash -c %s", f"pkill -KILL -x postgres; {damage}")
    run = play("restore_backup.yml", restore_target="latest", restore_confirm="bk-db1", restore_expected_end=expected)
    assert run.returncode == 0, said(run)
    assert f"expected_end: {expected}, as given" in said(run)
    assert query("SELECT count(*), max(id) FROM oracle") == rows
    check_follows(standby, query)


def test_a_restore_that_failed_says_the_way_back_and_that_leads_there(
    database: Host, restore: Restore, query: Query, marks: list[Mark]
) -> None:
    rows = query("SELECT count(*), max(id) FROM oracle")
    target = json.dumps({"kind": "name", "value": marks[0].name, "timeline": timeline(query)})
    unit = f"postgresql@{database.check_output('ls /etc/postgresql')}-main"
    database.check_output(f"rm -rf {DATA}.before-restore-*; systemctl stop {unit}")
    # Its server is killed while it recovers: the program says what to do.
    begin = f"cd /; runuser -u postgres -- {SCRIPTS}/restore_backup run '{target}' 2>/var/tmp/said >/dev/null & p=$!"
    recovers = f"grep -q '.recovering.: true' {DATA}.restore/state.json && pgrep -x postgres"
    kill = f"until {recovers}; do sleep 0.02; done >/dev/null 2>&1; pkill -KILL -x postgres"
    ended = database.run("bash -c %s", f"{begin}; {kill}; wait $p")
    reason = database.check_output("cat /var/tmp/said")
    assert (ended.rc, "PostgreSQL ended instead of recovering" in reason) == (1, True), reason
    back = re.search(r"mv .* && rm -r \S+(?=,)", reason)
    assert back, reason
    database.check_output("bash -c %s", f"{back[0]} && systemctl start {unit}")
    assert query("SELECT count(*), max(id) FROM oracle") == rows
    archive_all(query)
    assert restore("plan", kind="latest").rc == 0
    database.check_output(f"rm -r {DATA}.failed")
