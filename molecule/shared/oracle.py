"""The oracle: writers that log every acknowledged row outside of the database."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2
from harness import DATABASE, EPHEMERAL, Cluster, Node

WRITERS = 3
PAUSE = 0.02


def login(cluster: Cluster) -> dict[str, Any]:
    """How an application reaches the pooler: who writes behind it is no concern of theirs."""
    return {
        "host": cluster.db1.address,
        "port": 6432,
        "dbname": DATABASE,
        "user": "mltrading_rw",
        "password": (EPHEMERAL / "secrets/mltrading_rw_password").read_text().split()[0],
        "sslmode": "verify-full",
        "sslrootcert": str(EPHEMERAL / "ca/ca.crt"),
        "connect_timeout": 5,
        "tcp_user_timeout": 10000,
    }


def make_table(primary: Node) -> None:
    """An empty table for the oracle's rows."""
    primary.sql("DROP TABLE IF EXISTS oracle; CREATE TABLE oracle (number bigint PRIMARY KEY)", DATABASE)
    primary.sql("GRANT INSERT ON oracle TO mltrading_rw", DATABASE)


class Oracle:
    """Writes numbers through the pooler, one a transaction, and logs each that was acknowledged.

    A number is never tried twice, so that one whose fate is unknown is simply not in the log.
    """

    def __init__(self, log: Path, **login: Any) -> None:
        """Not started yet."""
        self.login, self.log = login, log
        self.file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        self.numbers = itertools.count(1)
        self.acknowledged: dict[int, float] = {}
        self.ends = threading.Event()
        self.locks = [threading.Lock() for _ in range(WRITERS)]
        self.threads = [threading.Thread(target=self.write, args=(lock,), daemon=True) for lock in self.locks]

    def start(self) -> None:
        """Begin to write."""
        for thread in self.threads:
            thread.start()
        self.writes_on()

    def write(self, lock: threading.Lock) -> None:
        """Write until told to end, with a new connection after each error."""
        while not self.ends.is_set():
            with suppress(psycopg2.Error), closing(psycopg2.connect(**self.login)) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    while not self.ends.is_set():
                        with lock:
                            number = next(self.numbers)
                            cursor.execute("INSERT INTO oracle VALUES (%s)", (number,))
                            self.note(number)
                        time.sleep(PAUSE)
            time.sleep(0.2)

    def note(self, number: int) -> None:
        """A row was acknowledged."""
        os.write(self.file, f"{number}\n".encode())
        self.acknowledged[number] = time.monotonic()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Between two rows of each writer."""
        with ExitStack() as stack:
            for lock in self.locks:
                stack.enter_context(lock)
            yield

    def writes_on(self, rows: int = 50, seconds: float = 180) -> None:
        """Wait until so many more rows were acknowledged."""
        wanted, end = len(self.acknowledged) + rows, time.monotonic() + seconds
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < end, "no row was acknowledged any more"
            time.sleep(0.1)

    def gap(self, since: float = 0) -> float:
        """The longest time without an acknowledged row, in seconds; `since` is one of time.monotonic()."""
        times = sorted(moment for moment in list(self.acknowledged.values()) if moment >= since)
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    def stop(self) -> set[int]:
        """End it, and return what the log says was acknowledged."""
        self.ends.set()
        for thread in self.threads:
            thread.join()
        return {int(line) for line in self.log.read_text().split()}
