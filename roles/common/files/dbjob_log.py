"""A job's log: a time before each line, in a few files of a size; and how dbjob writes times and shows lines."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

# Tests give a smaller one.
LOG_BYTES = int(os.environ.get("DBJOB_LOG_BYTES", "5000000"))
LOG_FILES = 5
LINE_BYTES = 65_536


class Log:
    """The job's log: a time before each line, and five files of 5 MB at most."""

    def __init__(self, path: Path, group: int) -> None:
        """Open it for appending."""
        self.path, self.group, self.last, self.rest = path, group, "", b""
        self.open()

    def open(self) -> None:
        """Open the file, readable for the job's group."""
        self.file = self.path.open("ab", buffering=0)
        os.fchmod(self.file.fileno(), 0o640)
        if os.geteuid() == 0:
            os.fchown(self.file.fileno(), 0, self.group)

    def take(self, data: bytes) -> None:
        """Write what the command said, line by line, and show it to whoever started this."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        if len(self.rest) > LINE_BYTES:
            lines, self.rest = [*lines, self.rest], b""
        for line in lines:
            self.say(line.decode(errors="replace").rstrip("\r"))
            tell(line.decode(errors="replace"))

    def end(self) -> None:
        """Write a last line that no line feed has ended."""
        if self.rest:
            self.take(b"\n")

    def say(self, line: str) -> None:
        """Write a line. A full disk costs the line and not the job."""
        self.last = line.strip() or self.last
        with suppress(OSError):
            if self.file.tell() > LOG_BYTES:
                self.rotate()
            self.file.write(f"{stamp(time.time())} {line}\n".encode())

    def rotate(self) -> None:
        """Begin a new file, and forget the oldest."""
        self.file.close()
        files = [self.path, *(self.path.with_name(f"{self.path.name}.{n}") for n in range(1, LOG_FILES))]
        for older, newer in reversed(list(zip(files[1:], files[:-1], strict=True))):
            with suppress(FileNotFoundError):
                newer.replace(older)
        self.open()


def tell(line: str, stream: TextIO | None = None) -> None:
    """Show a line to whoever started this, who may have gone away: then to nobody, also what is still in the buffer."""
    stream = stream or sys.stdout
    try:
        stream.write(line + "\n")
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def stamp(seconds: float) -> str:
    """A time as it is written in files: UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(text: object) -> float:
    """The time that `stamp` wrote, 0 where there is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0
