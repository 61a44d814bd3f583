"""The session of a job at its end: a signal that comes late, or a cancelling that is under way, hits nothing."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Database
from job_host import JobHost, install

# A cancelling takes half a second, as from a busy server. What is said is that the statements of the end were done.
SCRIPT = """
import os, signal, sys, time
from dbjob_session import Session, StoppedError

class Slow:
    def __init__(self, connection):
        self.__dict__["real"] = connection
    def __getattr__(self, name):
        return getattr(self.real, name)
    def cancel(self):
        print("cancelling", flush=True)
        time.sleep(0.5)
        self.real.cancel()

session = Session("ends")
session.connection = Slow(session.connection)
session.watch_signals()
if sys.argv[1] == "before":
    os.kill(os.getpid(), signal.SIGTERM)
    try:
        while True:
            session.run("SELECT pg_sleep(0.3)")
    except StoppedError:
        pass
session.accept_stop()
if sys.argv[1] == "after":
    os.kill(os.getpid(), signal.SIGTERM)
for _ in range(3):
    session.run("SELECT pg_sleep(0.4)")
print("ended well")
session.close()
"""


@pytest.fixture
def host(tmp_path: Path) -> JobHost:
    """Return the shared modules, with a script that ends."""
    host = install("postgresql_retention", tmp_path / "host")
    (host.folder / "ends").write_text(SCRIPT)
    return host


@pytest.mark.parametrize("when", ["before", "after", "never"])
def test_what_ends_a_job_is_not_cancelled(db15: Database, host: JobHost, when: str) -> None:
    run = host.run(db15, "ends", when)
    assert (run.code, run.output.splitlines()[-1]) == (0, "ended well")
    assert ("cancelling" in run.output) == (when == "before")


SETTINGS = ["statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout", "transaction_timeout"]


def test_a_job_has_no_time_limit_of_the_server(db: Database, tmp_path: Path) -> None:
    host = install("postgresql_retention", tmp_path / "host")
    known = [name for name in SETTINGS if db.value("SELECT count(*) FROM pg_settings WHERE name = %s", (name,))]
    for name in known:
        db.execute(f"ALTER DATABASE {db.name} SET {name} = '1min'")
    ask = "; ".join(f"print(s.value('SHOW {name}'))" for name in known)
    with contextlib.chdir(host.folder):
        done = subprocess.run(
            [sys.executable, "-c", f"from dbjob_session import Session; s = Session('asks'); {ask}"],
            env=host.environment(db.server, db.name), capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert done.stdout.split() == ["0"] * len(known)


@pytest.mark.parametrize(
    "answer", ["'20000-01-01'::timestamptz", "'0044-03-15 BC'::date", "interval '170000000 years'"]
)
def test_a_time_that_python_does_not_have_is_a_job_s_error(db15: Database, tmp_path: Path, answer: str) -> None:
    host = install("postgresql_retention", tmp_path / "host")
    (host.folder / "asks").write_text(
        "from dbjob_session import JobError, Session\nsession = Session('asks')\n"
        f'try:\n    session.value("SELECT {answer}")\nexcept JobError as error:\n    print(error)\n'
        "print(session.value('SELECT 1'))\n"
    )
    run = host.run(db15, "asks")
    assert (run.code, "the server's answer cannot be held" in run.output) == (0, True), run.output
    assert run.output.splitlines()[-1] == "1"
