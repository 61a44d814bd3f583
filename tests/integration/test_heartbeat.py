"""The heartbeat has WAL archived in time after a crash, when the checkpointer sleeps through archive_timeout."""

import contextlib
import os
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
