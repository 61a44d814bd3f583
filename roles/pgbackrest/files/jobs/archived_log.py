"""Reads records of the log from the archive, with pg_waldump."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from repository import Repository, RepositoryError, Segment
from wal import parse_lsn

RECORD = re.compile(r"^rmgr: (\w+)\s.*? tx:\s+(\d+), lsn: ([0-9A-F]+/[0-9A-F]+),.*? desc: (.*)\Z")
ENDED = re.compile(r"(?:COMMIT|ABORT)\S* (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \w+)")


class RefusedError(Exception):
    """The target cannot be recovered to; says why and what can be."""


class NotArchivedError(RefusedError):
    """The target is behind what is archived by now."""


@dataclass(frozen=True)
class Record:
    """A record of the log: where it begins, its transaction, when that ended (NaN: it did not), and what it says."""

    lsn: int
    xid: int
    ended: float
    text: str


class Log:
    """The archived log behind one backup, read segment by segment as somebody asks."""

    def __init__(self, repository: Repository, files: dict[str, Segment], scratch: Path, waldump: Path) -> None:
        """Read with pg_waldump, in a directory of its own."""
        self.repository, self.files, self.scratch, self.waldump = repository, files, scratch, waldump

    def records(self, names: tuple[str, ...], index: int) -> list[Record]:
        """The records that begin in one of the segments; the next one holds the end of its last record."""
        wanted = names[index : index + 2]
        for path in self.scratch.iterdir():
            if path.name not in wanted:
                path.unlink()
        self.repository.fetch(wanted[0], self.files[wanted[0]], self.scratch)
        # Damage there is no matter of this segment's: its last record is then not read.
        with suppress(RepositoryError):
            self.repository.fetch(wanted[-1], self.files[wanted[-1]], self.scratch)
        # It ends with 1 where the last record goes on in a segment that is not there.
        said = subprocess.run(
            [self.waldump, self.scratch / names[index]], capture_output=True, text=True, check=False, env={"TZ": "UTC"}
        )
        found = [as_record(match) for match in map(RECORD.match, said.stdout.splitlines()) if match]
        if not found and said.returncode:
            raise RefusedError(f"WAL segment {names[index]} cannot be read: {said.stderr.strip()}")
        return found

    def backwards(self, names: tuple[str, ...]) -> Iterator[Record]:
        """Every record, the newest first."""
        for index in range(len(names) - 1, -1, -1):
            yield from reversed(self.records(names, index))

    def forwards(self, names: tuple[str, ...]) -> Iterator[Record]:
        """Every record, the oldest first."""
        for index in range(len(names)):
            yield from self.records(names, index)


def as_record(match: re.Match[str]) -> Record:
    """A line of pg_waldump."""
    ended = ENDED.search(match[4]) if match[1] == "Transaction" else None
    when = (
        datetime.strptime(ended[1], "%Y-%m-%d %H:%M:%S.%f %Z").replace(tzinfo=UTC).timestamp()
        if ended
        else float("nan")
    )
    return Record(parse_lsn(match[3]), int(match[2]), when, match[4])
