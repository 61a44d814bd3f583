"""The dumps in a directory: which there are, and whether each is whole and as it was when it was verified.

A dump is a folder DATABASE-YYYYMMDDTHHMMSSZ with its files, manifest.json and SHA256SUMS. It gets that name only when
all of it has been read back; until then the name ends in `.partial`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

KEEP_AT_LEAST = 3
STAMP = "%Y%m%dT%H%M%SZ"
NAME = re.compile(r"(?P<database>[A-Za-z0-9_]{1,63})-(?P<taken>\d{8}T\d{6}Z)")
MANIFEST, SUMS = "manifest.json", "SHA256SUMS"
SUM_LINE = re.compile(r"(?P<sum>[0-9a-f]{64})  (?P<file>[a-z.]+)")
FULL, SCHEMA, TABLES, GLOBALS = "full.dump", "schema.sql", "tables.dump", "globals.sql"


@dataclass(frozen=True)
class Dump:
    """A dump by its folder's name; nothing of it has been read yet."""

    path: Path
    database: str
    taken: datetime

    @property
    def bytes(self) -> int:
        """What it takes on the disk, about."""
        return sum(file.stat().st_size for file in self.path.iterdir())


def dumps_in(directory: Path, database: str) -> list[Dump]:
    """Return the finished dumps of a database, newest first."""
    found = []
    for path in directory.iterdir():
        name = NAME.fullmatch(path.name)
        if name and name["database"] == database and path.is_dir():
            found.append(Dump(path, database, datetime.strptime(name["taken"], STAMP).replace(tzinfo=UTC)))
    return sorted(found, key=lambda dump: dump.taken, reverse=True)


def manifest_of(dump: Dump) -> dict[str, Any]:
    """Read what a dump says of itself.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    found = json.loads((dump.path / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{MANIFEST} is no mapping")
    return found


def damage(dump: Dump) -> str:
    """Return what is wrong with a dump, "" for nothing. Reads every byte of it."""
    try:
        lines = [SUM_LINE.fullmatch(line) for line in (dump.path / SUMS).read_text(encoding="ascii").splitlines()]
        sums = {line["file"]: line["sum"] for line in lines if line}
        if None in lines or not sums:
            return f"{SUMS} is not what was written"
        wrong = [name for name, expected in sums.items() if checksum(dump.path / name) != expected]
        if wrong:
            return f"{', '.join(wrong)} is not what was written"
        listed = {*manifest_of(dump)["files"], MANIFEST}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"it cannot be read: {error}"
    return "" if listed == set(sums) else f"{MANIFEST} and {SUMS} disagree"


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sum_lines(folder: Path, names: list[str]) -> Iterator[str]:
    """Return the lines of SHA256SUMS, as `sha256sum --check` reads them."""
    for name in names:
        yield f"{checksum(folder / name)}  {name}\n"


def remove(path: Path) -> None:
    """Remove a folder that is no dump, or none any more from here on."""
    if not path.name.endswith((".partial", ".removed")):
        path = path.rename(path.with_name(path.name + ".removed"))
    shutil.rmtree(path)


def prune(directory: Path, database: str, oldest: datetime) -> tuple[list[str], list[str]]:
    """Remove the dumps that are too old where three newer ones are good.

    Returns:
        The names of those that went, and what is wrong with any that was looked at.
    """
    found = dumps_in(directory, database)
    expired = [dump for dump in found if dump.taken < oldest]
    problems: list[str] = []
    good: list[Dump] = []
    for dump in found if expired else []:
        problem = damage(dump)
        if problem:
            problems.append(f"{dump.path.name}: {problem}")
        else:
            good.append(dump)
        if len(good) == KEEP_AT_LEAST:
            break
    enough = len(good) == KEEP_AT_LEAST
    gone = [dump for dump in expired if enough and dump.taken < good[-1].taken]
    for dump in gone:
        remove(dump.path)
    return [dump.path.name for dump in gone], problems


def keep(path: Path) -> None:
    """Have a file or a folder's list of files on the disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def size(number: float) -> str:
    """Return a number of bytes as a person reads it."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while number >= 1000 and len(units) > 1:  # noqa: PLR2004
        number /= 1000
        del units[0]
    return f"{number:.3g} {units[0]}"
