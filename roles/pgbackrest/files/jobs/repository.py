"""Asks pgBackRest about the repository. The only module that runs it to read."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wal import SEGMENT_NAME, Stretch, parse_history, parse_lsn

CONFIGURATION = Path("/etc/pgbackrest/pgbackrest.conf")
UNPACK = {".lz4": ["lz4", "-dc"], ".gz": ["gzip", "-dc"]}
LOCKED = 50  # pgBackRest's exit code when another command of the stanza runs


class RepositoryError(Exception):
    """pgBackRest did not do what it was asked for; carries what it said."""

    def __init__(self, message: str, code: int = 1) -> None:
        """Keep pgBackRest's exit code."""
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Backup:
    """A backup as `info` describes it. `stop` is in seconds since 1970, sizes in bytes; it needs those it refers to."""

    label: str
    timeline: int
    first_segment: str
    stop_lsn: int
    stop: int
    size: int
    refers_to: tuple[str, ...] = ()


@dataclass(frozen=True)
class Segment:
    """An archived segment: where in the repository, and when it arrived, in seconds since 1970."""

    path: str
    time: int


@dataclass(frozen=True)
class Archive:
    """The archive of the newest system of the stanza: its name, system, version, and the backups, oldest first.

    Those that pgBackRest flags, as it found damaged pages, are no backups: they are kept apart.
    """

    name: str
    system: str
    version: str
    backups: tuple[Backup, ...]
    flagged: tuple[Backup, ...] = ()


class Repository:
    """The repository as a host sees it. `options` go to every command: a scratch instance gives its own directory."""

    def __init__(self, stanza: str, options: tuple[str, ...] = ()) -> None:
        """Ask for this stanza."""
        self.stanza, self.options = stanza, options

    def command(self, command: str, *arguments: str) -> list[str]:
        """The command line."""
        return ["pgbackrest", f"--stanza={self.stanza}", *self.options, command, *arguments]

    def run(self, command: str, *arguments: str) -> str:
        """What a command answers; raises RepositoryError with what it said."""
        return self.answer(command, *arguments).stdout

    def answer(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same, with what it logged."""
        done = subprocess.run(
            self.command(command, *arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RepositoryError(f"pgbackrest {command}: {' '.join(done.stderr.split())}", done.returncode)
        return done

    def archive(self) -> Archive:
        """The archive and its backups."""
        stanza = next(iter(json.loads(self.run("info", "--output=json"))), {"status": {"message": "no such stanza"}})
        archives = stanza.get("archive", [])
        if not stanza.get("db") or not archives:
            raise RepositoryError(f"stanza {self.stanza!r}: {stanza['status']['message']}")
        system, newest = stanza["db"][-1], archives[-1]
        ours = [one for one in stanza["backup"] if one["database"]["id"] == system["id"]]
        # Where no checksum was verified, nothing is said of errors.
        good = tuple(as_backup(one) for one in ours if not one.get("error"))
        flagged = tuple(as_backup(one) for one in ours if one.get("error"))
        return Archive(newest["id"], str(system["system-id"]), system["version"], good, flagged)

    def details(self, label: str) -> dict[str, Any]:
        """What `info` says of one backup alone: `tablespace` (name, oid, destination), `error-list`."""
        answered = json.loads(self.run("info", f"--set={label}", "--output=json"))
        return dict(answered[0]["backup"][0])

    def files(self, archive: str) -> dict[str, Segment]:
        """The archived segments by their names."""
        folder = f"archive/{self.stanza}/{archive}"
        listed: dict[str, Any] = json.loads(self.run("repo-ls", "--recurse", "--output=json", folder) or "{}")
        found = {}
        for path, entry in listed.items():
            name = path.rpartition("/")[2]
            # The name goes on with the checksum of what is in the file.
            if entry["type"] == "file" and SEGMENT_NAME.fullmatch(name.partition("-")[0]) and "-" in name:
                found[name[:24]] = Segment(f"{folder}/{path}", entry["time"])
        return found

    def newest_timeline(self, archive: str) -> int:
        """The highest timeline that the archive has a history of."""
        listed = json.loads(self.run("repo-ls", "--output=json", f"archive/{self.stanza}/{archive}") or "{}")
        return max((int(name[:8], 16) for name in listed if re.match(r"[0-9A-F]{8}\.history", name)), default=1)

    def lineage(self, archive: str, timeline: int) -> tuple[Stretch, ...]:
        """The timeline and its ancestors."""
        if timeline == 1:
            return parse_history(1, "")
        return parse_history(timeline, self.run("repo-get", f"archive/{self.stanza}/{archive}/{timeline:08X}.history"))

    def fetch(self, name: str, segment: Segment, directory: Path) -> Path:
        """A segment, brought into a directory. `archive-get` would want a cluster here that it belongs to."""
        target = directory / name
        if target.exists():
            return target
        unpack = UNPACK.get(Path(segment.path).suffix, ["cat"])
        with target.open("wb") as file:
            source = subprocess.Popen(
                self.command("repo-get", segment.path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            unpacked = subprocess.run(unpack, stdin=source.stdout, stdout=file, stderr=subprocess.PIPE, check=False)
            said = source.communicate()[1].decode() + unpacked.stderr.decode()
        if source.returncode or unpacked.returncode:
            target.unlink()
            raise RepositoryError(f"WAL segment {name} cannot be read: {' '.join(said.split())}")
        return target


def as_backup(entry: dict[str, Any]) -> Backup:
    """A backup of `info`."""
    return Backup(
        label=entry["label"],
        timeline=int(entry["archive"]["start"][:8], 16),
        first_segment=entry["archive"]["start"],
        stop_lsn=parse_lsn(entry["lsn"]["stop"]),
        stop=entry["timestamp"]["stop"],
        size=entry["info"]["size"],
        refers_to=tuple(entry.get("reference") or ()),
    )


def read_configuration() -> configparser.ConfigParser:
    """This host's configuration of pgBackRest, which names an option several times where it has several values."""
    configuration = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    configuration.read_string(CONFIGURATION.read_text(encoding="utf-8"))
    return configuration


def configured_stanza() -> tuple[str, Path]:
    """The stanza of this host, and where the cluster's data is; on a repository host, where it is on the first host."""
    configuration = read_configuration()
    stanza = next(name for name in configuration.sections() if not name.startswith("global"))
    return stanza, Path(configuration[stanza]["pg1-path"])


def configured_repository(*options: str) -> Repository:
    """The repository that this host's configuration names."""
    return Repository(configured_stanza()[0], options)
