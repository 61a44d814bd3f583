"""What was committed by now is in the archive before anybody relies on it."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server, running

JOBS = Path(__file__).parents[2] / "roles/pgbackrest/files/jobs"


def ask(server: Server, statement: str) -> str:
    with contextlib.closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return str(cursor.fetchone()[0]) if cursor.description else ""


@pytest.fixture(params=[15, 17])
def archiving(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server whose archive takes nothing yet."""
    with running(request.param, archive_mode="on", archive_timeout="60s", archive_command="test -e taken") as server:
        ask(server, (JOBS / "sql/heartbeat_table.sql").read_text())
        yield server


def let_archive(server: Server) -> None:
    """Have the archive take what it is given from now on."""
    (server.data / "taken").touch()


def run_job(server: Server, name: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a job of the role as the host does, with a configuration of pgBackRest that names the server's port."""
    (folder / "pgbackrest.conf").write_text(f"[mltrading]\npg1-path={server.data}\npg1-port={server.port}\n")
    code = (
        f"import sys, runpy, pathlib; sys.path.insert(0, {str(JOBS)!r}); import repository;"
        f"repository.CONFIGURATION = pathlib.Path({str(folder / 'pgbackrest.conf')!r});"
        f"sys.argv = [{name!r}, *{list(arguments)!r}]; runpy.run_path({str(JOBS / name)!r}, run_name='__main__')"
    )
    where = {"PGHOST": str(server.home), "PGPORT": str(server.port), "PGUSER": "postgres", "ARCHIVE_AGE_LIMIT": "300"}
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | where, capture_output=True, text=True, check=False
    )


def test_a_heartbeat_is_in_the_segment_that_its_job_ends(archiving: Server, tmp_path: Path) -> None:
    let_archive(archiving)
    before = ask(archiving, "SELECT pg_current_wal_lsn()")
    run = run_job(archiving, "heartbeat", folder=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    segment = f"{archiving.data}/pg_wal/" + ask(archiving, f"SELECT pg_walfile_name('{before}')")
    said = archiving.run("pg_waldump", "--rmgr=Transaction", f"--start={before}", segment, check=False).stdout
    number = ask(archiving, "SELECT xmin FROM backup.heartbeat ORDER BY number DESC LIMIT 1")
    assert f"tx: {number:>10}," in said
    assert [path.stem for path in (archiving.data / "pg_wal/archive_status").iterdir()] == [Path(segment).name]


def test_what_was_committed_by_now_is_archived_before_it_is_answered(archiving: Server, tmp_path: Path) -> None:
    told = json.loads(run_job(archiving, "archive_now", "1", folder=tmp_path).stdout)
    assert (told["primary"], told["archived"]) == (True, False)
    let_archive(archiving)
    again = json.loads(run_job(archiving, "archive_now", folder=tmp_path).stdout)
    assert again["archived"] is True
    assert again["segment"] > told["segment"]
    assert ask(archiving, "SELECT last_archived_wal FROM pg_stat_archiver") >= again["segment"]


def test_a_server_that_does_not_answer_ends_it_in_a_sentence(archiving: Server, tmp_path: Path) -> None:
    archiving.stop()
    run = run_job(archiving, "archive_now", folder=tmp_path)
    archiving.start()
    assert (run.returncode, run.stdout, "Traceback" in run.stderr) == (1, "", False)
    assert run.stderr.startswith("failed: connection to server")
