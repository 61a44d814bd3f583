"""A primary whose standby was promoted while nobody could reach it: which of the two goes on."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import guard
import psycopg2
import pytest
from guard import MARKER
from servers import Server, running
from standby import Failed, Settings
from standbys import standby_of


def writes(server: Server) -> bool:
    """Whether the server runs and takes writes."""
    try:
        with closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT NOT pg_is_in_recovery()")
            return bool(cursor.fetchone()[0])
    except psycopg2.OperationalError:
        return False


def settings_of(server: Server, other: Server, programs: Path) -> Settings:
    """What standby.env says on the server's host: a host is a folder of a socket here."""
    programs.mkdir(exist_ok=True)
    become = f"runuser -u {server.user.pw_name} --" if server.user else ""
    for name in ("pg_ctl", "pg_controldata"):
        (programs / name).write_text(f'#!/bin/sh\ncd /tmp && exec {become} {server.bin}/{name} "$@"\n')
        (programs / name).chmod(0o755)
    conninfo = f"host={server.home} port={server.port} user=postgres connect_timeout=10"
    home = str(server.home)
    return Settings(conninfo, [str(other.home)], "replica_x", server.data, programs, home, server.port, programs / "x")


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Server]]:
    """Return a primary and its standby, that follows."""
    monkeypatch.setenv("PGUSER", "postgres")
    with running(15, folder="guard") as primary, standby_of(primary) as standby:
        yield primary, standby


def test_the_one_that_was_replaced_is_stopped_and_stays_down(pair: tuple[Server, Server], tmp_path: Path) -> None:
    old, new = pair
    of_old, of_new = settings_of(old, new, tmp_path / "old"), settings_of(new, old, tmp_path / "new")
    guard.watch(of_old)
    guard.watch(of_new)
    assert writes(old)

    with closing(new.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_promote()")
    assert (writes(old), writes(new)) == (True, True)
    # The new one may start while the old one runs still, and is not stopped for it.
    guard.start(of_new)
    guard.watch(of_new)
    assert not (new.data / MARKER).exists()

    with pytest.raises(Failed, match=rf"{new.home} takes writes for this cluster \(timeline 2\).* stopped \(fast\)"):
        guard.watch(of_old)
    assert (writes(old), writes(new)) == (False, True)
    new.stop()
    with pytest.raises(Failed, match="this server was replaced"):
        guard.start(of_old)
