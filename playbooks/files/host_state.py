#!/usr/bin/env python3
"""Describe what can be changed by hand on this host, and compare it with what the last runs left.

usage: host_state.py begin        keep the state as it is before a run
       host_state.py record       take over into the accepted state what the run has changed since `begin`
       host_state.py accept       take the state as it is for the accepted one
       host_state.py compare      print what differs from the accepted state, a JSON list

The state is a mapping of "kind: name" to a value. HOST_STATE_QUERY holds the query for each database (host_state.sql).
A run is compared from `begin` to `record`, so that what somebody had changed before it is not accepted along with it.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

# Tests give another root.
ROOT = Path(os.environ.get("HOST_STATE_ROOT", "/"))
ACCEPTED = ROOT / "var/lib/mltrading-db/accepted_state.json"
BEFORE = ROOT / "run/mltrading-db-state-before.json"
# What the roles keep on a host. A file that ends in ~ is a copy that Ansible kept.
FILES = (
    "etc/mltrading-db/**",
    "etc/pgbackrest/**",
    "etc/pgbouncer/**",
    "etc/postgresql/**",
    "etc/systemd/system/*.d/*",
    "usr/local/bin/health",
    "usr/local/lib/mltrading-db/**",
)
CRON = ("etc/crontab", "etc/cron.d/*", "var/spool/cron/crontabs/*")
LISTED = "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1"

State = dict[str, str]


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


def ask(database: str, query: str) -> list[str]:
    """The lines of a query's answer; over the socket, as the server's superuser."""
    command = ["psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "-At", "--dbname", database]
    if os.geteuid() == 0:
        command = ["runuser", "-u", "postgres", "--", *command]
    done = subprocess.run(command, input=query, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode:
        sys.exit(f"{database} does not answer: {done.stderr.strip()}")
    return done.stdout.splitlines()


def server() -> State:
    """What the server says of itself and of each database; nothing where there is none that runs."""
    query = os.environ.get("HOST_STATE_QUERY", "")
    if not query or not glob.glob(str(ROOT / "run/postgresql/.s.PGSQL.*[0-9]")):
        return {}
    found = {}
    for database in ask("postgres", LISTED):
        for kind, name, value in map(json.loads, ask(database, query)):
            of_cluster = kind in ("setting", "login rule", "role") or name.startswith("database ")
            found[f"{kind}: {name}" if of_cluster else f"{kind}: {database}: {name}"] = value or ""
    return found


def now() -> State:
    """The whole state."""
    return {**files(), **cron(), **server()}


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
    """The accepted state with what a run has changed: what came, what went, what is different."""
    changed = {key: value for key, value in after.items() if before.get(key) != value}
    kept = {key: value for key, value in accepted.items() if key in after or key not in before}
    return {**kept, **changed}


def differences(accepted: State, found: State) -> list[dict[str, str | None]]:
    """What differs, the name apart from its kind; None is what is not there."""
    wrong = sorted(key for key in {*accepted, *found} if accepted.get(key) != found.get(key))
    return [
        {"kind": kind, "name": name, "accepted": accepted.get(key), "found": found.get(key)}
        for key in wrong
        for kind, _, name in [key.partition(": ")]
    ]


def main(command: str) -> None:
    """Do what is asked for."""
    if command == "begin":
        write(BEFORE, now())
    elif command == "record":
        accepted, before, after = read(ACCEPTED), read(BEFORE), now()
        whole = accepted is None or before is None
        write(ACCEPTED, after if whole else recorded(accepted or {}, before or {}, after))
        BEFORE.unlink(missing_ok=True)
    elif command == "accept":
        write(ACCEPTED, now())
    elif command == "compare":
        accepted = read(ACCEPTED)
        sys.stdout.write(json.dumps(None if accepted is None else differences(accepted, now())))
    else:
        sys.exit(f"'{command}' is none of begin, record, accept and compare")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
