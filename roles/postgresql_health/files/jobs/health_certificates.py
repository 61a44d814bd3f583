"""How long the certificates of this host are valid.

Those of the services lie in folders that their users alone read. The role `tls` declares each folder, a file each in
/etc/mltrading-db/certificates.d; the job health_certificates reads them as root and writes down until when they are
valid; the check compares the two. The server's own, and those of the inventory's patterns, are read by the check.
"""

from __future__ import annotations

import glob
import json
import shlex
import subprocess
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from health_checks import ROOT, STATE, Check, Rows, row
from health_server import NO_ANSWER, Server

DECLARED, RECORDED = ROOT / "etc/mltrading-db/certificates.d", STATE / "certificates.json"
# The files of a folder, and the age in seconds at which what the job wrote is none any more.
NAMES, OLDEST = ("server.crt", "ca.crt"), 7200


def ends(path: str) -> datetime:
    """When a certificate ends; of a file with several, the first."""
    command = ["openssl", "x509", "-noout", "-enddate", "-in", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}: {done.stderr.strip()}")
    # "notAfter=Nov 24 00:00:00 2027 GMT"
    month, day, clock, year, _zone = done.stdout.strip().removeprefix("notAfter=").split()
    return parsedate_to_datetime(f"{day} {month} {year} {clock} +0000")


def one(path: str, end: datetime | None, problem: str = "") -> dict[str, Any]:
    """The row of a certificate."""
    if end is None:
        return row(path, None, problem) | {"state": "unknown"}
    return row(path, int((end - datetime.now(UTC)).total_seconds() // 86400), f"until {end:%Y-%m-%d}")


def declared() -> dict[str, float]:
    """When each folder was declared, by the folder."""
    return {
        path.read_text(encoding="utf-8").strip(): path.stat().st_mtime
        for path in sorted(DECLARED.glob("*"))
        if path.is_file()
    }


def record() -> int:
    """Write down until when the certificates of every folder are valid, for a job of root; returns the exit code."""
    found: dict[str, dict[str, str]] = {}
    for folder in declared():
        for name in NAMES:
            path = f"{folder}/{name}"
            try:
                found[path] = {"until": ends(path).isoformat()}
            except (OSError, RuntimeError, ValueError) as error:
                found[path] = {"problem": str(error).splitlines()[0]}
    partial = RECORDED.with_suffix(".partial")
    partial.write_text(json.dumps({"time": time.time(), "certificates": found}, indent=1) + "\n", encoding="utf-8")
    partial.chmod(0o644)
    partial.replace(RECORDED)
    print(f"{len(found)} certificates")
    return 0


def recorded() -> Rows:
    """What the job wrote of the folders that are declared. One that came after it is left to its next run."""
    folders = declared()
    if not folders:
        return []
    kept = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {"time": 0, "certificates": {}}
    if time.time() - kept["time"] > OLDEST:
        raise RuntimeError(f"{RECORDED} is missing or older than two hours: see the job health_certificates")
    rows = []
    for folder, since in folders.items():
        for path in (f"{folder}/{name}" for name in NAMES):
            said = kept["certificates"].get(path)
            if said is None and since > kept["time"]:
                continue
            said = said or {"problem": "the job health_certificates has not looked at it"}
            until = datetime.fromisoformat(said["until"]) if "until" in said else None
            rows.append(one(path, until, said.get("problem", "")))
    return rows


def of_the_server(server: Server) -> list[str]:
    """The path of the server's own."""
    query = "SELECT current_setting('ssl') AS tls, current_setting('ssl_cert_file') AS path"
    tls = server.ask(query + ", current_setting('data_directory') AS data")[0]
    return [str(Path(tls["data"]) / tls["path"])] if tls["tls"] == "on" else []


def certificates(_check: Check, server: Server, settings: dict[str, Any]) -> Rows:
    """How many days each certificate of this host is valid."""
    rows = recorded()
    paths: list[str] = []
    if settings["server"]:
        try:
            paths += of_the_server(server)
        except NO_ANSWER:
            # It is one of those that the job has looked at, where they are the role's.
            if not rows:
                raise
    for pattern in settings["certificates"]:
        matching = sorted(glob.glob(pattern))
        paths += matching
        if not matching:
            rows.append(one(pattern, None, "nothing that this user sees has such a name"))
    for path in dict.fromkeys(paths):
        if path not in {known["item"] for known in rows}:
            try:
                rows.append(one(path, ends(path)))
            except RuntimeError as error:
                rows.append(one(path, None, str(error)))
    return rows
