"""A description of a cluster sees whatever a rebuilt one may lack, and nothing else."""

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Database

pytestmark = pytest.mark.faults

SCRIPT = Path(__file__).parents[2] / "roles/pgbackrest/files/jobs/describe_cluster"

SOURCE = """
CREATE TABLE bars (id bigserial PRIMARY KEY, symbol text NOT NULL, price numeric DEFAULT 1);
INSERT INTO bars (symbol, price) SELECT 'S' || n % 7, n FROM generate_series(1, 500) AS n;
CREATE INDEX bars_symbol ON bars (symbol);
CREATE MATERIALIZED VIEW totals AS SELECT symbol, sum(price) FROM bars GROUP BY symbol;
CREATE VIEW newest AS SELECT max(id) FROM bars;
CREATE FUNCTION twice(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1 * 2';
CREATE TABLE ticks (id integer);
"""

CHANGES = [
    pytest.param("INSERT INTO bars (symbol) VALUES ('S9')", "rows public.bars", id="a-row-more"),
    pytest.param("DELETE FROM bars WHERE id = 7", "rows public.bars", id="a-row-less"),
    pytest.param("UPDATE bars SET price = price + 0.01 WHERE id = 7", "rows public.bars", id="another-value"),
    pytest.param("REFRESH MATERIALIZED VIEW totals WITH NO DATA", "rows public.totals", id="a-view-not-populated"),
    pytest.param("DROP INDEX bars_symbol", "index bars_symbol", id="an-index"),
    pytest.param("ALTER TABLE bars ALTER price DROP DEFAULT", "column public.bars.price", id="a-default"),
    pytest.param("ALTER TABLE bars DROP CONSTRAINT bars_pkey", "constraint public.bars.bars_pkey", id="a-constraint"),
    pytest.param("GRANT SELECT ON bars TO reader", "relation public.bars", id="a-grant"),
    pytest.param("GRANT USAGE ON SCHEMA public TO reader", "schema public", id="a-grant-on-a-schema"),
    pytest.param("CREATE OR REPLACE VIEW newest AS SELECT min(id) AS max FROM bars", "public.newest", id="a-view"),
    pytest.param(
        "CREATE OR REPLACE FUNCTION twice(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1 * 3'",
        "function twice(integer)",
        id="a-function",
    ),
    pytest.param("ALTER ROLE owner CONNECTION LIMIT 7", "role owner", id="a-roles-attribute"),
    pytest.param("ALTER ROLE owner SET work_mem = '7MB'", "role or database setting owner", id="a-roles-setting"),
    pytest.param("GRANT reader TO owner", "role owner", id="a-membership"),
    pytest.param("ALTER SYSTEM SET work_mem = '9MB'", "postgresql.auto.conf work_mem", id="a-setting"),
]
UNDO = (
    "ALTER ROLE owner CONNECTION LIMIT -1",
    "ALTER ROLE owner RESET work_mem",
    "REVOKE reader FROM owner",
    "ALTER SYSTEM RESET work_mem",
)


@pytest.fixture
def described(db15: Database) -> Database:
    """A database with a little of everything."""
    db15.execute(SOURCE)
    return db15


def describe(db: Database, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it as a person would."""
    server = {"PGHOST": str(db.server.home), "PGPORT": str(db.server.port), "PGUSER": "postgres"}
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], env=os.environ | server, capture_output=True, text=True, check=False
    )


@pytest.fixture
def before(described: Database, tmp_path: Path) -> Path:
    """The description before the change."""
    run = describe(described)
    assert run.returncode == 0, run.stderr
    path = tmp_path / "before.json"
    path.write_text(run.stdout)
    return path


@pytest.mark.parametrize(("change", "named"), CHANGES)
def test_a_change_is_named(described: Database, before: Path, change: str, named: str) -> None:
    try:
        described.execute(change)
        run = describe(described, "--compare", str(before))
    finally:
        for statement in UNDO:
            described.execute(statement)
    assert run.returncode == 1, run.stderr
    assert named in run.stdout


def test_a_cluster_is_equal_to_itself_whatever_the_order_of_its_rows(described: Database, before: Path) -> None:
    described.execute("CLUSTER bars USING bars_symbol")
    described.execute("ALTER TABLE bars SET WITHOUT CLUSTER")
    run = describe(described, "--compare", str(before))
    assert (run.returncode, run.stdout) == (0, "equal\n")


def test_the_rows_of_a_busy_table_can_be_left_out(described: Database, tmp_path: Path) -> None:
    left_out = f"--without={described.name}.public.ticks"
    (tmp_path / "before.json").write_text(describe(described, left_out).stdout)
    described.execute("INSERT INTO ticks VALUES (1)")
    run = describe(described, left_out, "--compare", str(tmp_path / "before.json"))
    assert (run.returncode, run.stdout) == (0, "equal\n")


def test_no_password_is_in_it(described: Database) -> None:
    described.execute("ALTER ROLE owner PASSWORD %s", ("a-password-of-twenty-characters",))
    kept = described.value("SELECT rolpassword FROM pg_authid WHERE rolname = 'owner'")
    run = describe(described)
    assert kept not in run.stdout
    assert "password " in json.loads(run.stdout)["role"]["owner"]
    described.execute("ALTER ROLE owner PASSWORD NULL")


def test_a_half_dropped_database_is_named_and_stops_nobody(described: Database) -> None:
    described.execute("CREATE DATABASE half")
    described.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'half'")
    try:
        run = describe(described)
    finally:
        described.execute("DROP DATABASE half")
    assert run.returncode == 0, run.stderr
    assert "database half is left out: its DROP DATABASE was interrupted" in run.stderr
    assert f"{described.name}: rows" in json.loads(run.stdout)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_name_beyond_ascii_is_described_whatever_the_databases_encoding(described: Database, encoding: str) -> None:
    described.execute(f"CREATE DATABASE other TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        with closing(described.server.connect("other", client_encoding="UTF8")) as connection:
            connection.autocommit = True
            connection.cursor().execute('CREATE TABLE "prix_é" (n integer)')
        run = describe(described)
    finally:
        described.execute("DROP DATABASE other")
    assert run.returncode == 0, run.stderr
    assert 'public."prix_é"' in json.loads(run.stdout)["other: rows"]


def test_a_database_that_cannot_be_read_is_named_and_the_others_are_described(described: Database) -> None:
    described.execute("CREATE DATABASE other TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        with closing(described.server.connect("other", client_encoding="LATIN1")) as connection:
            connection.autocommit = True
            connection.cursor().execute('CREATE TABLE "prix_\xe9" (n integer)')
        run = describe(described)
    finally:
        described.execute("DROP DATABASE other")
    assert (run.returncode, "Traceback" in run.stderr) == (3, False), run.stderr
    assert "database other could not be read: invalid byte sequence" in run.stderr
    assert f"{described.name}: rows" in json.loads(run.stdout)
