"""A standby of a test's server, cloned by pg_basebackup."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from servers import Server


@contextlib.contextmanager
def standby_of(primary: Server) -> Iterator[Server]:
    """Start a standby in a fresh folder, streaming, and remove both."""
    home = Path(tempfile.mkdtemp(prefix=f"standby{primary.major}-", dir="/tmp"))
    if primary.user is not None:
        os.chown(home, primary.user.pw_uid, primary.user.pw_gid)
    home.chmod(0o755)
    standby = Server(primary.major, home, primary.bin, primary.user, options=primary.options)
    source = ["-h", str(primary.home), "-p", str(primary.port), "-U", "postgres"]
    try:
        primary.run("pg_basebackup", *source, "-D", str(standby.data), "-R", "-c", "fast", "--no-sync")
        standby.start()
        yield standby
    finally:
        standby.stop()
        shutil.rmtree(home, ignore_errors=True)


def wait_for_replay(primary: Server, standby: Server, seconds: float = 300.0) -> None:
    """Wait until the standby has replayed what the primary has written; millions of rows may take it minutes."""
    with contextlib.closing(primary.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_lsn()")
        target = cursor.fetchone()[0]
    with contextlib.closing(standby.connect("postgres")) as connection, connection.cursor() as cursor:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            cursor.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (target,))
            if cursor.fetchone()[0]:
                return
            time.sleep(0.1)
    raise RuntimeError(f"the standby has not replayed {target}")
