# ruff: noqa: S608 - tests make their own SQL
"""Dumps that can be relied on: of one moment, read back, never counted when damaged, and restored to the same rows."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from servers import Server
from standbys import standby_of, wait_for_replay

SCRIPTS = Path(__file__).parents[2] / "roles/postgresql_dump/files/jobs"
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
STAMP = "%Y%m%dT%H%M%SZ"
FILES = ["SHA256SUMS", "full.dump", "globals.sql", "manifest.json", "schema.sql", "tables.dump"]

# What a dump can lose: an owner, privileges, a type, a generated column, a sequence's state, partitions, a foreign key,
# a materialized view's rows, a trigger, a name that needs quotes.
SOURCE = """
CREATE TYPE side AS ENUM ('buy', 'sell');
CREATE TABLE features (
    id bigserial PRIMARY KEY, symbol text NOT NULL, rsi double precision,
    noise text, twice double precision GENERATED ALWAYS AS (rsi * 2) STORED
);
CREATE TABLE orders (id bigserial PRIMARY KEY, feature_id bigint REFERENCES features, side side, "Odd Name" text);
CREATE TABLE readings (id bigint NOT NULL, taken timestamptz NOT NULL, PRIMARY KEY (id, taken))
PARTITION BY RANGE (taken);
CREATE TABLE readings_2026_01 PARTITION OF readings FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE readings_2026_02 PARTITION OF readings FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE "Mixed Case" (id int);
INSERT INTO features (symbol, rsi, noise)
SELECT 'S' || n % 50, n / 7.0, md5(n::text) || md5((n + 1)::text) FROM generate_series(1, 20000) AS n;
INSERT INTO orders (feature_id, side, "Odd Name")
SELECT n, CASE WHEN n % 2 = 0 THEN 'buy' ELSE 'sell' END::side, E'tab\t, quote '' and line\n' || n
FROM generate_series(1, 2000) AS n;
INSERT INTO readings SELECT n, '2026-01-01'::timestamptz + n * interval '1 hour' FROM generate_series(1, 1200) AS n;
INSERT INTO "Mixed Case" VALUES (1), (2), (3);
CREATE INDEX features_symbol ON features (symbol) INCLUDE (rsi);
CREATE MATERIALIZED VIEW summary AS SELECT symbol, count(*), avg(rsi) FROM features GROUP BY symbol;
CREATE UNIQUE INDEX summary_symbol ON summary (symbol);
GRANT SELECT ON features TO reader;
ALTER TABLE features OWNER TO owner;
"""
TABLES = ("features", "orders", "readings", '"Mixed Case"', "summary")
CATALOG = """
SELECT 'index', pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid::regclass::text !~ '^(pg_|information_schema)'
UNION ALL SELECT 'constraint', conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'relation', concat_ws(' ', oid::regclass, relkind, pg_get_userbyid(relowner), relacl)
FROM pg_class WHERE relnamespace = 'public'::regnamespace
ORDER BY 1, 2
"""


@dataclass
class Dumps:
    """A directory of dumps of one database, and the scripts run on it as the job does."""

    server: Server
    database: str
    directory: Path
    tables: str = "features readings"
    path: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What the job's settings and the runner give."""
        return {
            "PATH": ":".join([*self.path, str(self.server.bin), SYSTEM_PATH]),
            "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8", "PGUSER": "postgres",
            "PGHOST": str(self.server.home), "PGPORT": str(self.server.port),
            "DUMP_DATABASE": self.database, "DUMP_DIRECTORY": str(self.directory), "DUMP_TABLES": self.tables,
        }  # fmt: skip

    def start(self, script: str, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        """Start a script."""
        environment = self.environment | more.pop("env", {})
        return subprocess.Popen(
            [sys.executable, SCRIPTS / script, *arguments],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            **more,
        )  # fmt: skip

    def run(self, script: str, *arguments: str, **more: Any) -> tuple[int, str]:
        """Run a script; return its exit code and what it said."""
        process = self.start(script, *arguments, **more)
        said, _ = process.communicate(timeout=120)
        return process.returncode, said

    def dump(self, days_ago: float = 0) -> Path:
        """Make a dump as if it had been made days ago."""
        code, said = self.run("dump_database")
        assert code == 0, said
        return self.aged(self.newest, days_ago)

    def copy(self, dump: Path, days_ago: float) -> Path:
        """Have the same dump as if it had been made days ago."""
        path = self.named(days_ago)
        subprocess.run(["cp", "-a", dump, path], check=True)
        return path

    def named(self, days_ago: float) -> Path:
        """The folder of a dump that was made days ago."""
        taken = datetime.now(UTC) - timedelta(days=days_ago)
        return self.directory / f"{self.database}-{taken.strftime(STAMP)}"

    def aged(self, dump: Path, days_ago: float) -> Path:
        """Have a dump be made days ago."""
        return dump.rename(self.named(days_ago)) if days_ago else dump

    @property
    def names(self) -> list[str]:
        """Everything in the directory, oldest first."""
        return sorted(path.name for path in self.directory.iterdir() if path.name != ".lock")

    @property
    def newest(self) -> Path:
        """The newest dump."""
        return self.directory / self.names[-1]

    def wrap(self, folder: Path, program: str, after: str = "", before: str = "") -> None:
        """Have the scripts run `program` with shell code around it; $file is what it writes to."""
        wrapper = folder / program
        wrapper.write_text(
            f'#!/bin/bash\nfor a in "$@"; do case $a in --file=*) file=${{a#--file=}};; esac; done\n{before}\n'
            f'"{self.server.bin}/{program}" "$@" || exit\n{after}\n'
        )
        wrapper.chmod(0o755)
        self.path.append(str(folder))

    def databases(self) -> set[str]:
        """The databases of the server."""
        return {row[0] for row in ask(self.server, "postgres", "SELECT datname FROM pg_database")}

    def wait_for(self, pattern: str) -> None:
        """Wait for a file."""
        for _ in range(500):
            if list(self.directory.glob(pattern)):
                return
            time.sleep(0.02)
        raise AssertionError(f"no {pattern} within ten seconds")


def ask(server: Server, database: str, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall()) if cursor.description else []


def content(server: Server, database: str, table: str) -> tuple[Any, ...]:
    """The rows of a table: how many, and a checksum of all."""
    query = f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} AS t"
    return ask(server, database, query)[0]


@pytest.fixture(
    scope="module", params=[pytest.param(15, id="pg15"), pytest.param(17, id="pg17", marks=pytest.mark.faults)]
)
def server(request: pytest.FixtureRequest, servers: Callable[[int], Server]) -> Server:
    """Return the servers of the supported Debian releases in turn."""
    return servers(request.param)


@pytest.fixture(scope="module")
def source(server: Server) -> Iterator[str]:
    """Return a database that tests only read."""
    name = server.create_database()
    ask(server, name, SOURCE)
    yield name
    server.drop_database(name)


@pytest.fixture
def own(server: Server) -> Iterator[str]:
    """Return a database that the test may change."""
    name = server.create_database()
    ask(server, name, SOURCE)
    yield name
    server.drop_database(name)


@pytest.fixture
def dumps(server: Server, source: str, tmp_path: Path) -> Iterator[Dumps]:
    """Return an empty directory of dumps, and remove the databases that were restored from them."""
    (tmp_path / "dumps").mkdir()
    found = Dumps(server, source, tmp_path / "dumps")
    before = found.databases()
    yield found
    for name in found.databases() - before:
        server.drop_database(name)


@pytest.fixture(scope="module")
def made(server: Server, source: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a good dump that tests copy."""
    directory = tmp_path_factory.mktemp("made")
    return Dumps(server, source, directory).dump()


@pytest.fixture
def shelf(dumps: Dumps, made: Path) -> Callable[..., list[Path]]:
    """Fill the directory with good dumps made as many days ago as is said."""
    return lambda *days: [dumps.copy(made, age) for age in days]


def flip(path: Path, place: float) -> None:
    """Flip one bit of a file, at a share of its length."""
    data = bytearray(path.read_bytes())
    position = min(int(len(data) * place), len(data) - 1)
    data[position] ^= 0x10
    path.write_bytes(data)


def test_a_dump_is_whole_private_and_says_what_it_is(dumps: Dumps, server: Server) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    dump = dumps.dump()
    assert sorted(path.name for path in dump.iterdir()) == FILES
    assert {stat.S_IMODE(path.stat().st_mode) for path in dump.iterdir()} == {0o600}
    assert stat.S_IMODE(dump.stat().st_mode) == 0o700
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=dump, check=True)
    manifest = json.loads((dump / "manifest.json").read_text())
    assert (
        manifest["server"]["system_identifier"]
        == server.run("pg_controldata", str(server.data)).stdout.split("system identifier:")[1].split()[0]
    )
    assert manifest["server"]["server_version"].split(".")[0] == str(server.major)
    assert datetime.fromisoformat(manifest["snapshot"]["time"]) >= before
    assert re.fullmatch(r"[0-9A-F]+/[0-9A-F]+", manifest["snapshot"]["lsn"])
    assert manifest["files"]["full.dump"]["bytes"] == (dump / "full.dump").stat().st_size


def test_the_roles_are_dumped_with_their_verifiers(dumps: Dumps, server: Server) -> None:
    ask(server, "postgres", f"CREATE ROLE dumped LOGIN PASSWORD '{'p' * 30}' IN ROLE reader")
    text = (dumps.dump() / "globals.sql").read_text()
    ask(server, "postgres", "DROP ROLE dumped")
    assert "CREATE ROLE dumped" in text
    assert "PASSWORD 'SCRAM-SHA-256$" in text
    assert "GRANT reader TO dumped" in text


def test_tables_are_dumped_by_names_with_quotes_and_schemas(dumps: Dumps, own: str) -> None:
    ask(dumps.server, own, 'ALTER TABLE "Mixed Case" RENAME TO "MixedCase"')
    dumps = replace(dumps, database=own, tables='"MixedCase" public.features')
    assert tables_in(dumps, dumps.dump() / "tables.dump") == {"MixedCase", "features"}


def tables_in(dumps: Dumps, file: Path) -> set[str]:
    """The tables that a dump has rows of."""
    listed = subprocess.run(
        [dumps.server.bin / "pg_restore", "--list", file], capture_output=True, text=True, check=True
    )
    return set(re.findall(r" TABLE DATA public (\S+) ", listed.stdout))


def test_a_partitioned_table_is_dumped_with_its_partitions(dumps: Dumps) -> None:
    dumps.tables = "readings"
    assert tables_in(dumps, dumps.dump() / "tables.dump") == {"readings_2026_01", "readings_2026_02"}


@pytest.mark.faults
def test_the_three_dumps_are_of_one_moment_under_a_writing_client(
    dumps: Dumps, own: str, server: Server, tmp_path: Path
) -> None:
    stop = threading.Event()
    written = []

    def write() -> None:
        with contextlib.closing(server.connect(own)) as connection, connection.cursor() as cursor:
            while not stop.is_set():
                cursor.execute(
                    "BEGIN; INSERT INTO features (symbol) VALUES ('new');"
                    " INSERT INTO orders (side) VALUES ('buy'); COMMIT"
                )
                written.append(1)

    dumps = replace(dumps, database=own, tables="features orders")
    # Between one dump and the next the client goes on.
    dumps.wrap(tmp_path, "pg_dump", after="sleep 0.5")
    client = threading.Thread(target=write)
    client.start()
    try:
        dump = dumps.dump()
        during = len(written)
    finally:
        stop.set()
        client.join()
    assert during > 100
    counts = {(file, table): rows_in(dumps, dump / file, table) for file in ("full.dump", "tables.dump")
              for table in ("features", "orders")}  # fmt: skip
    new = {key: count - (20_000 if key[1] == "features" else 2_000) for key, count in counts.items()}
    assert len(set(new.values())) == 1, new
    assert 0 < next(iter(new.values())) < len(written)


def rows_in(dumps: Dumps, file: Path, table: str) -> int:
    """The rows of a table in a dump."""
    command = [dumps.server.bin / "pg_restore", "--data-only", f"--table={table}", "--file=-", file]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return text.split("FROM stdin;\n")[1].split("\\.\n")[0].count("\n")


def test_a_server_that_is_down_is_a_failure_and_costs_nothing(dumps: Dumps, shelf: Callable[..., list[Path]]) -> None:
    shelf(20, 10, 9, 8)
    before = dumps.names
    code, said = dumps.run("dump_database", env={"PGPORT": "1"})
    assert code == 1
    assert said.startswith("failed: connection to server on socket")
    assert dumps.names == before


WRONG = [
    pytest.param({"DUMP_DATABASE": ""}, "DUMP_DATABASE", id="no-database"),
    pytest.param({"DUMP_DATABASE": "../x"}, "DUMP_DATABASE", id="a-path"),
    pytest.param({"DUMP_DIRECTORY": "/nonesuch"}, "DUMP_DIRECTORY", id="no-directory"),
    pytest.param({"DUMP_DIRECTORY": ""}, "DUMP_DIRECTORY", id="the-current-directory"),
    pytest.param({"DUMP_KEEP_DAYS": "0"}, "DUMP_KEEP_DAYS is '0'", id="no-days"),
    pytest.param({"DUMP_KEEP_DAYS": "-1"}, "DUMP_KEEP_DAYS is '-1'", id="negative-days"),
    pytest.param({"DUMP_COMPRESSION": "0"}, "DUMP_COMPRESSION is '0'", id="no-checksums"),
]


@pytest.mark.parametrize(("changes", "reason"), WRONG)
def test_wrong_settings_are_refused(dumps: Dumps, changes: dict[str, str], reason: str) -> None:
    code, said = dumps.run("dump_database", env=changes)
    assert code == 2
    assert said.startswith(f"refused: {reason}")
    assert dumps.names == []


def test_a_table_that_is_missing_is_a_failure(dumps: Dumps) -> None:
    dumps.tables = "features nonesuch summary"
    code, said = dumps.run("dump_database")
    assert (code, said) == (1, "failed: DUMP_TABLES names what is no table: nonesuch, summary\n")
    assert dumps.names == []


@pytest.mark.parametrize(
    "place", [0.05, 0.5, *(pytest.param(place, marks=pytest.mark.faults) for place in (0.2, 0.35, 0.65, 0.8, 0.95))]
)
def test_a_bit_that_flips_while_it_is_written_is_found_before_the_dump_counts(
    dumps: Dumps, tmp_path: Path, place: float
) -> None:
    flipper = tmp_path / "flip.py"
    flipper.write_text(
        "import sys\nfile, place = sys.argv[1], float(sys.argv[2])\ndata = bytearray(open(file, 'rb').read())\n"
        "first, last = data.index(b'full') if b'full' in data else int(len(data) * 0.3), len(data)\n"
        "data[first + int((last - first) * place)] ^= 16\nopen(file, 'wb').write(data)\n"
    )
    dumps.wrap(
        tmp_path, "pg_dump", after=f'case $file in *full.dump) "{sys.executable}" "{flipper}" "$file" {place};; esac'
    )
    code, said = dumps.run("dump_database")
    assert code == 1, said
    assert "failed: pg_restore failed with exit code" in said
    assert dumps.names == []


@pytest.mark.parametrize("name", ["full.dump", "tables.dump", "schema.sql", "globals.sql"])
def test_a_file_without_its_end_is_found_before_the_dump_counts(dumps: Dumps, tmp_path: Path, name: str) -> None:
    program = "pg_dumpall" if name == "globals.sql" else "pg_dump"
    cut = f'case $file in *{name}) truncate --size=$(($(stat -c %s "$file") * 2 / 3)) "$file";; esac'
    dumps.wrap(tmp_path, program, after=cut)
    assert dumps.run("dump_database")[0] == 1
    assert dumps.names == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "place", [0.0, *(pytest.param(place, marks=pytest.mark.faults) for place in (0.1, 0.5, 0.9, 1.0))]
)
def test_a_bit_that_flips_later_is_found_before_anything_is_restored(
    dumps: Dumps, shelf: Callable[..., list[Path]], name: str, place: float
) -> None:
    (dump,) = shelf(1)
    flip(dump / name, place)
    before = dumps.databases()
    code, said = dumps.run("restore_dump", dump.name, "restored")
    assert code == 2
    assert f"refused: {dump.name} is damaged" in said
    assert dumps.databases() == before


def test_the_latest_dump_is_the_newest_that_is_not_damaged(dumps: Dumps, shelf: Callable[..., list[Path]]) -> None:
    older, newer = shelf(2, 1)
    flip(newer / "full.dump", 0.5)
    code, said = dumps.run("restore_dump", "latest", "restored")
    assert code == 0, said
    assert f"passes over {newer.name}: full.dump is not what was written" in said
    assert json.loads(said.splitlines()[-1])["dump"] == older.name


def test_of_two_dumps_at_once_one_is_made(dumps: Dumps, tmp_path: Path) -> None:
    dumps.wrap(tmp_path, "pg_dump", before="sleep 1")
    first = dumps.start("dump_database")
    dumps.wait_for("*.partial")
    code, said = dumps.run("dump_database")
    assert (code, said) == (75, f"another dump into {dumps.directory} is being made\n")
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert len(dumps.names) == 1


def test_a_dump_that_is_killed_half_way_does_not_count_and_is_cleared_away(
    dumps: Dumps, shelf: Callable[..., list[Path]], tmp_path: Path
) -> None:
    (good,) = shelf(1)
    slow = replace(dumps, path=[])
    slow.wrap(tmp_path, "pg_dump", after="sleep 5")
    process = slow.start("dump_database", start_new_session=True)
    dumps.wait_for("*.partial/full.dump")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert [name.endswith(".partial") for name in dumps.names] == [False, True]
    assert json.loads(dumps.run("restore_dump", "--plan", "latest", "restored")[1])["dump"] == good.name
    code, said = dumps.run("dump_database")
    assert code == 0
    assert "what a killed run left" in said
    assert [name.endswith(".partial") for name in dumps.names] == [False, False]


def test_a_dump_that_is_stopped_takes_what_is_half_done_away(dumps: Dumps, tmp_path: Path) -> None:
    dumps.wrap(tmp_path, "pg_dump", after="sleep 5")
    process = dumps.start("dump_database")
    dumps.wait_for("*.partial/full.dump")
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert dumps.names == []


def test_a_disk_that_cannot_take_another_dump_stops_it_before_it_begins(
    dumps: Dumps, shelf: Callable[..., list[Path]]
) -> None:
    (previous,) = shelf(1)
    found = os.statvfs(dumps.directory)
    # A file with a hole: long, and nothing on the disk.
    os.truncate(previous / "full.dump", min(found.f_bavail * found.f_frsize, 2**43))
    code, said = dumps.run("dump_database")
    assert code == 1
    assert re.match(r"failed: .* has .*B free, and the last dump takes .*B: 1.2 times that is needed\n", said)
    assert dumps.names == [previous.name]


def test_a_disk_that_fills_up_meanwhile_leaves_no_partial_dump(dumps: Dumps, shelf: Callable[..., list[Path]]) -> None:
    (previous,) = shelf(1)

    def bounded() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    code, said = dumps.run("dump_database", preexec_fn=bounded)
    assert code == 1, said
    assert "failed: pg_dump failed" in said
    assert dumps.names == [previous.name]


@pytest.mark.faults
def test_thirty_days_of_failures_keep_the_last_good_dumps(dumps: Dumps, shelf: Callable[..., list[Path]]) -> None:
    kept = shelf(3, 2, 1)
    for day in range(1, 31):
        kept = [dumps.aged(dump, age + day) for dump, age in zip(kept, (3, 2, 1), strict=True)]
        assert dumps.run("dump_database", env={"PGPORT": "1"})[0] == 1
    assert dumps.names == [dump.name for dump in kept]
    # Each success from then on costs one of them: that which has three newer ones.
    first = dumps.dump(0.02)
    assert dumps.names == [*(dump.name for dump in kept[1:]), first.name]
    second = dumps.dump(0.01)
    assert dumps.names == [kept[2].name, first.name, second.name]
    third = dumps.dump()
    assert dumps.names == [first.name, second.name, third.name]


PRUNED = [
    pytest.param((9, 8, 3, 2), (3, 2), id="old-ones-go-where-three-are-newer"),
    pytest.param((20, 19, 18, 17), (18, 17), id="of-old-ones-alone-two-stay-with-the-new-one"),
    pytest.param((9, 8), (9, 8), id="too-few-are-newer"),
    pytest.param((6.9, 6, 5, 4, 3, 2, 1), (6.9, 6, 5, 4, 3, 2, 1), id="nothing-is-old"),
]


@pytest.mark.parametrize(("days", "left"), PRUNED)
def test_dumps_are_kept_for_seven_days_and_three_always(
    dumps: Dumps, shelf: Callable[..., list[Path]], days: tuple[float, ...], left: tuple[float, ...]
) -> None:
    found = dict(zip(days, shelf(*days), strict=True))
    new = dumps.dump()
    assert dumps.names == [*(found[age].name for age in left), new.name]


def test_a_dump_of_another_database_is_left_alone(dumps: Dumps, shelf: Callable[..., list[Path]]) -> None:
    shelf(9, 8, 3, 2)
    (dumps.directory / "other-20200101T000000Z").mkdir()
    (dumps.directory / "other-20200101T000000Z.partial").mkdir()
    dumps.dump()
    assert [name for name in dumps.names if name.startswith("other")] == [
        "other-20200101T000000Z", "other-20200101T000000Z.partial",
    ]  # fmt: skip


def spoil_flip(dump: Path) -> None:
    flip(dump / "tables.dump", 0.5)


def spoil_missing(dump: Path) -> None:
    (dump / "full.dump").unlink()


def spoil_unverified(dump: Path) -> None:
    (dump / "SHA256SUMS").unlink()


def spoil_empty(dump: Path) -> None:
    for path in dump.iterdir():
        path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [spoil_flip, spoil_missing, spoil_unverified, spoil_empty])
def test_a_damaged_dump_does_not_count_among_the_three_and_is_reported(
    dumps: Dumps, shelf: Callable[..., list[Path]], spoil: Callable[[Path], None]
) -> None:
    old, third, _, spoiled = shelf(20, 9, 3, 2)
    spoil(spoiled)
    code, said = dumps.run("dump_database")
    assert code == 1
    assert f"is good, but older ones are damaged: {spoiled.name}" in said
    # The new one, that of three days ago and that of nine are the three.
    assert old.name not in dumps.names
    assert {third.name, spoiled.name} < set(dumps.names)
    assert len(dumps.names) == 4


@pytest.mark.faults
def test_a_dump_that_has_shrunk_is_kept_and_costs_no_old_one(dumps: Dumps, own: str) -> None:
    dumps = replace(dumps, database=own)
    first = dumps.dump(10)
    others = [dumps.copy(first, age) for age in (9, 8)]
    ask(dumps.server, own, "TRUNCATE features CASCADE; REFRESH MATERIALIZED VIEW summary")
    code, said = dumps.run("dump_database")
    assert code == 1
    assert f"less than half of {others[-1].name}: nothing was removed" in said
    assert len(dumps.names) == 4


def test_a_restored_database_equals_its_source(dumps: Dumps, server: Server) -> None:
    dump = dumps.dump()
    code, said = dumps.run("restore_dump", dump.name, "restored")
    assert code == 0, said
    for table in TABLES:
        assert content(server, "restored", table) == content(server, dumps.database, table)
    assert ask(server, "restored", CATALOG) == ask(server, dumps.database, CATALOG)
    assert ask(server, "restored", "SELECT nextval('features_id_seq')") == [(20_001,)]
    assert json.loads(said)["rows"] == {
        "public.Mixed Case": 3, "public.features": 20_000, "public.orders": 2_000, "public.readings": 1_200,
        "public.summary": 50,
    }  # fmt: skip
    like = (
        "SELECT encoding, datcollate, datctype, datlocprovider, pg_get_userbyid(datdba) FROM pg_database"
        " WHERE datname = '{}'"
    )
    assert ask(server, "postgres", like.format("restored")) == ask(server, "postgres", like.format(dumps.database))
    assert ask(server, "postgres", "SELECT has_database_privilege('public', 'restored', 'CONNECT')") == [(False,)]


def test_a_database_of_another_encoding_is_dumped_and_restored_with_its_names(dumps: Dumps, server: Server) -> None:
    ask(server, "postgres", "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with contextlib.closing(server.connect("latin", client_encoding="UTF8")) as connection:
        connection.cursor().execute('CREATE TABLE "prix_\u00e9" AS SELECT \'\u00e9t\u00e9\'::text AS "saison_\u00e9"')
    latin = replace(dumps, database="latin", tables="")
    dump = latin.dump()
    code, said = latin.run("restore_dump", dump.name, "restored")
    assert code == 0, said
    assert json.loads(said)["rows"] == {"public.prix_\u00e9": 1}


# Functions that leave the schema to the search_path, or read what is loaded later: in a view, in CHECK constraints of a
# table, of a partitioned one, of tables that inherit, of a domain.
RELYING = """
CREATE SCHEMA app;
CREATE TABLE app.sym (id int PRIMARY KEY);
INSERT INTO app.sym VALUES (1), (2);
CREATE FUNCTION cnt() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM sym';
CREATE FUNCTION known(int) RETURNS bool LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM sym WHERE id = $1)';
CREATE DOMAIN app.symbol AS int CONSTRAINT listed CHECK (known(value));
COMMENT ON CONSTRAINT listed ON DOMAIN app.symbol IS 'of a domain';
CREATE TABLE a_trade (sid int CONSTRAINT "is known" CHECK (known(sid)), n int CHECK (n > 0), by app.symbol);
COMMENT ON CONSTRAINT "is known" ON a_trade IS 'of a table';
INSERT INTO a_trade VALUES (1, 1, 2);
CREATE TABLE a_part (sid int CHECK (known(sid))) PARTITION BY LIST (sid);
CREATE TABLE a_part_1 PARTITION OF a_part FOR VALUES IN (1);
INSERT INTO a_part VALUES (1);
CREATE TABLE a_base (sid int, CONSTRAINT shared CHECK (known(sid)), CONSTRAINT mine CHECK (known(sid)) NO INHERIT);
CREATE TABLE a_heir (CONSTRAINT shared CHECK (known(sid))) INHERITS (a_base);
INSERT INTO a_heir VALUES (2);
CREATE MATERIALIZED VIEW a_view AS SELECT cnt() AS c;
CREATE MATERIALIZED VIEW b_view AS SELECT c + 1 AS d FROM a_view;
CREATE MATERIALIZED VIEW never AS SELECT 1 AS x WITH NO DATA;
CREATE UNIQUE INDEX a_view_c ON a_view (c);
GRANT SELECT ON a_view TO reader;
"""
CONSTRAINTS = """
SELECT conname, coalesce(conrelid::regclass::text, ''), contypid::regtype::text, pg_get_constraintdef(oid), conislocal,
       coninhcount::int, convalidated, obj_description(oid, 'pg_constraint')
FROM pg_constraint WHERE contype = 'c' AND connamespace::regnamespace::text IN ('app', 'public') ORDER BY 1, 2, 3
"""


@pytest.fixture
def relying(dumps: Dumps, server: Server) -> Iterator[Dumps]:
    """Return dumps of a database that a plain pg_restore cannot restore."""
    name = server.create_database()
    ask(server, "postgres", f"ALTER DATABASE {name} SET search_path = public, app")
    # From 17 on a materialized view's query has no search_path to rely on.
    new = server.major >= 17
    ask(
        server,
        name,
        RELYING.replace("bigint LANGUAGE sql", "bigint LANGUAGE sql SET search_path = app") if new else RELYING,
    )
    yield replace(dumps, database=name, tables="")
    server.drop_database(name)


def test_what_relies_on_the_search_path_or_on_rows_of_later_is_restored(relying: Dumps, server: Server) -> None:
    code, said = relying.run("restore_dump", relying.dump().name, "restored")
    assert code == 0, said
    assert json.loads(said)["differs"] == []
    for query in (CONSTRAINTS, CATALOG, "SELECT * FROM a_view, b_view", "SELECT * FROM a_trade, a_part, a_base"):
        assert ask(server, "restored", query) == ask(server, relying.database, query)
    populated = "SELECT relname FROM pg_class WHERE relkind = 'm' AND relispopulated ORDER BY 1"
    assert ask(server, "restored", populated) == [("a_view",), ("b_view",)]


def test_the_path_of_an_owner_is_the_way_where_the_database_has_none(relying: Dumps, server: Server) -> None:
    ask(server, "postgres", f"ALTER DATABASE {relying.database} RESET search_path")
    ask(server, relying.database, "ALTER TABLE a_trade OWNER TO owner; GRANT ALL ON SCHEMA app TO owner")
    for name in ("a_part", "a_base"):
        ask(server, relying.database, f"DROP TABLE {name} CASCADE")
    ask(server, relying.database, "ALTER TABLE a_trade ALTER by TYPE int; DROP DOMAIN app.symbol")
    ask(server, relying.database, "ALTER MATERIALIZED VIEW a_view OWNER TO owner; GRANT SELECT ON app.sym TO owner")
    ask(server, relying.database, f"ALTER ROLE owner IN DATABASE {relying.database} SET search_path = app, public")
    code, said = relying.run("restore_dump", relying.dump().name, "restored")
    assert (code, json.loads(said)["differs"]) == (0, []), said


def test_what_cannot_be_as_it_was_costs_no_rows_and_is_told(relying: Dumps, server: Server) -> None:
    ask(server, relying.database, "DELETE FROM app.sym WHERE id = 2")
    ask(server, relying.database, "CREATE OR REPLACE FUNCTION cnt() RETURNS bigint LANGUAGE sql AS 'SELECT 1/0'")
    ask(server, "postgres", "CREATE ROLE passing")
    ask(server, "postgres", f"ALTER ROLE passing IN DATABASE {relying.database} SET work_mem = '77MB'")
    dump = relying.dump()
    ask(server, "postgres", f"ALTER ROLE passing IN DATABASE {relying.database} RESET ALL")
    ask(server, "postgres", "DROP ROLE passing")
    code, said = relying.run("restore_dump", dump.name, "restored")
    assert code == 0, said
    differs = json.loads(said.splitlines()[-1])["differs"]
    for words in (
        "constraint shared of public.a_base is NOT VALID: ", "constraint listed of app.symbol is NOT VALID: ",
        "materialized view public.a_view is empty: division by zero", "materialized view public.b_view is empty: ",
        'setting work_mem of role passing was not taken over: role "passing" does not exist',
    ):  # fmt: skip
        assert any(line.startswith(words) for line in differs), (words, differs)
    assert said.splitlines()[:-1] == differs
    assert ask(server, "restored", "SELECT count(*) FROM a_base") == [(1,)]


@pytest.mark.faults
def test_a_plain_restore_of_such_a_database_fails(relying: Dumps, server: Server) -> None:
    # What the tests above stand on.
    dump = relying.dump()
    ask(server, "postgres", "CREATE DATABASE plain TEMPLATE template0")
    command = [server.bin / "pg_restore", "--exit-on-error", "--dbname=plain", dump / "full.dump"]
    done = subprocess.run(command, env=relying.environment, capture_output=True, text=True, check=False)
    assert (done.returncode, 'relation "sym" does not exist' in done.stderr) == (1, True), done.stderr


def test_the_database_s_settings_limit_and_comment_are_in_the_dump_and_restored(dumps: Dumps, server: Server) -> None:
    name = server.create_database()
    own = replace(dumps, database=name, tables="")
    try:
        for setting in (
            "search_path = app, \"$user\", \"a, b\"", "default_transaction_read_only = on", "statement_timeout = 900",
            "app.tenant = 'it''s, me'", "DateStyle = 'German, DMY'",
        ):  # fmt: skip
            ask(server, "postgres", f"ALTER DATABASE {name} SET {setting}")
        ask(server, "postgres", f"ALTER ROLE reader IN DATABASE {name} SET work_mem = '77MB'")
        ask(server, "postgres", f"ALTER DATABASE {name} CONNECTION LIMIT 7")
        ask(server, "postgres", f"COMMENT ON DATABASE {name} IS 'of trades'")
        dump = own.dump()
        code, said = own.run("restore_dump", dump.name, "restored")
        assert (code, json.loads(said)["differs"]) == (0, []), said
        settings = (
            "SELECT setrole::regrole::text, setconfig FROM pg_db_role_setting s"
            " JOIN pg_database d ON d.oid = setdatabase WHERE datname = '{}' ORDER BY 1"
        )
        found = ask(server, "postgres", settings.format("restored"))
        assert found == ask(server, "postgres", settings.format(name))
        assert len(found) == 2
        query = "SELECT datconnlimit, shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'restored'"
        assert ask(server, "postgres", query) == [(7, f"Restored from {dump.name}: of trades")]
    finally:
        server.drop_database(name)


@pytest.mark.parametrize(
    ("table", "rows"),
    [("features", 20_000), ("public.orders", 2_000), ("readings", 1_200)],
    ids=["plain", "with-a-foreign-key", "partitioned"],
)
def test_one_table_is_restored_with_the_structure_of_all(
    dumps: Dumps, server: Server, made: Path, table: str, rows: int
) -> None:
    dumps.copy(made, 1)
    code, said = dumps.run("restore_dump", "latest", "restored", table)
    assert code == 0, said
    assert content(server, "restored", table) == content(server, dumps.database, table)
    counted = json.loads(said)["rows"]
    assert {name: count for name, count in counted.items() if count} == {f"public.{table.rpartition('.')[2]}": rows}
    indexes = "SELECT count(*) FROM pg_index WHERE indrelid = 'features'::regclass"
    assert ask(server, "restored", indexes) == ask(server, dumps.database, indexes)


def test_a_restore_that_would_touch_or_could_not_is_refused(
    dumps: Dumps, server: Server, shelf: Callable[..., list[Path]]
) -> None:
    assert dumps.run("restore_dump", "latest", "restored") == (2, "refused: there is no dump here\n")
    (dump,) = shelf(1)
    before = dumps.databases()
    cases = {
        ("latest", dumps.database): f"there is a database {dumps.database} already",
        ("latest", "postgres"): "there is a database postgres already",
        ("latest", "Bad-Name"): "'Bad-Name': a name is",
        ("latest", "restored", "nonesuch"): f"{dump.name} has no table public.nonesuch",
        ("latest", "restored", "feature"): f"{dump.name} has no table public.feature",
        ("latest", "restored", "other.features"): f"{dump.name} has no table other.features",
        (f"{dumps.database}-20200101T000000Z", "restored"): f"there is no dump {dumps.database}-20200101T000000Z",
        ("../../etc", "restored"): "there is no dump ../../etc",
        ("latest",): "Restore a dump",
    }
    said = {arguments: dumps.run("restore_dump", *arguments) for arguments in cases}
    assert {arguments: code for arguments, (code, _) in said.items()} == dict.fromkeys(cases, 2)
    assert [reason for arguments, reason in cases.items() if f"refused: {reason}" not in said[arguments][1]] == []
    assert dumps.databases() == before
    ask(server, "postgres", "CREATE DATABASE restored_restoring")
    ask(server, "postgres", "COMMENT ON DATABASE restored_restoring IS 'mine'")
    code, refusal = dumps.run("restore_dump", "latest", "restored")
    assert (code, "of somebody else" in refusal) == (2, True)
    assert "restored_restoring" in dumps.databases()


def test_a_plan_says_what_would_be_restored_and_refuses_what_would_be_refused(
    dumps: Dumps, shelf: Callable[..., list[Path]]
) -> None:
    (dump,) = shelf(1)
    before = dumps.databases()
    code, said = dumps.run("restore_dump", "--plan", "latest", "restored", "features")
    assert code == 0, said
    assert (json.loads(said)["dump"], json.loads(said)["database"]) == (dump.name, "restored")
    assert dumps.run("restore_dump", "--plan", "latest", dumps.database)[0] == 2
    assert dumps.run("restore_dump", "--plan", "latest", "restored", "nonesuch")[0] == 2
    flip(dump / "full.dump", 0.5)
    assert dumps.run("restore_dump", "--plan", "latest", "restored")[0] == 2
    assert dumps.databases() == before


@pytest.mark.faults
def test_a_dump_that_replay_ends_on_a_standby_fails_and_says_the_way_out(
    dumps: Dumps, own: str, server: Server, tmp_path: Path
) -> None:
    with standby_of(server) as standby:
        ask(standby, "postgres", "ALTER SYSTEM SET max_standby_streaming_delay = '100ms'")
        ask(standby, "postgres", "SELECT pg_reload_conf()")
        there = replace(dumps, server=standby, database=own)
        there.wrap(tmp_path, "pg_dump", before="sleep 4")
        process = there.start("dump_database")
        there.wait_for("*.partial")
        time.sleep(1)
        ask(server, own, "DELETE FROM orders")
        ask(server, own, "VACUUM orders")
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 1, said
        assert "conflict with recovery" in said.splitlines()[-1]
        assert "set hot_standby_feedback = on" in said.splitlines()[-1]
        assert there.names == []


def test_a_role_that_is_missing_is_named_with_the_way_out(dumps: Dumps, server: Server) -> None:
    ask(server, "postgres", "CREATE ROLE passing")
    ask(server, "postgres", f"ALTER DATABASE {dumps.database} OWNER TO passing")
    dump = dumps.dump()
    ask(server, "postgres", f"ALTER DATABASE {dumps.database} OWNER TO owner")
    ask(server, "postgres", "DROP ROLE passing")
    code, said = dumps.run("restore_dump", "latest", "restored")
    assert (code, said) == (
        2, f"refused: there is no role passing: make the roles, or take them from {dump}/globals.sql\n",
    )  # fmt: skip


def test_a_restore_that_fails_leaves_nothing(dumps: Dumps, shelf: Callable[..., list[Path]], tmp_path: Path) -> None:
    shelf(1)
    before = dumps.databases()
    dumps.wrap(tmp_path, "pg_restore", after="echo 'pg_restore: error: out of luck' >&2; exit 1")
    code, said = dumps.run("restore_dump", "latest", "restored")
    assert (code, said) == (1, "failed: pg_restore failed: pg_restore: error: out of luck\n")
    assert dumps.databases() == before


def test_a_restore_that_is_killed_half_way_is_done_by_the_next(
    dumps: Dumps, server: Server, shelf: Callable[..., list[Path]], tmp_path: Path
) -> None:
    shelf(1)
    slow = replace(dumps, path=[])
    slow.wrap(tmp_path, "pg_restore", after="sleep 5")
    process = slow.start("restore_dump", "latest", "restored", start_new_session=True)
    for _ in range(500):
        if "restored_restoring" in dumps.databases() and ask(
            server, "restored_restoring", "SELECT to_regclass('features') IS NOT NULL"
        ) == [(True,)]:
            break
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert "restored" not in dumps.databases()
    code, said = dumps.run("restore_dump", "latest", "restored")
    assert code == 0, said
    assert {"restored", "restored_restoring"} & dumps.databases() == {"restored"}


@pytest.mark.faults
def test_unlogged_tables_that_a_standby_has_no_rows_of_are_named(dumps: Dumps, own: str, server: Server) -> None:
    ask(server, own, "CREATE UNLOGGED TABLE unl AS SELECT generate_series(1, 5000) AS i")
    here = replace(dumps, database=own)
    assert "without rows" not in here.run("dump_database")[1]
    assert json.loads((here.newest / "manifest.json").read_text())["empty"] == []
    with standby_of(server) as standby:
        wait_for_replay(server, standby)
        there = replace(dumps, server=standby, database=own)
        time.sleep(1)
        code, said = there.run("dump_database")
        assert (code, "without rows, as a standby has none of unlogged tables: public.unl" in said) == (0, True), said
    code, said = here.run("restore_dump", "latest", "restored")
    assert code == 0, said
    assert "public.unl is empty: it is unlogged, and was dumped on a standby" in said


@pytest.mark.faults
def test_a_standby_is_dumped_and_restored_on_the_primary(dumps: Dumps, server: Server) -> None:
    with standby_of(server) as standby:
        wait_for_replay(server, standby)
        there = replace(dumps, server=standby)
        dump = there.dump()
        manifest = json.loads((dump / "manifest.json").read_text())
        assert manifest["server"]["standby"] is True
        code, said = there.run("restore_dump", "--plan", "latest", "restored", "features")
        assert (code, json.loads(said)["dump"]) == (0, dump.name)
        code, said = there.run("restore_dump", "latest", "restored")
        assert code == 2
        assert "is a standby" in said
    code, said = dumps.run("restore_dump", "latest", "restored")
    assert code == 0, said
    for table in TABLES:
        assert content(server, "restored", table) == content(server, dumps.database, table)


@dataclass
class Drills:
    """Drills of dumps. The scripts are run by this user, and the scratch server by the servers' own."""

    dumps: Dumps
    temporary: Path

    def run(self) -> tuple[int, str]:
        """Drill; return the exit code and what was said."""
        process = self.start()
        said, _ = process.communicate(timeout=240)
        return process.returncode, said

    def start(self, **more: Any) -> subprocess.Popen[str]:
        """Begin a drill."""
        where = {"TMPDIR": str(self.temporary), "DRILL_DIRECTORY": str(self.temporary / "drill")}
        return self.dumps.start("drill_dump", env=where, **more)

    def left(self) -> list[str]:
        """What drills have left, but for the log of the last server."""
        return sorted(path.name for path in self.temporary.rglob("*") if path.name not in ("drill", "data.log"))

    def server_runs(self) -> bool:
        """Whether a scratch server runs."""
        return (
            subprocess.run(["pgrep", "--full", str(self.temporary)], capture_output=True, check=False).returncode == 0
        )


@pytest.fixture
def drills(dumps: Dumps, tmp_path: Path) -> Iterator[Drills]:
    """Drills of the dumps."""
    temporary = Path(tempfile.mkdtemp(prefix="drills-", dir="/tmp"))
    temporary.chmod(0o755)
    user = dumps.server.user
    (tmp_path / "programs").mkdir()
    for name in ("initdb", "pg_ctl"):
        become = f"setpriv --reuid={user.pw_uid} --clear-groups" if user else ""
        owned = f'chown -R {user.pw_uid} "$TMPDIR"\n' if user else ""
        (tmp_path / "programs" / name).write_text(
            f'#!/bin/bash\n{owned}cd /\nexec {become} {dumps.server.bin}/{name} "${{@/--auth=peer/--auth=trust}}"\n'
        )
        (tmp_path / "programs" / name).chmod(0o755)
    dumps.path.insert(0, str(tmp_path / "programs"))
    yield Drills(dumps, temporary)
    shutil.rmtree(temporary)


def test_a_drill_restores_the_newest_dump_elsewhere_and_leaves_nothing(drills: Drills) -> None:
    drills.dumps.dump(days_ago=2)
    newest, before = drills.dumps.dump(), drills.dumps.databases()
    code, said = drills.run()
    assert code == 0, said
    assert f"restored {newest.name}: " in said.splitlines()[-1]
    assert '"public.features": 20000' in said
    assert drills.dumps.databases() == before
    assert (drills.left(), drills.server_runs()) == ([], False)


def test_a_drill_without_a_dump_or_with_a_damaged_one_fails(drills: Drills) -> None:
    code, said = drills.run()
    assert (code, f"there is no dump of {drills.dumps.database}" in said) == (1, True)
    good = drills.dumps.dump(days_ago=2)
    damaged = drills.dumps.dump()
    flip(damaged / "full.dump", 0.5)
    code, said = drills.run()
    assert (code, f"{damaged.name} is damaged; {good.name} before it was restored" in said) == (1, True), said
    assert (drills.left(), drills.server_runs()) == ([], False)


def test_a_drill_tells_what_is_not_as_it_was(drills: Drills, tmp_path: Path) -> None:
    dump = drills.dumps.dump()
    drills.dumps.wrap(tmp_path, "pg_restore", after="echo 'pg_restore: error: out of luck' >&2; exit 1")
    code, said = drills.run()
    assert (code, "out of luck" in said.splitlines()[-1]) == (1, True), said
    assert dump.exists()
    assert (drills.left(), drills.server_runs()) == ([], False)


@pytest.mark.faults
def test_a_drill_makes_tablespaces_of_its_own(drills: Drills, own: str, server: Server) -> None:
    location = server.home / "disk"
    location.mkdir()
    if server.user:
        os.chown(location, server.user.pw_uid, server.user.pw_gid)
    ask(server, "postgres", f"CREATE TABLESPACE disk LOCATION '{location}'")
    ask(server, own, "CREATE TABLE elsewhere TABLESPACE disk AS SELECT generate_series(1, 7) AS n")
    try:
        there = replace(drills, dumps=replace(drills.dumps, database=own))
        there.dumps.dump()
        before = sorted(path.name for path in location.rglob("*"))
        code, said = there.run()
        assert code == 0, said
        assert '"public.elsewhere": 7' in said
        assert sorted(path.name for path in location.rglob("*")) == before
    finally:
        ask(server, own, "DROP TABLE elsewhere")
        ask(server, "postgres", "DROP TABLESPACE disk")
        location.rmdir()


def test_what_a_killed_drill_has_left_is_cleared_away_by_the_next(drills: Drills, tmp_path: Path) -> None:
    drills.dumps.dump()
    slow = replace(drills, dumps=replace(drills.dumps, path=[*drills.dumps.path]))
    (tmp_path / "slow").mkdir()
    slow.dumps.wrap(tmp_path / "slow", "pg_restore", before=f"touch {tmp_path}/begun; sleep 60")
    process = slow.start(start_new_session=True)
    for _ in range(3000):
        if (tmp_path / "begun").exists():
            break
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert drills.server_runs()
    code, said = drills.run()
    assert code == 0, said
    assert not drills.server_runs()
