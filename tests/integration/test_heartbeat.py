"""The heartbeat has WAL archived in time after a crash, when the checkpointer sleeps through archive_timeout."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server, running

JOBS = Path(__file__).parents[2] / "roles/pgbackrest/files/jobs"
ARCHIVE = {"archive_mode": "on", "archive_command": "true", "archive_timeout": "1s"}
STARTS = 25


def ask(server: Server, statement: str) -> str:
    with contextlib.closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return str(cursor.fetchone()[0]) if cursor.description else ""


def switches(server: Server, seconds: float) -> bool:
    """Whether the server ends the segment by itself that is written to all the time."""
    segment = "SELECT pg_walfile_name(pg_current_wal_insert_lsn())"
    begun, end = ask(server, segment), time.monotonic() + seconds
    while time.monotonic() < end:
        ask(server, "INSERT INTO written VALUES (1)")
        if ask(server, segment) != begun:
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(params=[15, 17])
def asleep(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server whose checkpointer went to sleep before recovery from a crash was over, as in most starts."""
    with running(request.param, checkpoint_timeout="1h", synchronous_commit="on", **ARCHIVE) as server:
        ask(server, "CREATE TABLE written (n integer)")
        for _ in range(STARTS):
            ask(server, "INSERT INTO written VALUES (1)")
            server.kill()
            (server.data / "postmaster.pid").unlink()
            server.start()
            if not switches(server, 3):
                break
        else:
            pytest.fail(f"none of {STARTS} starts left the checkpointer asleep")
        yield server


def test_after_a_crash_a_heartbeat_wakes_who_looks_at_archive_timeout(asleep: Server) -> None:
    where = {"PGHOST": str(asleep.home), "PGPORT": str(asleep.port), "PGUSER": "postgres", "ARCHIVE_AGE_LIMIT": "300"}
    ask(asleep, (JOBS / "sql/heartbeat_table.sql").read_text())
    assert not switches(asleep, 3)
    run = subprocess.run(
        [sys.executable, JOBS / "heartbeat"], env=os.environ | where, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert switches(asleep, 3)


PGBACKREST = """#!/bin/sh
# Stands for pgBackRest before a repository that is a folder: archive_command copies into it, or does not.
stanza=$1
case "$*" in
  *" info "*) echo '[{"db": [{"id": 1, "system-id": 1, "version": "1"}], "archive": [{"id": "1-1"}], "backup": []}]' ;;
  *" repo-ls "*) [ ! -e REPOSITORY.down ] || { echo "ERROR: [103]: no answer" >&2; exit 103; }; ls REPOSITORY ;;
  *) exit 9 ;;
esac
"""


@pytest.fixture(params=[15, 17])
def archiving(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, Path, dict[str, str]]]:
    """A server that archives into a folder, the folder, and the environment of its heartbeat."""
    with running(request.param, archive_mode="on") as server:
        repository = server.home / "repository"
        repository.mkdir()
        shutil.chown(repository, server.data.owner(), server.data.group())
        command = f"cp %p {repository}/%f-checksum.lz4"
        ask(server, f"ALTER SYSTEM SET archive_command = '{command}'")
        ask(server, "SELECT pg_reload_conf()")
        ask(server, (JOBS / "sql/heartbeat_table.sql").read_text())
        (tmp_path / "pgbackrest").write_text(PGBACKREST.replace("REPOSITORY", str(repository)))
        (tmp_path / "pgbackrest").chmod(0o755)
        (tmp_path / "pgbackrest.conf").write_text("[global]\n[main]\npg1-path=/x\n")
        jobs = tmp_path / "jobs"
        shutil.copytree(JOBS, jobs)
        configured = (jobs / "repository.py").read_text()
        (jobs / "repository.py").write_text(
            configured.replace("/etc/pgbackrest/pgbackrest.conf", str(tmp_path / "pgbackrest.conf"))
        )
        yield (
            server,
            repository,
            {
                "PATH": f"{tmp_path}:{os.environ['PATH']}", "PGHOST": str(server.home), "PGPORT": str(server.port),
                "PGUSER": "postgres", "ARCHIVE_AGE_LIMIT": "300", "ARCHIVE_COMMAND": command, "JOBS": str(jobs),
            },
        )  # fmt: skip


def beat(environment: dict[str, str]) -> tuple[int, str]:
    """Run the job."""
    command = [sys.executable, f"{environment['JOBS']}/heartbeat"]
    run = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in run.stderr, run.stderr
    return run.returncode, run.stdout


def archive_one(server: Server) -> None:
    """Have the server archive a segment, and wait until it says so."""
    counted = "SELECT archived_count FROM pg_stat_archiver"
    before = int(ask(server, counted))
    ask(server, "SELECT pg_logical_emit_message(false, 'test', 'x'), pg_switch_wal()")
    end = time.monotonic() + 60
    while int(ask(server, counted)) == before:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_wal_that_the_command_threw_away_is_missed(archiving: tuple[Server, Path, dict[str, str]]) -> None:
    server, repository, environment = archiving
    archive_one(server)
    assert beat(environment)[0] == 0
    # Whatever the server believes.
    for file in repository.iterdir():
        file.unlink()
    code, said = beat(environment)
    assert (code, "and the repository does not have it" in said) == (1, True)
    archive_one(server)
    assert beat(environment)[0] == 0
    Path(f"{repository}.down").touch()
    code, said = beat(environment)
    assert (code, "nobody knows whether" in said, "no answer" in said) == (1, True, True)
    Path(f"{repository}.down").unlink()


def test_a_segment_in_between_that_was_thrown_away_is_missed(archiving: tuple[Server, Path, dict[str, str]]) -> None:
    server, repository, environment = archiving
    for _ in range(3):
        archive_one(server)
    names = sorted(file.name for file in repository.iterdir())
    # The first of an archive may be missing: the server archived elsewhere before.
    (repository / names[0]).unlink()
    assert beat(environment)[0] == 0
    (repository / names[2]).unlink()
    archive_one(server)
    code, said = beat(environment)
    assert (code, f"takes {names[2][:24]} for archived, and the repository does not have it" in said) == (1, True)


def test_another_archive_command_is_told_before_a_segment_is_lost(
    archiving: tuple[Server, Path, dict[str, str]],
) -> None:
    server, _, environment = archiving
    archive_one(server)
    ask(server, "ALTER SYSTEM SET archive_command = '/bin/true'")
    ask(server, "SELECT pg_reload_conf(), pg_sleep(0.5)")
    code, said = beat(environment)
    assert code == 1
    assert "archive_command is '/bin/true', declared is 'cp %p" in said
