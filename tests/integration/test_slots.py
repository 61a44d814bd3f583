"""Which slots of standbys the site drops and makes anew, asked of real servers."""

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from servers import Server, running

FILES = Path(__file__).parents[2] / "roles/postgresql_replica/files"
SLOTS = ("replica_stays", "replica_left", "somebody_s")


def psql(server: Server, file: str, **values: str) -> set[str]:
    """The rows that a file of the role gives."""
    words = [f"--set={name}={value}" for name, value in values.items()]
    where = [f"--host={server.home}", f"--port={server.port}", "--username=postgres", "--dbname=postgres"]
    done = subprocess.run(
        ["psql", "-XAtq", "--set=ON_ERROR_STOP=1", *where, *words, f"--file={FILES / file}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.fixture(params=[15, 17])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A primary with three slots that nobody reads."""
    with running(request.param, folder="slots") as server:
        with closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
            for name in SLOTS:
                cursor.execute("SELECT pg_create_physical_replication_slot(%s, true)", (name,))
        yield server


def lose(server: Server) -> None:
    """Write more WAL than the server keeps for a slot."""
    with closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'")
        cursor.execute("SELECT pg_reload_conf()")
        for _ in range(4):
            cursor.execute("SELECT pg_logical_emit_message(true, 'fill', 'it')")
            cursor.execute("SELECT pg_switch_wal()")
        cursor.execute("CHECKPOINT")


def status(server: Server) -> str:
    """What the server says of the slot that stays."""
    with closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s", (SLOTS[0],))
        return str(cursor.fetchone()[0])


def test_a_slot_of_a_standby_that_left_is_dropped_and_a_lost_one_made_anew(server: Server) -> None:
    ours = {"prefix": "replica_", "kept": "replica_stays,replica_to_come"}
    assert psql(server, "slots.sql", **ours) == {"replica_left|drop"}
    lose(server)
    assert status(server) == "lost"
    # PostgreSQL 15 does not tell: there the standby's own question does, and one that streams keeps WAL again.
    renewed = {"replica_stays|renew"} if server.major >= 17 else set()
    assert psql(server, "slots.sql", **ours) == {"replica_left|drop"} | renewed
    psql(server, "renew_slot.sql", slot=SLOTS[0])
    assert status(server) == "reserved"
    assert psql(server, "slots.sql", **ours) == {"replica_left|drop"}
