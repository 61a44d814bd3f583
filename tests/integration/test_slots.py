"""Which slots of standbys the site drops and makes anew, asked of real servers."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extras import REPLICATION_PHYSICAL, PhysicalReplicationConnection
from servers import Server, running

FILES = Path(__file__).parents[2] / "roles/postgresql_replica/files"
LINKS = FILES.parents[1] / "postgresql_health/files/jobs/sql/health/replication_links.sql"
SLOTS = ("replica_stays", "replica_left", "somebody_s")


def psql(server: Server, file: str, **values: str) -> set[str]:
    """The rows that a file of the role gives."""
    return set(said(server, FILES / file, **values).split())


def said(server: Server, file: Path, **values: str) -> str:
    """What psql says to a file."""
    words = [f"--set={name}={value}" for name, value in values.items()]
    where = [f"--host={server.home}", f"--port={server.port}", "--username=postgres", "--dbname=postgres"]
    done = subprocess.run(
        ["psql", "-XAtq", "--set=ON_ERROR_STOP=1", *where, *words, f"--file={file}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


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


@contextmanager
def streaming(server: Server) -> Iterator[None]:
    """Stream by the slot that stays, as a standby that caught up from the archive."""
    where = {"host": str(server.home), "port": server.port, "user": "postgres"}
    with (
        closing(psycopg2.connect(**where, connection_factory=PhysicalReplicationConnection)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("IDENTIFY_SYSTEM")
        position = cursor.fetchone()[2]
        cursor.start_replication(slot_name=SLOTS[0], slot_type=REPLICATION_PHYSICAL, start_lsn=position)
        cursor.send_feedback(flush_lsn=lsn(position), force=True)
        yield


def lsn(text: str) -> int:
    """A position as a number."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def test_a_slot_that_is_lost_and_streamed_by_is_critical_and_made_anew() -> None:
    with running(17, folder="slots") as server:
        with closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_create_physical_replication_slot(%s, true)", (SLOTS[0],))
        lose(server)
        with streaming(server):
            for _ in range(100):
                if status(server) == "unreserved":
                    break
                time.sleep(0.05)
            assert status(server) == "unreserved"
            assert "slot replica_stays|2|active, WAL wal_removed" in said(server, LINKS)
            assert psql(server, "slots.sql", prefix="replica_", kept=SLOTS[0]) == {"replica_stays|renew"}
            psql(server, "renew_slot.sql", slot=SLOTS[0])
        assert status(server) == "reserved"
        assert "slot replica_stays|1|inactive, WAL reserved" in said(server, LINKS)


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
