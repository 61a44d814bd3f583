"""A cluster on its host: where its files are, whether it runs, and what it logs."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Lines of postmaster.pid (PostgreSQL: src/include/utils/pidfile.h), counted from 0.
PID, STARTED, STATUS = 0, 2, 7
# What postmaster.pid says of a server that lets clients in.
READY = ("ready", "standby")
SEVERE = re.compile(r"\b(FATAL|PANIC):")
FURTHER = re.compile(r"\b(DETAIL|HINT):")
PREFIX = re.compile(r"^.*?\b(?=(?:LOG|WARNING|FATAL|PANIC|DETAIL|HINT):)")
# What is said of a file before the server says that it has errors.
FAULT = re.compile(r'parameter "|not supported|invalid|syntax error|invalid line| in file "|could not open')
# How much of the end of a log is read, in bytes.
TAIL = 65536


class SettingsError(Exception):
    """A server does not do what is asked of it; the text is for the person who asked."""


@dataclass(frozen=True)
class Cluster:
    """A cluster. `user` is whom its programs run as; None for whoever asks."""

    binaries: Path
    data: Path
    config_file: Path
    user: str | None = "postgres"

    @property
    def config(self) -> Path:
        """The folder of the configuration."""
        return self.config_file.parent

    @property
    def identity(self) -> dict[str, Any]:
        """The arguments of subprocess for the cluster's user; empty where it asks itself."""
        if self.user is None or os.getuid() != 0:
            return {}
        found = pwd.getpwnam(self.user)
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}

    def run(self, program: str, *arguments: str, limit: float = 60) -> subprocess.CompletedProcess[str]:
        """Run one of the server's programs, for `limit` seconds at most."""
        try:
            done: subprocess.CompletedProcess[str] = subprocess.run(
                [str(self.binaries / program), *arguments],
                **self.identity,
                cwd="/",
                env=environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SettingsError(f"{program} did not end within {limit:.0f} s") from None
        return done

    def value(self, name: str, *options: str) -> str:
        """Return what the server's own parser reads of a setting that it does not compute at its start."""
        places = ("-c", f"config_file={self.config_file}", "-c", f"data_directory={self.data}")
        done = self.run("postgres", "-C", name, "-D", str(self.data), *places, *options)
        if done.returncode:
            raise SettingsError(reason(done.stderr) or done.stderr.strip())
        return done.stdout.strip()

    def pidfile(self) -> list[str]:
        """Return the lines of postmaster.pid of a server that lives; [] where none does."""
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            if not Path(f"/proc/{int(lines[PID])}").is_dir():
                return []
        except (OSError, ValueError, IndexError):
            return []
        return lines

    @property
    def started(self) -> int | None:
        """When the server that runs was started, in seconds since 1970; None where none runs."""
        lines = self.pidfile()
        return int(lines[STARTED]) if len(lines) > STARTED else None

    @property
    def answers(self) -> bool:
        """Whether a server runs that lets clients in."""
        lines = self.pidfile()
        return len(lines) > STATUS and lines[STATUS].strip() in READY


def environment() -> dict[str, str]:
    """Return the environment of the server's programs: nothing that names another server, messages in English."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}


def reason(log: str) -> str:
    """Return the last FATAL line of a log with detail and hint, and of a file with errors the errors; "" for none."""
    lines = log.splitlines()
    places = [place for place, line in enumerate(lines) if SEVERE.search(line)]
    if not places:
        return ""
    last = places[-1]
    further = []
    for line in lines[last + 1 :]:
        if not FURTHER.search(line):
            break
        further.append(PREFIX.sub("", line))
    said = [PREFIX.sub("", lines[last]), *further]
    if "contains errors" in lines[last]:
        said = [re.sub(r"^LOG: +", "", PREFIX.sub("", line)) for line in lines[:last] if FAULT.search(line)] + said
    return " ".join(re.sub(r"\s+", " ", line).strip() for line in said)


def ends(paths: Sequence[Path]) -> dict[Path, int]:
    """Return the size of each file, 0 where it is not there."""
    return {path: path.stat().st_size if path.is_file() else 0 for path in paths}


def written_since(before: dict[Path, int], paths: Sequence[Path]) -> str:
    """Return what was appended to the files since their sizes were `before`, the end of it where it is much."""
    parts = []
    for path in sorted((path for path in paths if path.is_file()), key=lambda path: path.stat().st_mtime):
        size = path.stat().st_size
        begin = before.get(path, 0)
        # A log that is emptied when its day comes again is shorter than it was.
        begin = max(begin if begin <= size else 0, size - TAIL)
        with path.open("rb") as file:
            file.seek(begin)
            parts.append(file.read().decode(errors="replace"))
    return "".join(parts)
