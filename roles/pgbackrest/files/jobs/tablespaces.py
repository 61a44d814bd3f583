"""Where a cluster's tablespaces are, beside its data directory, and what a restore does with them.

In place they come back to where they were: what PostgreSQL keeps in a location, one folder of its version, is renamed
there, and never leaves its disk. A clone and a drill have them in one folder of their own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

VERSION = re.compile(r"PG_\d+_\d+")
# What pg_waldump says of a CREATE TABLESPACE (PostgreSQL 15 to 18).
CREATED = re.compile(r'CREATE (?:\d+ )?"(/.*)"\Z')


def of_backup(details: dict[str, Any]) -> dict[str, str]:
    """The locations by name, of a backup as `info` describes it."""
    return {entry["name"]: entry["destination"] for entry in details.get("tablespace") or []}


def of_directory(data: Path) -> set[str]:
    """The locations that a data directory refers to."""
    links = [link for link in (data / "pg_tblspc").glob("*") if link.is_symlink()]
    return {os.readlink(link) for link in links}


def version_folders(location: Path) -> list[Path]:
    """What PostgreSQL keeps in a location."""
    return [path for path in sorted(location.glob("PG_*")) if VERSION.fullmatch(path.name)]


def moves(locations: Iterable[str], mark: str) -> list[tuple[str, str]]:
    """What is renamed to what, so that the locations are free."""
    folders = [folder for location in sorted(locations) for folder in version_folders(Path(location))]
    return [(str(folder), f"{folder}.{mark}") for folder in folders]


def problem(name: str, location: str, user: str) -> str:
    """Why a tablespace cannot be restored to its location as this OS user, "" where it can."""
    path = Path(location)
    if path.is_dir() and os.access(path, os.W_OK | os.X_OK):
        return ""
    what = "is not writable for" if path.exists() else "is not there for"
    return (
        f"the backup has the tablespace {name}, whose location {location} {what} {user} on this host. Make it, or mount"
        f" its disk: install -d -o {user} -g {user} -m 0700 {location}"
    )


def created(texts: Iterable[str], known: Collection[str]) -> str:
    """The first location of those known at which the log makes a tablespace, "" where it makes none."""
    made = (found[1] for text in texts if (found := CREATED.match(text)))
    return next((location for location in made if location in known), "")
