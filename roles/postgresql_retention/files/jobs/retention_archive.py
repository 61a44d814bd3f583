"""Archives: compressed CSV that is read back from the disk before the rows go.

A file grows by whole members of gzip, one for each batch of rows; `zcat` reads them as one. A batch's rows are deleted
only once its member has been written, flushed and read back. A file under way ends in .partial: after a kill, what is
whole in it is kept and made a proper archive, since its rows may be gone. A row may so be in two archives, and never in
none.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from dbjob_session import JobError, Session
from psycopg2 import sql

CHUNK = 1 << 20
GZIP = 31  # zlib's word for "with the header and the checksum of gzip"
PARTIAL = ".partial"


class Hashed(io.RawIOBase):
    """What COPY writes into: counts and hashes the bytes, and passes them on."""

    def __init__(self, target: IO[bytes]) -> None:
        """Take where the bytes go."""
        self.target, self.digest = target, hashlib.sha256()

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def write(self, data: Any) -> int:
        """Hash and pass on."""
        self.digest.update(data)
        return self.target.write(data)


class Unbuffered(io.FileIO):
    """A file that keeps nothing back: what a full disk has refused must not come once there is space."""

    def write(self, data: Any) -> int:
        """Write all of it."""
        rest = memoryview(data)
        while rest:
            rest = rest[super().write(rest) :]
        return len(data)


class Archive:
    """A file under way."""

    def __init__(self, folder: Path, name: str, columns: list[str], reserve: int = 0) -> None:
        """Begin it with the names of the columns; `reserve` bytes of the disk are left to others."""
        self.path = folder / f"{name}.csv.gz{PARTIAL}"
        self.rows, self.columns, self.reserve = 0, columns, reserve
        self.file = Unbuffered(self.path, "x+")
        os.fchmod(self.file.fileno(), 0o600)
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow(columns)
        self.file.write(gzip.compress(header.getvalue().encode()))
        # A file that is flushed and has no name after a power failure is none.
        keep_names(folder)

    def append(self, session: Session, source: sql.Composable, rows: int) -> None:
        """Write rows `FROM …`, in the order of the columns, and read them back from the disk.

        Raises:
            JobError: what is on the disk is not what the server sent, or not so many rows, or the disk is filling.
        """
        refuse_a_full_disk(self.path.parent, 0, self.reserve)
        begin = self.file.seek(0, os.SEEK_END)
        try:
            columns = sql.SQL(", ").join(map(sql.Identifier, self.columns))
            query = sql.SQL("SELECT {} {}").format(columns, source)
            self.write(session, query.as_string(session.connection), rows, begin)
        except BaseException:
            # What is not whole is not kept: the next batch begins here.
            self.file.truncate(begin)
            raise
        self.rows += rows

    def write(self, session: Session, query: str, rows: int, begin: int) -> None:
        """Write one member behind `begin`, and compare what is read back with what came."""
        with gzip.GzipFile(fileobj=self.file, mode="wb", compresslevel=6) as member:
            sent = Hashed(member)
            session.copy(query, sent)
        os.fsync(self.file.fileno())
        os.posix_fadvise(self.file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self.file.seek(begin)
        found = Count()
        with gzip.GzipFile(fileobj=self.file, mode="rb") as member:
            found.read(member)
        if (found.digest, found.rows) != (sent.digest.hexdigest(), rows):
            raise JobError(
                f"{self.path} does not hold what was written to it ({found.rows} of {rows} rows): nothing deleted"
            )

    def finish(self) -> Path | None:
        """Close it, and give it its name."""
        self.file.close()
        return settle(self.path, self.rows)


class Count:
    """The records and the hash of CSV that is read."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.rows, self.digest = 0, ""

    def read(self, file: IO[bytes]) -> None:
        """Read to the end; a record may have line feeds in it."""
        hashed = hashlib.sha256()

        def lines() -> Iterator[str]:
            for line in file:
                hashed.update(line)
                yield line.decode()

        # The server writes one field longer than the csv module's own limit for any document.
        csv.field_size_limit(1 << 30)
        self.rows = sum(1 for _ in csv.reader(lines()))
        self.digest = hashed.hexdigest()


def whole_length(path: Path) -> int:
    """Return how many bytes of a file are whole members of gzip."""
    whole, read = 0, 0
    reader = zlib.decompressobj(GZIP)
    with path.open("rb") as file:
        rest = b""
        while chunk := rest or file.read(CHUNK):
            rest = b""
            try:
                reader.decompress(chunk)
            except zlib.error:
                break
            read += len(chunk) - len(reader.unused_data)
            if reader.eof:
                whole, rest = read, reader.unused_data
                reader = zlib.decompressobj(GZIP)
    return whole


def settle(path: Path, rows: int | None = None) -> Path | None:
    """Give a finished file its name and a checksum beside it; one without rows goes.

    Raises:
        JobError: it cannot be read to its end, or has not as many rows as it should.
    """
    found, whole = Count(), hashlib.sha256()
    try:
        with gzip.open(path, "rb") as file:
            found.read(file)
    except (OSError, EOFError, zlib.error) as error:
        raise JobError(f"{path} cannot be read back: {error}") from error
    if rows is not None and found.rows != rows + 1:
        raise JobError(f"{path} has {found.rows - 1} rows and should have {rows}: look at it before the next run")
    if found.rows <= 1:
        path.unlink()
        return None
    with path.open("rb") as source:
        while chunk := source.read(CHUNK):
            whole.update(chunk)
    final = path.with_name(path.name.removesuffix(PARTIAL))
    beside = final.with_name(final.name + ".sha256")
    with beside.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(f"{whole.hexdigest()}  {final.name}\n")
        file.flush()
        os.fsync(file.fileno())
    # Fails where the name is taken, as a rename would not. A run that was killed before the next line left both names.
    if not (final.exists() and final.samefile(path)):
        os.link(path, final)
    keep_names(path.parent)
    path.unlink()
    keep_names(path.parent)
    return final


def keep_names(folder: Path) -> None:
    """Flush a folder: the names of the files in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_a_full_disk(folder: Path, needed: int, reserve: int) -> None:
    """Hold the disk to have room: one that archives fill stops the server that it belongs to.

    Raises:
        JobError: less than `needed` and `reserve` bytes are free.
    """
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if free < needed + reserve:
        raise JobError(
            f"{folder} has {free >> 20} MB free; up to {needed >> 20} MB are to be archived, {reserve >> 20} MB left "
            "to others: take archives away, or give it room"
        )


def salvage(folder: Path, beginning: str) -> list[Path]:
    """Make proper archives of what a killed run left, up to the last batch that is whole; return them."""
    saved = []
    for path in sorted(folder.glob(f"{beginning}*{PARTIAL}")):
        os.truncate(path, whole_length(path))
        saved.append(settle(path))
    return [path for path in saved if path is not None]


def kept(folder: Path) -> str:
    """Return how many archives there are and what they take: they grow until a person takes them away."""
    sizes = [path.stat().st_size for path in folder.glob("*.csv.gz")]
    return f"{len(sizes)} files of {sum(sizes) / 2**20:.1f} MB in {folder}, which nothing deletes"
