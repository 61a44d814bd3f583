"""Trading databases on one real server, each as full as its tests need."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Callable, Iterator

import pytest
from servers import running
from trading_database import BARS, MAJOR, REAL, Database


@pytest.fixture(scope="session")
def new_database() -> Iterator[Callable[[str], Database]]:
    """Make databases with the role's tables, empty, on one server that ends with the session."""
    with running(MAJOR) as server:
        with contextlib.closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE ROLE mltrading_owner; CREATE ROLE mltrading_rw; CREATE ROLE mltrading_ro")
            # As the role postgresql sets it.
            cursor.execute("ALTER SYSTEM SET random_page_cost = 1.1")
            cursor.execute("SELECT pg_reload_conf()")

        # The first days of each real series, for tests that load again and again.
        lines = gzip.decompress(BARS.read_bytes()).decode().splitlines(keepends=True)
        first = {symbol: [line for line in lines if line.startswith(f"{symbol},")][:60] for symbol in REAL}
        few = "".join([lines[0], *[line for part in first.values() for line in part]])
        (server.home / "few.csv.gz").write_bytes(gzip.compress(few.encode()))

        def make(name: str) -> Database:
            with contextlib.closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {name} OWNER mltrading_owner")
            database = Database(server, name)
            database.create_tables()
            return database

        yield make


@pytest.fixture(scope="session")
def real(new_database: Callable[[str], Database]) -> Database:
    """A database with all real bars, three hundred generated ones of ten symbols, and the features of both."""
    database = new_database("real")
    database.load(bars=BARS, rows=3000)
    return database


@pytest.fixture(scope="session")
def trading(new_database: Callable[[str], Database]) -> Database:
    """The trading database as a lab has it, with many symbols and bars up to now, and the guide's declaration."""
    database = new_database("trading")
    database.load(rows=20_000, symbols=50, end_time="")
    database.declare("guide")
    return database


@pytest.fixture(scope="session")
def small(new_database: Callable[[str], Database]) -> Database:
    """A database that others are compared with: a thousand rows up to a fixed time."""
    database = new_database("small")
    database.load()
    return database
