"""A standby's copy has the primary's tablespaces at the same paths, on a host of its own: here a mount namespace."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from servers import Server, running

SCRIPT = Path(__file__).parents[2] / "roles/postgresql_replica/files/standby.py"
PORT = 5999
# The tests' Python may be root's alone: it becomes the server's user once it has read what the script imports.
AS_SERVER = """
import importlib.util, os, sys
script, user, group, *arguments = sys.argv[1:]
spec = importlib.util.spec_from_file_location("standby", script)
standby = sys.modules["standby"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(standby)
os.setgroups([])
os.setgid(int(group))
os.setuid(int(user))
sys.exit(standby.main(arguments))
"""


class Host:
    """The standby's host: what is at the tablespace's path is another folder than the primary's."""

    def __init__(self, primary: Server) -> None:
        """Give it a folder, with nothing in it."""
        self.primary, self.home, self.location = primary, primary.home / "standby", primary.home / "a=b c"
        self.folder = self.home / "disk"
        self.folder.mkdir(parents=True)
        self.own(self.home)
        (self.home / "standby.env").write_text(
            f"STANDBY_PRIMARY_CONNINFO=host={primary.home} port={primary.port} user=postgres\nSTANDBY_OTHER_HOSTS=db1\n"
            f"STANDBY_SLOT=replica_db2\nSTANDBY_DATA={self.home}/data\nSTANDBY_BINARIES={primary.bin}\n"
            f"STANDBY_SOCKET={self.home}\nSTANDBY_PORT={PORT}\nSTANDBY_START_CONF={self.home}/start.conf\n"
        )

    def own(self, path: Path) -> None:
        """Give a path to the server's user."""
        if self.primary.user:
            os.chown(path, self.primary.user.pw_uid, self.primary.user.pw_gid)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command there, as this user."""
        mount = f"mount --bind {shlex.quote(str(self.folder))} {shlex.quote(str(self.location))}"
        environment = {
            "PATH": os.environ["PATH"], "LC_ALL": "C", "STANDBY_SETTINGS": str(self.home / "standby.env"),
            "STANDBY_TABLESPACES": json.dumps({"history": str(self.location)}),
        }  # fmt: skip
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", f"{mount} && cd / && exec {shlex.join(command)}"], env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip

    def standby(self, *arguments: str) -> tuple[int, str]:
        """Run the script; return its exit code and what it said."""
        user = self.primary.user
        done = self.run(
            sys.executable,
            "-c",
            AS_SERVER,
            str(SCRIPT),
            *map(str, (user.pw_uid, user.pw_gid) if user else (0, 0)),
            *arguments,
        )
        return done.returncode, done.stdout

    def serve(self, action: str) -> None:
        """Start or stop its server."""
        options = f"-p {PORT} -k {self.home} -c listen_addresses= -c fsync=off -c max_prepared_transactions=5"
        log = str(self.home / "log")
        more = ["-o", options, "-l", log] if action == "start" else ["-m", "fast"]
        command = [str(self.primary.bin / "pg_ctl"), action, "-w", "-D", str(self.home / "data"), *more]
        user = ["setpriv", f"--reuid={self.primary.user.pw_uid}", "--clear-groups"] if self.primary.user else []
        # The server would keep a pipe open.
        done = self.run(*user, "sh", "-c", f"umask 077; {shlex.join(command)} >{self.home}/said 2>&1")
        assert done.returncode == 0, (self.home / "said").read_text() + (self.home / "log").read_text()


@pytest.fixture(params=[15, 17])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """The host of a standby to be, whose primary has a tablespace."""
    with running(request.param, folder="tablespaces") as primary:
        host = Host(primary)
        host.location.mkdir()
        host.own(host.location)
        ask(primary, f"CREATE TABLESPACE history LOCATION '{host.location}'")
        ask(primary, "CREATE TABLE candles TABLESPACE history AS SELECT generate_series(1, 10000) AS n")
        yield host


def ask(server: Server, statement: str, **where: Any) -> Any:
    """What the primary answers, or who is at another place."""
    place = {"host": str(server.home), "port": server.port, "user": "postgres", "dbname": "postgres"} | where
    with closing(psycopg2.connect(**place)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None


def test_a_host_without_a_place_is_refused_and_nothing_is_copied(host: Host) -> None:
    code, said = host.standby("places")
    assert (code, f"tablespace history: its location {host.location} is not writable for" in said) == (3, True), said
    code, said = host.standby("clone")
    assert (code, "install -d -o" in said) == (3, True), said
    assert not (host.home / "data").exists()
    assert ask(host.primary, "SELECT count(*) FROM pg_replication_slots") == 0


def test_a_copy_has_its_tablespaces_and_what_was_there_is_moved_aside(host: Host) -> None:
    host.own(host.folder)
    assert host.standby("places") == (0, "")
    # What a copy that was killed has left.
    (host.folder / "standby.clone/PG_1").mkdir(parents=True)
    host.own(host.folder / "standby.clone")
    host.own(host.folder / "standby.clone/PG_1")
    code, said = host.standby("clone")
    assert code == 0, said
    folders = [path.name for path in host.folder.iterdir()]
    assert (len(folders), folders[0].startswith(f"PG_{host.primary.major}_")) == (1, True)
    links = list((host.home / "data/pg_tblspc").iterdir())
    assert [os.readlink(link) for link in links] == [str(host.location)]
    host.serve("start")
    where = {"host": str(host.home), "port": PORT}
    assert ask(host.primary, "SELECT pg_is_in_recovery(), count(*) FROM candles", **where) is True
    assert ask(host.primary, "SELECT count(*) FROM candles", **where) == 10000
    host.serve("stop")
    code, said = host.standby("clone", "--again")
    assert (code, f"moved aside: {host.location}/{folders[0]}.before-" in said) == (0, True), said
    aside, kept = sorted(host.folder.iterdir(), key=lambda path: -len(path.name))
    assert kept.name == folders[0]
    assert sorted(path.name for path in aside.rglob("*")) == sorted(path.name for path in kept.rglob("*"))
    host.serve("start")
    assert ask(host.primary, "SELECT count(*) FROM candles", **where) == 10000
    host.serve("stop")
