"""A drop-in of settings, and beside it what it was when the running server was started."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils.pg_settings.cluster import Cluster


def kept(path: Path) -> Path:
    """Return where the former content of a drop-in is kept; a server passes over a name that begins with a dot."""
    return path.parent / f".{path.name}.before"


def content(path: Path) -> str:
    """Return the content of a drop-in, "" where there is none."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def write(cluster: Cluster, path: Path, wanted: str) -> None:
    """Write a drop-in whole, and keep what the running server was started with.

    What was kept since that start stays: a file that changes twice before a restart goes back to the first.
    """
    since = cluster.started
    before = kept(path)
    if since is not None and not (before.is_file() and before.stat().st_mtime > since):
        replace(cluster, before, content(path))
    replace(cluster, path, wanted)


def replace(cluster: Cluster, path: Path, wanted: str) -> None:
    """Put a file of the server's user in place in one step."""
    number, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(number, "w", encoding="utf-8") as file:
        file.write(wanted)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(beside, 0o600)
    identity = cluster.identity
    if identity:
        os.chown(beside, identity["user"], identity["group"])
    os.replace(beside, path)


def changed_since(cluster: Cluster, since: float) -> Iterator[Path]:
    """Return the drop-ins that were written since a start, and differ from what they were at it."""
    for before in sorted((cluster.config / "conf.d").glob(".*.conf.before")):
        path = before.parent / before.name[1 : -len(".before")]
        if before.stat().st_mtime > since and content(path) != content(before):
            yield path


def put_back(cluster: Cluster, since: float) -> list[Path]:
    """Give each drop-in that was written since a start the content that it had at it; return them."""
    found = list(changed_since(cluster, since))
    for path in found:
        replace(cluster, path, content(kept(path)))
    return found
