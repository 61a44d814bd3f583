#!/usr/bin/env python3
"""Describe what can be changed by hand on this host, and compare it with what the last runs left.

usage: host_state.py begin     keep the state as it is before a run
       host_state.py record    take over into the accepted state what the run has changed since `begin`
       host_state.py first     the same, and where nothing is accepted yet the whole state: all roles have run
       host_state.py accept    take the state as it is for the accepted one
       host_state.py compare   print the accepted state and the one now, a JSON object
       host_state.py look      print from which commits the host came to be what it is, a JSON list; fails beside a run

The state is a mapping of "kind: name" to a value. HOST_STATE_QUERY holds the query for each database (host_state.sql).
A run is compared from `begin` to `record`, so that what somebody had changed before it is not accepted along with it.
HOST_STATE_RUN says who runs, as user@controller. From `begin` to `record` nobody else may, and HELD_FOR at the most:
what a killed run has left holds nobody up for ever, and its own controller not at all.
"""

from __future__ import annotations

import functools
import glob
import hashlib
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

# Tests give another root.
ROOT = Path(os.environ.get("HOST_STATE_ROOT", "/"))
ACCEPTED = ROOT / "var/lib/mltrading-db/accepted_state.json"
AUDIT = ROOT / "var/log/mltrading-db/audit.log"
# The runs that bring a host to what their checkout says; a backup or an acceptance says nothing of it.
BRINGING = {"apply", "rebuild", "restore", "promote"}
# A log that is longer goes to audit.log.1, in bytes: hundreds of runs.
LONGEST_LOG = 1_000_000
RUN, HELD_FOR = ROOT / "run/mltrading-db-run.json", 4 * 3600.0
BUSY = 75  # what the program ends with beside another run, as `mldb` does: EX_TEMPFAIL of sysexits.h
BEFORE = ROOT / "run/mltrading-db-state-before.json"
# What the roles keep on a host. A file that ends in ~ is a copy that Ansible kept.
FILES = (
    "etc/mltrading-db/**",
    "etc/pgbackrest/**",
    "etc/pgbouncer/**",
    "etc/postgresql/**",
    "etc/prometheus/**",
    "etc/systemd/system/*.d/*",
    "usr/local/bin/health",
    "usr/local/lib/mltrading-db/**",
)
CRON = ("etc/crontab", "etc/cron.d/*", "var/spool/cron/crontabs/*")
OF_HOST = ("file: ", "cron line: ")  # what is known without the server
# What the server says once, and not for each database; and what is looked at, and never accepted.
OF_CLUSTER = {"setting", "login rule", "role", "line", "rule for nobody"}
OF_NOW = ("line: ", "rule for nobody: ")
RULES = "etc/postgresql/*/*/pg_hba.d/*.conf"
MANAGED = "Ansible managed"
# How things are described. What is accepted by another format has the kinds in RESHAPED from the next run's beginning.
FORMAT = "2"
RESHAPED = ("table: ", "constraint: ", "index: ", "privileges: ", "view: ", "materialized view: ")
LISTED = "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1"

State = dict[str, str]


class BusyError(Exception):
    """Another run is at this host."""


class SilentError(Exception):
    """The server does not answer, so that nobody knows what was changed in it."""


def files() -> State:
    """Owner, mode and checksum of each file."""
    found = {}
    for pattern in FILES:
        for name in sorted(glob.glob(str(ROOT / pattern), recursive=True)):
            path = Path(name)
            if path.is_file() and not name.endswith(("~", ".pyc", ".refused")):
                state = path.stat()
                owner = pwd.getpwuid(state.st_uid).pw_name
                checksum = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
                found[f"file: /{path.relative_to(ROOT)}"] = f"{owner} {stat.S_IMODE(state.st_mode):04o} {checksum}"
    return found


def cron() -> State:
    """Each line of cron that is none of a comment."""
    found = {}
    for pattern in CRON:
        for name in sorted(glob.glob(str(ROOT / pattern))):
            for line in Path(name).read_text(errors="replace").splitlines():
                if line.strip() and not line.lstrip().startswith("#"):
                    found[f"cron line: /{Path(name).relative_to(ROOT)}: {' '.join(line.split())}"] = "there"
    return found


def ports() -> list[int]:
    """The ports of the clusters that Debian's register has; none on a host without PostgreSQL."""
    if not shutil.which("pg_lsclusters"):
        return []
    said = subprocess.run(["pg_lsclusters", "--json"], capture_output=True, text=True, check=True).stdout
    return [int(cluster["port"]) for cluster in json.loads(said)]


def ask(port: int, database: str, query: str) -> list[str]:
    """The lines of a query's answer; over the socket, as the server's superuser."""
    command = ["psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "-At", f"--port={port}", "--dbname", database]
    if os.geteuid() == 0:
        command = ["runuser", "-u", "postgres", "--", *command]
    done = subprocess.run(command, input=query, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode:
        raise SilentError(f"{database} does not answer: {done.stderr.strip()}")
    return done.stdout.splitlines()


def server() -> State:
    """What the server says of itself and of each database; nothing where there is none."""
    return {key: value for key, (value, _, _) in described().items() if not key.startswith(OF_NOW)}


@functools.cache
def described() -> dict[str, tuple[str, str, bool]]:
    """All that the server says: a value, what it is a part of, and whether it is an application's."""
    query = os.environ.get("HOST_STATE_QUERY", "")
    found = {}
    for port in ports() if query else []:
        for database in ask(port, "postgres", LISTED):
            for kind, name, value, part_of, of_application in map(json.loads, ask(port, database, query)):
                of_cluster = kind in OF_CLUSTER or name.startswith("database ")
                key = f"{kind}: {name}" if of_cluster else f"{kind}: {database}: {name}"
                found[key] = (value or "", (part_of or "").replace(": ", f": {database}: ", 1), of_application)
    return found


def answer() -> dict[str, object]:
    """What is compared (plugins/filter/host_state.py): the two states, and what only the server knows of the second."""
    return {
        "accepted": read(ACCEPTED),
        "found": now(),
        "part_of": {key: whole for key, (_, whole, _) in described().items() if whole},
        "of_application": [key for key, (_, _, is_of) in described().items() if is_of],
        "lines": {key: value for key, (value, _, _) in described().items() if key.startswith(OF_NOW)},
        "written_by_roles": [f"/{path.relative_to(ROOT)}" for path in managed()],
        "rule_fragments": sorted(
            f"/{path.relative_to(ROOT)}" for path in ROOT.glob("etc/postgresql/*/*/pg_hba.d/*.conf")
        ),
    }


def managed() -> list[Path]:
    """The files of settings that a role has written, by their first lines."""
    paths = [*ROOT.glob("etc/postgresql/*/*/*.conf"), *ROOT.glob("etc/postgresql/*/*/conf.d/*.conf")]
    return [path for path in sorted(paths) if MANAGED in path.read_text(errors="replace")[:200]]


def now() -> State:
    """The whole state."""
    return {**files(), **cron(), **server(), "format": FORMAT}


def now_or_as_accepted() -> State:
    """The whole state; of a server that does not answer what is accepted, so that nothing of it is taken over."""
    try:
        return now()
    except SilentError:
        accepted = read(ACCEPTED) or {}
        silent = {key: value for key, value in accepted.items() if not key.startswith(OF_HOST)}
        return {**files(), **cron(), **silent, "server": "silent", "format": FORMAT}


def read(path: Path) -> State | None:
    """A state that was kept."""
    return json.loads(path.read_text()) if path.exists() else None


def write(path: Path, state: State) -> None:
    """Keep a state, for root to read; another process never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.touch(mode=0o600)
    beside.write_text(json.dumps(state, sort_keys=True))
    beside.replace(path)


def recorded(accepted: State, before: State, after: State) -> State:
    """The accepted state with what a run has changed: what came, went, or is different.

    Where the server was silent at one of its ends, what is accepted of it stays.
    """
    if "server" in {*before, *after}:
        of_server = {key: value for key, value in accepted.items() if not key.startswith(OF_HOST)}
        before, after = (
            {**{key: value for key, value in state.items() if key.startswith(OF_HOST)}, **of_server}
            for state in (before, after)
        )
    changed = {key: value for key, value in after.items() if before.get(key) != value}
    kept = {key: value for key, value in accepted.items() if key in after or key not in before}
    return {**kept, **changed}


def reshaped(accepted: State, before: State) -> State:
    """What is accepted, as it is described today."""
    if accepted.get("format") == FORMAT:
        return accepted
    kept = {key: value for key, value in accepted.items() if not key.startswith(RESHAPED)}
    return {**kept, **{key: value for key, value in before.items() if key.startswith(RESHAPED)}, "format": FORMAT}


def record(first: bool) -> None:
    """Take over what a run has changed; without a state before it, nothing is known to be the run's."""
    accepted, before = read(ACCEPTED), read(BEFORE)
    if accepted is None and first:
        write(ACCEPTED, now())
    elif accepted is not None and before is not None:
        write(ACCEPTED, recorded(reshaped(accepted, before), before, now_or_as_accepted()))
    BEFORE.unlink(missing_ok=True)


def hold(take: bool) -> None:
    """Look whether another run is at this host, and hold it for this one.

    Raises:
        BusyError: there is one, of another user or controller.
    """
    who, held = os.environ.get("HOST_STATE_RUN", ""), read(RUN)
    if who and held and held["by"] != who and time.time() - float(held["since"]) < HELD_FOR:
        free = time.strftime("%H:%M:%S UTC", time.gmtime(float(held["since"]) + HELD_FOR))
        raise BusyError(
            f"{held['by']} is at this host; if that run was killed, remove {RUN} on it, or wait until {free}"
        )
    if who and take:
        write(RUN, {"by": who, "since": str(time.time())})


def release() -> None:
    """Give the host free again, if this run holds it."""
    if (read(RUN) or {}).get("by") == os.environ.get("HOST_STATE_RUN", ""):
        RUN.unlink(missing_ok=True)


def rotate() -> None:
    """Begin a new audit log where it is long; the one before it is kept."""
    if AUDIT.exists() and AUDIT.stat().st_size > LONGEST_LOG:
        AUDIT.replace(AUDIT.with_name("audit.log.1"))


def commits() -> list[dict[str, str]]:
    """The commits that a newer checkout contains, each once, as the audit log has them.

    A whole run that insisted on an older checkout has undone what was newer: what came before it no longer counts.
    """
    found: dict[str, dict[str, str]] = {}
    for log in (AUDIT.with_name("audit.log.1"), AUDIT):
        for line in log.read_text(errors="replace").splitlines() if log.exists() else []:
            try:
                run = json.loads(line)
            except ValueError:
                # A full disk cuts a line.
                continue
            if not isinstance(run, dict) or run.get("command") not in BRINGING or not run.get("commit"):
                continue
            if run.get("older") and run.get("whole"):
                found.clear()
            found.pop(run["commit"], None)
            found[run["commit"]] = {key: str(run.get(key, "")) for key in ("commit", "at", "user")}
    return list(found.values())


def main(command: str) -> None:
    """Do what is asked for."""
    if command == "begin":
        hold(take=True)
        rotate()
        write(BEFORE, now_or_as_accepted())
    elif command in ("record", "first"):
        record(first=command == "first")
        release()
    elif command == "accept":
        lines = {key: value for key, (value, _, _) in described().items() if key.startswith("line: ")}
        write(ACCEPTED, {**now(), **{key.replace("line", "overridden", 1): value for key, value in lines.items()}})
    elif command == "compare":
        sys.stdout.write(json.dumps(answer()))
    elif command == "look":
        hold(take=False)
        sys.stdout.write(json.dumps(commits()))
    else:
        sys.exit(f"'{command}' is none of begin, record, first, accept, compare and look")


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "")
    except (BusyError, SilentError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(BUSY if isinstance(error, BusyError) else 1)
