"""Restores a backup into a directory and recovers it with the doors closed: it archives nothing, answers nobody else.

A restore that was killed goes on where it can: what is half-way there is known by the state kept beside the directory.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
from plan_restore import LSN, NUMBER, Plan, RefusedError, parse_time
from repository import Repository
from tablespaces import moves, of_directory, problem
from wal import format_lsn, parse_history, parse_lsn

# Where a server of this host answers.
SOCKETS = "/var/run/postgresql"
LAST_PORT = 65_535
SPARE_BYTES = 1024**3
POLL_SECONDS = 0.5
ATTEMPTS = 60
# Enough for whatever the cluster's own settings allowed: prepared transactions are recovered, connections not needed.
SETTINGS = {
    "archive_mode": "off",
    "autovacuum": "off",
    "hot_standby": "off",
    "listen_addresses": "",
    "logging_collector": "off",
    "log_destination": "stderr",
    "max_locks_per_transaction": "1024",
    "max_prepared_transactions": "1000",
    "port": "5432",
    "session_preload_libraries": "",
    "shared_preload_libraries": "",
    "ssl": "off",
    "synchronous_standby_names": "",
}
# What the restore wrote into postgresql.auto.conf and a server that serves again does without; the doors last.
RECOVERY_SETTINGS = (
    "archive_mode",
    "recovery_target_action",
    "recovery_target_inclusive",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_timeline",
    "recovery_target_xid",
    "restore_command",
    "listen_addresses",
)
CLOSED = "listen_addresses = ''\n"
RECOVERY_TYPE = {"latest": "default"}


class RecoveryError(Exception):
    """Recovery did not end where it should."""


class BusyError(Exception):
    """Another restore into the directory runs."""


@dataclass(frozen=True)
class Place:
    """Where a restore goes to, and what it keeps beside: its state, its log, its socket.

    `options` are pgBackRest's own for this place. `tablespaces` is where those of a copy go; in place they go to where
    they were.
    """

    directory: Path
    binaries: Path
    options: tuple[str, ...] = ()
    tablespaces: Path | None = None

    @property
    def work(self) -> Path:
        """The folder beside it."""
        return self.directory.with_name(self.directory.name + ".restore")

    @property
    def state_file(self) -> Path:
        """What the restore has done so far."""
        return self.work / "state.json"

    @property
    def state(self) -> dict[str, Any]:
        """The state of a restore that did not end, {} where there is none.

        One that was killed when all was done but to forget it has left the doors open: what is there now is live.
        """
        found = dict(json.loads(self.state_file.read_text())) if self.state_file.exists() else {}
        return {} if found.get("recovering") and self.doors_are_open else found

    @property
    def doors_are_open(self) -> bool:
        """Whether a server that starts on the directory serves: the line that a restore adds is gone."""
        settings = self.directory / "postgresql.auto.conf"
        return settings.exists() and CLOSED.strip() not in settings.read_text().splitlines()

    def remember(self, **news: Any) -> None:
        """Add to the state, so that it is there as a whole or not at all."""
        partial = self.state_file.with_suffix(".partial")
        partial.write_text(json.dumps(self.state | news))
        partial.replace(self.state_file)

    def program(self, name: str) -> str:
        """A program of PostgreSQL's."""
        return str(self.binaries / name)

    def control(self) -> dict[str, str]:
        """What pg_controldata says, {} where there is no cluster."""
        if not (self.directory / "global/pg_control").exists():
            return {}
        said = subprocess.run(
            [self.program("pg_controldata"), self.directory],
            capture_output=True,
            text=True,
            check=False,
            env={"LC_ALL": "C"},
        ).stdout
        return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in said.splitlines())}

    @property
    def has_begun(self) -> bool:
        """Whether pgBackRest goes on with what it has copied there."""
        return any((self.directory / name).exists() for name in ("PG_VERSION", "backup.manifest"))

    @property
    def was_used(self) -> bool:
        """Whether a server ever ran on the directory: it writes this file when it starts, and leaves it there."""
        return (self.directory / "postmaster.opts").exists()

    def postmaster(self) -> int:
        """The process that runs on the directory, 0 where none does."""
        try:
            pid = int((self.directory / "postmaster.pid").read_text().split()[0])
            return pid if Path(f"/proc/{pid}/cwd").resolve() == self.directory.resolve() else 0
        except (OSError, ValueError, IndexError):
            return 0


@contextmanager
def alone(place: Place) -> Iterator[None]:
    """Let no other restore into the directory; raises BusyError."""
    place.work.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (place.work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"another restore into {place.directory} runs") from error
        yield


def check_place(place: Place, plan: Plan, replaces: str) -> None:
    """Refuse a place that the plan does not fit; raises RefusedError. Changes nothing."""
    directory, state = place.directory, place.state
    version = subprocess.run(
        [place.program("postgres"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    if version.split()[2].split(".")[0] != plan.version:
        raise RefusedError(
            f"the backup is one of PostgreSQL {plan.version}, and {place.binaries} holds {version.strip()}"
        )
    if directory.is_mount():
        raise RefusedError(f"{directory} is a mount point, and cannot be renamed: restore a clone elsewhere")
    homes = {} if place.tablespaces else plan.tablespaces
    problems = [problem(name, location, getpass.getuser()) for name, location in homes.items()]
    if any(problems):
        raise RefusedError("; ".join(filter(None, problems)))
    system = place.control().get("Database system identifier", plan.system)
    if system not in (plan.system, replaces) and place.was_used and not state:
        raise RefusedError(
            f"{directory} holds system {system}, the repository {plan.system}. To replace it on purpose, set"
            f" restore_replaces={system}"
        )
    needed = plan.bytes + plan.bytes // 10 + SPARE_BYTES
    free = free_bytes([directory, *map(Path, homes.values())])
    if free < needed and not state:
        places = " and ".join([str(directory.parent), *homes.values()])
        raise RefusedError(
            f"{places} have {free >> 20} MB free, and the restore needs {needed >> 20} MB beside what is there"
        )


def free_bytes(paths: list[Path]) -> int:
    """What the disks have free on which these paths are or would be, each disk once."""
    there = [next(path for path in [wanted, *wanted.parents] if path.exists()) for wanted in paths]
    return sum({path.stat().st_dev: shutil.disk_usage(path).free for path in there}.values())


def check_clone(place: Place, port: str) -> None:
    """Refuse a clone that could not be left running where it is to be; raises RefusedError. Changes nothing."""
    if not place.directory.is_absolute():
        raise RefusedError(f"the directory of a clone ({place.directory}) begins with /")
    if not NUMBER.fullmatch(port) or not int(port) <= LAST_PORT:
        raise RefusedError(f"the port of a clone ({port!r}) is a number from 1 to {LAST_PORT}")
    if place.state:
        return
    for directory in (place.directory, place.tablespaces):
        if directory and directory.exists() and any(directory.iterdir()):
            raise RefusedError(f"{directory} is not empty: a clone needs a directory of its own")
    with closing(socket.socket(socket.AF_UNIX)) as somebody:
        if somebody.connect_ex(f"{SOCKETS}/.s.PGSQL.{port}") == 0:
            raise RefusedError(f"a server answers at port {port} of this host: a clone needs a port of its own")


def make_room(place: Place, plan: Plan) -> Path | None:
    """Rename what is in the directory and its tablespaces, and return where it is; a half-way restore of ours stays."""
    state = place.state
    if running := place.postmaster():
        if not state.get("recovering"):
            raise RefusedError(f"a server runs on {place.directory} (process {running}): stop it first")
        stop(place, "immediate")
    now = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    # Those that the log makes again, too: recovery would go on with what is there.
    homes = set() if place.tablespaces else {*plan.tablespaces.values(), *of_directory(place.directory)}
    if not state:
        old = place.directory.with_name(f"{place.directory.name}.before-restore-{now}")
        state = {"old": str(old) if place.directory.exists() else "", "moves": moves(homes, f"before-restore-{now}")}
        place.remember(**state)
    elif place.directory.exists():
        # Left by a server of ours that was killed.
        (place.directory / "postmaster.pid").unlink(missing_ok=True)
    for source, destination in state.get("moves", []):
        if not Path(destination).exists():
            Path(source).rename(destination)
    old = Path(state["old"])
    if state["old"] and not old.exists():
        place.directory.rename(old)
    place.directory.mkdir(mode=0o700, exist_ok=True)
    if any(place.directory.iterdir()) and not place.has_begun:
        place.directory.rename(place.directory.with_name(f"{place.directory.name}.half-{now}"))
        place.directory.mkdir(mode=0o700)
    if not place.has_begun:
        half = moves(plan.tablespaces.values(), f"half-{now}") if not place.tablespaces else []
        for source, destination in half:
            Path(source).rename(destination)
        if place.tablespaces and place.tablespaces.exists():
            shutil.rmtree(place.tablespaces)
    return old if state["old"] else None


def copy(place: Place, plan: Plan, repository: Repository) -> None:
    """Bring the backup, and the settings of its recovery."""
    target = plan.target
    value = parse_time(target.value).astimezone(UTC).isoformat(sep=" ") if target.kind == "time" else target.value
    options = [
        f"--pg1-path={place.directory}",
        f"--set={plan.backup}",
        f"--type={RECOVERY_TYPE.get(target.kind, target.kind)}",
        f"--target-timeline={plan.timeline}",
        "--archive-mode=off",
        "--delta",
        *place.options,
    ]
    if place.tablespaces and plan.tablespaces:
        options.append(f"--tablespace-map-all={place.tablespaces}")
    if target.kind != "latest":
        options += [f"--target={value}", "--target-action=promote"]
    repository.run("restore", *options)
    # Whoever starts it before it was looked at starts it with the doors closed.
    with (place.directory / "postgresql.auto.conf").open("a") as file:
        file.write(CLOSED)


def start(place: Place) -> subprocess.Popen[bytes]:
    """Start the server with the doors closed: a socket in a folder of our own, for our own OS user."""
    user = getpass.getuser()
    (place.work / "postgresql.conf").write_text("")
    (place.work / "pg_hba.conf").write_text("local all postgres peer map=restore\n")
    (place.work / "pg_ident.conf").write_text(f"restore {user} postgres\n")
    settings = SETTINGS | {
        "config_file": str(place.work / "postgresql.conf"),
        "hba_file": str(place.work / "pg_hba.conf"),
        "ident_file": str(place.work / "pg_ident.conf"),
        "unix_socket_directories": str(place.work),
        "external_pid_file": "",
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with (place.work / "postgresql.log").open("wb") as log:
        return subprocess.Popen(
            [place.program("postgres"), "-D", str(place.directory), *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=place.directory,
            start_new_session=True,
        )


def stop(place: Place, how: str) -> None:
    """Stop the server and wait until it has ended."""
    command = [place.program("pg_ctl"), "stop", f"--pgdata={place.directory}", f"--mode={how}", "--timeout=3600"]
    subprocess.run(command, check=True, capture_output=True)


def explained(reasons: list[str]) -> str:
    """What PostgreSQL's words mean here."""
    if any(re.search(r'^directory ".*" does not exist', text) for text in reasons):
        return (
            " A tablespace was made after the backup: make its directory, or take a backup first, where the repository"
            " is: sudo /usr/local/lib/mltrading-db/dbjob backup_diff"
        )
    return ""


def follow(place: Place, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server has promoted itself; raises RecoveryError when it has ended instead.

    That it started, or became consistent, says nothing of how far it is.
    """
    # A backup of a running server says that it is in production, too.
    signal = place.directory / "recovery.signal"
    while signal.exists() or place.control().get("Database cluster state") != "in production":
        if server.poll() is not None:
            said = (place.work / "postgresql.log").read_text(errors="replace").splitlines()
            marks = ("FATAL:", "HINT:")
            reasons = [line.partition(mark)[2].strip() for line in said for mark in marks if mark in line] or said[-1:]
            raise RecoveryError(f"PostgreSQL ended instead of recovering: {' '.join(reasons)}{explained(reasons)}")
        time.sleep(POLL_SECONDS)


def connect(place: Place, database: str = "postgres") -> Any:
    """A connection, as soon as the server takes one."""
    where = {"host": str(place.work), "port": SETTINGS["port"], "user": "postgres", "dbname": database}
    for _ in range(ATTEMPTS):
        with suppress(psycopg2.OperationalError):
            return psycopg2.connect(**where, client_encoding="UTF8")
        time.sleep(POLL_SECONDS)
    return psycopg2.connect(**where, client_encoding="UTF8")


def ask(place: Place, *statements: str) -> list[tuple[Any, ...]]:
    """The answer to the last of the statements, each in a transaction of its own."""
    connection = connect(place)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@dataclass(frozen=True)
class End:
    """Where recovery ended: the timeline it opened, the position, PostgreSQL's reason, the last commit it replayed."""

    timeline: int
    lsn: int
    reason: str
    last_commit: datetime | None


def where_it_ended(place: Place) -> End:
    """Read from the history that the server wrote when it promoted itself."""
    timeline, last = ask(place, "SELECT timeline_id, pg_last_xact_replay_timestamp() FROM pg_control_checkpoint()")[0]
    histories = sorted((place.directory / "pg_wal").glob("????????.history"))
    timeline = int(histories[-1].name[:8], 16) if histories else timeline
    before = parse_history(timeline, histories[-1].read_text())[-2]
    return End(timeline, before.end, before.reason, last)


def check_end(plan: Plan, end: End) -> None:
    """Whether that is what the plan promised; raises RecoveryError."""
    kind, value, expected = plan.target.kind, plan.target.value, plan.target.expected
    problem = ""
    if end.lsn < parse_lsn(plan.end):
        problem = f"at {format_lsn(end.lsn)}, before {plan.end}"
    elif expected and not LSN.fullmatch(expected) and end.last_commit and end.last_commit < parse_time(expected):
        problem = f"with a last commit of {end.last_commit}, before the expected end {expected}"
    elif kind == "time" and end.last_commit and end.last_commit > parse_time(value):
        problem = f"with a commit of {end.last_commit}"
    elif kind in ("time", "name", "xid", "lsn") and "no recovery target" in end.reason:
        problem = f"without having met its target ({end.reason})"
    elif kind == "name" and f'"{value}"' not in end.reason:
        problem = f"at another point ({end.reason})"
    elif kind == "xid" and value not in end.reason.split():
        problem = f"at another transaction ({end.reason})"
    if problem:
        raise RecoveryError(f"recovery to {plan.target.shown} ended {problem}")


def recover(place: Place, plan: Plan, repository: Repository) -> End:
    """Restore into the directory and recover; the server runs, closed, when this returns where recovery ended."""
    place.remember(recovering=False)
    copy(place, plan, repository)
    place.remember(recovering=True)
    server = start(place)
    follow(place, server)
    end = where_it_ended(place)
    check_end(plan, end)
    return end


def open_doors(place: Place, end: End) -> None:
    """Leave nothing of the recovery in the settings, and stop the server, for whoever starts it as it is to run.

    The history of the new timeline was written while nothing was archived: PostgreSQL archives it once it may, so that
    a later recovery knows of this timeline and does not open another of its number.
    """
    ask(place, *(f"ALTER SYSTEM RESET {name}" for name in RECOVERY_SETTINGS))
    stop(place, "fast")
    status = place.directory / "pg_wal/archive_status"
    (status / f"{end.timeline:08X}.history.ready").touch(mode=0o600)
    descriptor = os.open(status, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
