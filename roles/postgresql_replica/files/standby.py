#!/usr/bin/python3
"""What the role postgresql_replica does on a host, run there as OS user postgres.

    standby.py state             what this host and its primary are, as JSON; changes nothing
    standby.py slot              make this standby's replication slot on the primary, anew where it was lost
    standby.py clone [--again]   copy the primary's data beside, then put it in place; --again: although there is data
    standby.py places            refuse a host that lacks the locations of the primary's tablespaces; changes nothing
    standby.py retire            make the data of a server that was stopped well a standby's; prints where its WAL ends
    standby.py retire --unclean  the same for one that was not, whose data is then only good for being replaced
    standby.py promote LSN       once WAL is replayed to LSN ("-": what there is), make this standby the primary

Settings come from /etc/mltrading-db/standby.env, the password from the file that it names: it is in no argument. The
primary's tablespaces come from the environment (STANDBY_TABLESPACES, JSON: locations by name), as a connection for
replication cannot ask for them. Exit codes: 0 done; 1 failed, with the reason on stderr; 2 wrong settings or arguments;
3 refused, and nothing was changed.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extras import PhysicalReplicationConnection

SETTINGS = Path(os.environ.get("STANDBY_SETTINGS", "/etc/mltrading-db/standby.env"))
# Written into a copy when it is complete: a copy without it is thrown away and begun again.
MARKER = "clone.complete"
# Where a copy of a tablespace is until it is in place: in its location, so that no move leaves its disk.
BESIDE = "standby.clone"
PATIENCE = 60
# Settings that a restored primary may carry, and that would win over those of the standby's drop-in.
PRIMARYS_OWN = re.compile(r"\s*(recovery_target\w*|primary_conninfo|primary_slot_name|restore_command)\b")


class Failed(Exception):  # noqa: N818  (reads as what happened)
    """The reason, for whoever ran this."""

    code = 1


class Refused(Failed):
    """The reason why nothing was changed."""

    code = 3


@dataclass(frozen=True)
class Settings:
    """What standby.env says."""

    conninfo: str  # libpq's, of the primary, without a database
    hosts: list[str]  # the cluster's other servers
    slot: str
    data: Path
    binaries: Path
    socket: str
    port: int
    start: Path  # Debian's start.conf
    tablespaces: dict[str, Path] = field(default_factory=dict)  # the primary's, their locations by name
    host: str = ""  # as the inventory of this environment calls it
    environment: str = ""

    @classmethod
    def read(cls) -> Settings:
        """Read NAME=VALUE lines. The environment wins: a question may be of another primary than the one it has."""
        lines = (line.partition("=") for line in SETTINGS.read_text().splitlines() if line and line[0] != "#")
        values = {name: os.environ.get(name, value) for name, _, value in lines}
        return cls(
            conninfo=values["STANDBY_PRIMARY_CONNINFO"],
            hosts=values["STANDBY_OTHER_HOSTS"].split(),
            slot=values["STANDBY_SLOT"],
            data=Path(values["STANDBY_DATA"]),
            binaries=Path(values["STANDBY_BINARIES"]),
            socket=values["STANDBY_SOCKET"],
            port=int(values["STANDBY_PORT"]),
            start=Path(values["STANDBY_START_CONF"]),
            tablespaces={
                name: Path(location)
                for name, location in json.loads(os.environ.get("STANDBY_TABLESPACES", "{}")).items()
            },
            # A file of an earlier version has neither.
            host=values.get("STANDBY_HOST", os.uname().nodename),
            environment=values.get("STANDBY_ENVIRONMENT", "ENV"),
        )


# --- asking -----------------------------------------------------------------------------------------------------------


def replication(conninfo: str, command: str) -> tuple[Any, ...]:
    """The first row that a server answers to a replication command."""
    connection = psycopg2.connect(conninfo, connection_factory=PhysicalReplicationConnection, client_encoding="UTF8")
    with closing(connection), connection.cursor() as cursor:
        cursor.execute(command)
        return tuple(cursor.fetchone()) if cursor.description else ()


def local(settings: Settings, statement: str) -> Any:
    """The one value that this host's server answers."""
    where = {"host": settings.socket, "port": settings.port, "dbname": "postgres", "client_encoding": "UTF8"}
    with closing(psycopg2.connect(**where)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone()
            return row[0] if row else None


def control(settings: Settings, data: Path) -> dict[str, str]:
    """What pg_controldata says of a data directory; nothing where there is none."""
    if not (data / "global/pg_control").exists():
        return {}
    command = [settings.binaries / "pg_controldata", "--pgdata", data]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"LC_ALL": "C"})  # noqa: S603
    return dict(re.findall(r"^(.+?):\s+(.*)$", done.stdout, re.MULTILINE))


def kind(data: Path) -> str:
    """`missing`; `unused`, never started; `standby`; or `primary`, of which nothing here decides that it may go.

    What has lost its control file cannot be started, and is nobody's: it is moved aside as an unused one is.
    """
    if not (data / "PG_VERSION").exists():
        return "missing"
    if not (data / "global/pg_control").exists():
        return "unused"
    if (data / "standby.signal").exists():
        return "standby"
    # A server writes postmaster.opts when it starts, and leaves it there.
    return "primary" if (data / "postmaster.opts").exists() else "unused"


def primary(settings: Settings) -> dict[str, Any]:
    """Who the primary is, and whether it keeps WAL for this standby."""
    try:
        system, timeline, position, _ = replication(settings.conninfo, "IDENTIFY_SYSTEM")
        writes = replication(settings.conninfo, "SHOW in_hot_standby")[0] == "off"
        kept = replication(settings.conninfo, f"READ_REPLICATION_SLOT {settings.slot}")
    except psycopg2.Error as error:
        return {"error": " ".join(str(error).split())}
    slot = "missing" if kept[0] is None else "lost" if kept[1] is None else "kept"
    return {"system": system, "timeline": timeline, "position": position, "writes": writes, "slot": slot}


def server(settings: Settings, position: str | None) -> dict[str, Any]:
    """What this host's server says: whether it follows and receives, how many bytes of the WAL it has since the first.

    With the primary's position, also how many bytes it is behind that.
    """
    statement = """SELECT json_build_object('running', TRUE, 'follows', pg_is_in_recovery(),
        'receives', EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming'),
        'replayed', pg_last_wal_replay_lsn(),
        'has', greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'"""
    behind = f", 'behind', pg_wal_lsn_diff('{position}', pg_last_wal_replay_lsn())" if position else ""
    try:
        return dict(local(settings, statement + behind + ")"))
    except psycopg2.OperationalError:
        return {"running": False, "follows": False, "receives": False}


def state(settings: Settings) -> dict[str, Any]:
    """All of it, as one document."""
    of_primary, found = primary(settings), control(settings, settings.data)
    return {
        "data": kind(settings.data),
        "system": found.get("Database system identifier"),
        "cluster_state": found.get("Database cluster state"),
        "server": server(settings, of_primary.get("position")),
        "primary": of_primary,
    }


# --- doing ------------------------------------------------------------------------------------------------------------


def make_slot(settings: Settings) -> None:
    """A slot that was lost keeps its name and is of no use: it is made anew."""
    of_primary = primary(settings)
    if "error" in of_primary:
        raise Failed(f"the primary does not answer: {of_primary['error']}")
    if of_primary["slot"] == "lost":
        replication(settings.conninfo, f"DROP_REPLICATION_SLOT {settings.slot}")
    if of_primary["slot"] != "kept":
        replication(settings.conninfo, f"CREATE_REPLICATION_SLOT {settings.slot} PHYSICAL RESERVE_WAL")


def sync(folder: Path) -> None:
    """Have the folder's entries on disk before the next step."""
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def write(path: Path, text: str) -> None:
    """Write a file that outlives a power cut."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)


def end_leftovers(clone: Path) -> None:
    """End the copies that a killed run left: this one holds the lock, so nobody else's write to `clone`."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            program, *arguments = (process / "cmdline").read_bytes().split(b"\0")
            if program.endswith(b"/pg_basebackup") and os.fsencode(clone) in arguments:
                os.kill(int(process.name), signal.SIGKILL)


def copy(settings: Settings, clone: Path) -> None:
    """Copy the primary's data into `clone`, and mark it complete.

    WAL is kept for the copy by a slot of its own, that ends with it, and from before the copy on by the standby's.
    """
    end_leftovers(clone)
    for left in (clone, *(location / BESIDE for location in settings.tablespaces.values())):
        if left.exists():
            shutil.rmtree(left)
    command = [settings.binaries / "pg_basebackup", "--pgdata", clone, "--wal-method=stream", "--checkpoint=fast"]
    mapped = (str(location).replace("=", "\\=") for location in settings.tablespaces.values())
    command += [f"--tablespace-mapping={location}={location}/{BESIDE}" for location in mapped]
    subprocess.run([*command, "--no-password", "--dbname", settings.conninfo], check=True)  # noqa: S603
    auto = clone / "postgresql.auto.conf"
    write(auto, "".join(line for line in auto.read_text().splitlines(True) if not PRIMARYS_OWN.match(line)))
    write(clone / "standby.signal", "")
    write(clone / MARKER, "")


def refuse_places(settings: Settings) -> None:
    """Raise where a tablespace of the primary has no place on this host."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    missing = []
    for name, location in settings.tablespaces.items():
        if not location.is_dir() or not os.access(location, os.W_OK | os.X_OK):
            what = "is not writable for" if location.exists() else "is not there for"
            missing.append(f"tablespace {name}: its location {location} {what} {user}")
    if missing:
        raise Refused(
            f"the primary has what this host has no place for: {'; '.join(missing)}. Make it, or mount its disk:"
            f" install -d -o {user} -g {user} -m 0700 LOCATION"
        )


def set_aside(path: Path, now: str) -> None:
    """Rename what is there; nothing is deleted."""
    if path.exists():
        aside = path.with_name(f"{path.name}.before-{now}")
        path.rename(aside)
        sys.stderr.write(f"moved aside: {aside}\n")


def put_tablespaces_in_place(clone: Path, now: str) -> None:
    """Have the copied tablespaces where the primary has them. What was done before is not done again."""
    for left in (clone / "pg_tblspc").glob("*.fresh"):
        left.unlink()
    for link in sorted((clone / "pg_tblspc").iterdir()):
        beside = Path(os.readlink(link))
        if beside.name != BESIDE:
            continue
        for folder in beside.iterdir():
            set_aside(beside.parent / folder.name, now)
            folder.rename(beside.parent / folder.name)
        # Renamed over the old one: killed in between, the copy still has a link.
        fresh = link.with_name(f"{link.name}.fresh")
        fresh.symlink_to(beside.parent)
        fresh.rename(link)
        beside.rmdir()
        sync(beside.parent)
    sync(clone / "pg_tblspc")


def put_in_place(settings: Settings, clone: Path) -> None:
    """Move what is there aside and the copy to its place. Killed between the two, the next run does the second."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    put_tablespaces_in_place(clone, now)
    set_aside(settings.data, now)
    clone.rename(settings.data)
    sync(settings.data.parent)
    (settings.data / MARKER).unlink()
    write(settings.start, "auto\n")


def refuse_wrong_clone(settings: Settings, of_primary: dict[str, Any], again: bool) -> None:
    """Raise where a copy would be of the wrong server, or would replace what somebody may still need."""
    here = kind(settings.data)
    ours = control(settings, settings.data).get("Database system identifier")
    if "error" in of_primary:
        raise Refused(f"the primary does not answer: {of_primary['error']}")
    if not of_primary["writes"]:
        raise Refused("the server that is named as primary is a standby itself")
    if server(settings, None)["running"]:
        raise Refused(f"a server runs on {settings.data}: stop it first")
    if here in {"primary", "standby"} and ours != of_primary["system"]:
        raise Refused(
            f"{settings.data} holds system {ours}, the primary's is {of_primary['system']}: another cluster's data"
        )
    if here == "primary" and not again:
        raise Refused(f"{settings.data} was written to as a primary's")


def clone(settings: Settings, again: bool) -> None:
    """Make this host's data directory a copy of the primary's."""
    beside = settings.data.with_name(settings.data.name + ".clone")
    with settings.data.with_name(settings.data.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if kind(settings.data) == "standby" and not again:
            return
        of_primary = primary(settings)
        refuse_wrong_clone(settings, of_primary, again)
        refuse_places(settings)
        # A complete copy is one that was killed before it was in place; to be asked again is to be asked for a new one.
        resumes = (beside / MARKER).exists() and (kind(settings.data) == "missing" or not again)
        if not resumes or control(settings, beside).get("Database system identifier") != of_primary["system"]:
            make_slot(settings)
            copy(settings, beside)
        put_in_place(settings, beside)


def retire(settings: Settings, unclean: bool) -> str:
    """Have the data of a stopped server start as a standby only; return the position of its last checkpoint.

    One that was retired before may have started since, as a standby of nobody: what it wrote ends where it ended then.
    """
    if unclean and kind(settings.data) == "unused":
        return ""
    found = control(settings, settings.data)
    if not found:
        raise Refused(f"{settings.data} holds no data")
    if server(settings, None)["running"]:
        raise Refused("the server still runs")
    if not unclean and found["Database cluster state"] not in ("shut down", "shut down in recovery"):
        raise Refused(f"the server was not stopped well: {found['Database cluster state']}")
    write(settings.data / "standby.signal", "")
    return found["Latest checkpoint location"]


def promote(settings: Settings, position: str) -> None:
    """Make this standby the primary once it has replayed what the old one wrote."""
    behind = f"SELECT pg_last_wal_replay_lsn() <= '{position}'"
    end = time.monotonic() + PATIENCE
    while position != "-" and local(settings, behind):
        if time.monotonic() > end:
            raise Refused(f"this standby did not replay WAL beyond {position} within {PATIENCE} s")
        time.sleep(0.05)
    if not local(settings, f"SELECT pg_promote(TRUE, {PATIENCE})"):
        raise Failed(f"the promotion did not end within {PATIENCE} s")


def main(arguments: list[str]) -> int:
    """Run one command."""
    try:
        settings = Settings.read()
    except (OSError, KeyError, ValueError) as error:
        sys.stderr.write(f"standby: {SETTINGS}: {error!r}\n")
        return 2
    commands: dict[str, Callable[[], Any]] = {
        "state": lambda: json.dumps(state(settings)),
        "slot": lambda: make_slot(settings),
        "clone": lambda: clone(settings, again=False),
        "clone --again": lambda: clone(settings, again=True),
        "places": lambda: refuse_places(settings),
        "retire": lambda: retire(settings, unclean=False),
        "retire --unclean": lambda: retire(settings, unclean=True),
    }
    if len(arguments) > 1 and arguments[0] == "promote":
        commands[" ".join(arguments)] = lambda: promote(settings, arguments[1])
    if " ".join(arguments) not in commands:
        sys.stderr.write((__doc__ or "") + "\n")
        return 2
    try:
        answer = commands[" ".join(arguments)]()
    except (Failed, psycopg2.Error, subprocess.CalledProcessError, OSError) as error:
        sys.stderr.write(f"standby: {' '.join(str(error).split())}\n")
        return error.code if isinstance(error, Failed) else 1
    if answer is not None:
        sys.stdout.write(f"{answer}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
