# ruff: noqa: S608 - a benchmark makes its own SQL, and no secrets
"""A server as the role postgresql would set it up on a host of 8 GB, and on it the variants of the trading database.

The variants are copies of one database, file by file, so that they hold the same rows on the same pages. What a variant
has more than the one it is copied from is built in it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ansible.module_utils
import ansible.modules
import psycopg2
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("data", "integration")]
for package in (ansible.module_utils, ansible.modules):
    package.__path__.append(str(ROOT / "plugins" / package.__name__.partition(".")[2]))

from servers import running  # noqa: E402 - found by what stands above
from trading_database import BARS, MAJOR, SQL, Database  # noqa: E402

TABLE = "feature_engineered_data"
# What the settings of the role are derived for, and the groups of them that a measurement depends on.
MEMORY_MB, PROCESSORS = 8192, 2
MEASURED_SETTINGS = (
    "shared_buffers", "effective_cache_size", "maintenance_work_mem", "work_mem", "max_worker_processes",
    "max_parallel_workers", "max_parallel_workers_per_gather", "max_parallel_maintenance_workers", "random_page_cost",
    "effective_io_concurrency", "wal_level", "wal_compression", "min_wal_size", "max_wal_size",
    "checkpoint_completion_target", "track_io_timing",
)  # fmt: skip
# What the tests' servers do without and production does not, and what runs when the benchmark says so, not by itself.
PRODUCTION = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
CONTROLLED = {
    "autovacuum": "off",
    "checkpoint_timeout": "30min",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track_planning": "on",
    "deadlock_timeout": "1s",
}
# Disk that a run takes: five copies of a row, their indexes, and WAL.
BYTES_A_ROW, BYTES_BESIDE = 6_500, 6 * 1024**3
ROLES = ("mltrading_owner", "mltrading_rw", "mltrading_ro")


@dataclass(frozen=True)
class Variant:
    """One set of indexes: what it is copied from, and what is built in it."""

    name: str
    title: str
    copied_from: str = ""
    statements: tuple[tuple[str, str], ...] = ()
    declaration: str = ""


def say(text: str) -> None:
    """Tell how far it is."""
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S}  {text}\n")


def role_settings() -> dict[str, str]:
    """The settings that the role postgresql derives, as far as a measurement depends on them."""
    loader = DataLoader()
    given: dict[str, Any] = {
        "ansible_facts": {"distribution_major_version": "12"},
        "postgresql_memory_mb": MEMORY_MB,
        "postgresql_processors": PROCESSORS,
    }
    for folder in ("defaults", "vars"):
        path = ROOT / "roles" / "postgresql" / folder / "main.yml"
        given = loader.load_from_file(str(path), trusted_as_template=True) | given
    derived = Templar(loader=loader, variables=given).template(given["__postgresql_derived_settings"])
    return {name: str(derived[name]) for name in MEASURED_SETTINGS}


def carried() -> tuple[tuple[str, str], ...]:
    """The plain indexes that the table carries from its creation: (name, statement)."""
    text = (SQL / "tables" / f"{TABLE}.sql").read_text()
    lines = [line.rstrip(";") for line in text.splitlines() if line.startswith("CREATE INDEX")]
    return tuple((line.split()[2], line) for line in lines)


KEY = "unique_symbol_timestamp_features"
VARIANTS = (
    Variant("primary_key", "primary key alone"),
    Variant(
        "unique",
        "and the unique constraint",
        "primary_key",
        ((KEY, f"ALTER TABLE public.{TABLE} ADD CONSTRAINT {KEY} UNIQUE (symbol, timestamp, source)"),),
    ),
    Variant("carried", "as the table is created", "unique", carried()),
    Variant("guide", "and the guide's nine", "carried", declaration="guide"),
    Variant("lean", "lean", "unique", declaration="lean"),
)


def database_of(server: Any, variant: str) -> Database:
    """The database of a variant."""
    return Database(server, f"bench_{variant}")


@contextlib.contextmanager
def timed() -> Iterator[list[float]]:
    """Give a list that has the seconds of the block behind it."""
    taken: list[float] = []
    began = time.monotonic()
    yield taken
    taken.append(round(time.monotonic() - began, 3))


@contextlib.contextmanager
def server_for(rows: int) -> Iterator[Any]:
    """Start the server, with the roles of the trading database."""
    needed, free = rows * BYTES_A_ROW + BYTES_BESIDE, shutil.disk_usage("/tmp").free  # noqa: S108 - where servers are
    if free < needed:
        size = f"about {needed / 1e9:.0f} GB in /tmp, of which {free / 1e9:.0f} are free"
        sys.exit(f"bench: {rows:,} rows take {size}: set BENCH_ROWS to fewer")
    settings = role_settings() | PRODUCTION | CONTROLLED
    initdb = ("--data-checksums", "--locale=C.UTF-8")
    with running(MAJOR, initdb=initdb, folder="bench", **settings) as server:
        with contextlib.closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
            for role in ROLES:
                cursor.execute(f"CREATE ROLE {role}")
            cursor.execute("CREATE EXTENSION pg_stat_statements")
        yield server


def settings_of(server: Any) -> dict[str, str]:
    """The settings that were made, as the server shows them."""
    names = sorted({*MEASURED_SETTINGS, *PRODUCTION, *CONTROLLED})
    with contextlib.closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT name, current_setting(name) FROM unnest(%s) AS name", [names])
        return dict(cursor.fetchall())


def load(server: Any, rows: int, symbols: int, end_time: str) -> dict[str, float]:
    """Make the variant that has the primary key alone, in the order in which an application writes.

    Only the constraint and the indexes are taken away for the load. The rows are put in order by CLUSTER, as the load
    makes symbol after symbol: an application writes hour after hour. Returns the seconds of the key's build.
    """
    database = database_of(server, VARIANTS[0].name)
    with contextlib.closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {database.name} OWNER mltrading_owner")
    database.create_tables()
    database.rows(f"ALTER TABLE {TABLE} DROP CONSTRAINT {KEY}")
    database.rows(f"DROP INDEX {', '.join(name for name, _ in carried())}")
    asked = {"bars": BARS, "rows": rows, "symbols": symbols, "end_time": end_time, "workers": os.cpu_count()}
    subprocess.run(database.loader(**asked), check=True, stdout=subprocess.DEVNULL)
    say("put the rows in the order of their arrival")
    database.rows("TRUNCATE market_data")  # the benchmark reads and writes features alone
    database.rows(f"CREATE INDEX arrival ON {TABLE} (timestamp, symbol)")
    database.rows(f"CLUSTER {TABLE} USING arrival")
    database.rows("DROP INDEX arrival")
    with timed() as seconds:
        database.rows(f"REINDEX INDEX {TABLE}_pkey")
    database.rows(f"VACUUM (ANALYZE) {TABLE}")
    return {f"{TABLE}_pkey": seconds[0]}


def build(server: Any, variant: Variant) -> dict[str, float]:
    """Make a variant: copy another and build in it what it has more, by the module where the role declares it.

    Returns the seconds of each build.
    """
    built = {}
    database = database_of(server, variant.name)
    source = database_of(server, variant.copied_from)
    with contextlib.closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
        copied = f"TEMPLATE {source.name} STRATEGY file_copy OWNER mltrading_owner"
        cursor.execute(f"CREATE DATABASE {database.name} {copied}")
    for name, statement in variant.statements:
        with timed() as seconds:
            database.rows(statement)
        built[name] = seconds[0]
    if variant.declaration:
        done = database.declare(variant.declaration)
        built |= {action["name"].split(".")[-1]: action["seconds"] for action in done["actions"]}
    database.rows(f"VACUUM (ANALYZE) {TABLE}")
    say(f"{variant.title}: {len(indexes_of(database))} indexes")
    return built


def indexes_of(database: Database) -> list[dict[str, Any]]:
    """The indexes of the table: name, definition behind USING, bytes."""
    found = database.rows(
        "SELECT c.relname, split_part(pg_get_indexdef(c.oid), ' USING ', 2), pg_relation_size(c.oid)"
        f" FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE i.indrelid = '{TABLE}'::regclass"
        " ORDER BY 1"
    )
    return [{"name": name, "definition": definition, "bytes": size} for name, definition, size in found]


def described(server: Any, built: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    """What the variants are: their indexes with the size and the seconds of the build of each, `built` by variant."""
    found, seconds = [], dict(built)
    for variant in VARIANTS:
        seconds[variant.name] = seconds.get(variant.copied_from, {}) | seconds[variant.name]
        indexes = [
            index | {"build_seconds": seconds[variant.name].get(index["name"])}
            for index in indexes_of(database_of(server, variant.name))
        ]
        found.append({"name": variant.name, "title": variant.title, "indexes": indexes})
    return found


def open_all(server: Any) -> dict[str, psycopg2.extensions.connection]:
    """A connection to each variant, in UTC."""
    return {
        variant.name: server.connect(database_of(server, variant.name).name, options="-c TimeZone=UTC")
        for variant in VARIANTS
    }
