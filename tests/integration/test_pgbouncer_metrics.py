"""The job that asks the pooler, against Debian's pgBouncer: what answers, what lets nobody in, and what is down."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from servers import running

PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = PROJECT / "roles/monitoring_exporters/files/jobs/pgbouncer_metrics"
PGBOUNCER = PROJECT / ".cache/pgbouncer"
PHRASE = 'a "quoted" \\ password'


@dataclass
class Pooler:
    """A pooler with three databases: one that answers, one whose server is gone, one that refuses the login."""

    folder: Path
    process: subprocess.Popen[bytes]

    def asked(self) -> str:
        """What the job writes. On a host it runs as the pooler's user, who needs no password for the console."""
        where = {
            "PGHOST": str(self.folder), "PGPORT": "6433", "PGBOUNCER_USERLIST": str(self.folder / "users"),
            "PGBOUNCER_METRICS": str(self.folder / "metrics.prom"), "PGPASSWORD": "console",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, SCRIPT], env=os.environ | where, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "password" not in done.stdout
        return (self.folder / "metrics.prom").read_text()


@pytest.fixture
def pooler() -> Iterator[Pooler]:
    """A pooler before a server."""
    (library,) = PGBOUNCER.glob("usr/lib/*-linux-*")
    with running(17) as server, tempfile.TemporaryDirectory(prefix="pgopt-bouncer-", dir="/tmp") as name:
        folder, cursor = Path(name), server.connect("postgres").cursor()
        cursor.execute("CREATE ROLE pgbouncer_auth LOGIN PASSWORD %s", [PHRASE])
        cursor.execute("CREATE DATABASE app")
        cursor.execute("CREATE DATABASE closed")
        cursor.execute("REVOKE ALL ON DATABASE closed FROM PUBLIC")
        shutil.copytree(PGBOUNCER / "usr", folder / "usr", symlinks=True)
        quoted = PHRASE.replace('"', '""')
        (folder / "users").write_text(f'"pgbouncer_auth" "{quoted}"\n"pgbouncer" "console"\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\napp = host={server.home} port={server.port}\n"
            f"closed = host={server.home} port={server.port}\n"
            f"app_ro = host={folder} port=1 dbname=app\n"
            f"[pgbouncer]\nlisten_addr =\nlisten_port = 6433\nunix_socket_dir = {folder}\nauth_type = scram-sha-256\n"
            f"auth_file = {folder}/users\nlogfile = {folder}/log\nserver_login_retry = 1\n"
            "admin_users = pgbouncer\n"
        )
        user = server.user
        if user is not None:
            for path in (folder, *folder.iterdir()):
                os.chown(path, user.pw_uid, user.pw_gid)
        folder.chmod(0o755)
        who = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        command = [str(folder / "usr" / "sbin" / "pgbouncer"), "-q", str(folder / "pgbouncer.ini")]
        environment = {"LD_LIBRARY_PATH": str(folder / library.relative_to(PGBOUNCER))}
        with subprocess.Popen(command, env=environment, **who) as process:  # type: ignore[call-overload]
            try:
                end = time.monotonic() + 60
                while not (folder / ".s.PGSQL.6433").exists():
                    assert process.poll() is None, (folder / "log").read_text()
                    assert time.monotonic() < end
                    time.sleep(0.05)
                yield Pooler(folder, process)
            finally:
                process.terminate()


def test_the_pooler_and_each_of_its_databases_are_asked(pooler: Pooler) -> None:
    said = pooler.asked()
    assert "\npgbouncer_up 1\n" in said
    assert 'pgbouncer_database_up{database="app"} 1\n' in said
    assert 'pgbouncer_database_up{database="app_ro"} 0\n' in said
    assert 'pgbouncer_database_up{database="closed"} 0\n' in said
    reasons = dict(line.removeprefix("# reason ").split(": ", 1) for line in said.splitlines() if "# reason" in line)
    assert reasons.keys() == {"app_ro", "closed"}
    assert "permission denied" in reasons["closed"]
    pooler.process.terminate()
    pooler.process.wait()
    said = pooler.asked()
    assert "\npgbouncer_up 0\n" in said
    assert "pgbouncer_database_up" not in said
