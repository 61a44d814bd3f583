"""What wins over a declared setting is asked of real servers, reset or refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.pg_settings import overrides
from ansible.module_utils.pg_settings.cluster import Cluster, SettingsError
from servers import Server, running

QUERY = (Path(__file__).parents[2] / "roles/postgresql/files/declared_settings.sql").read_text()
HEAD = "#\n# Ansible managed\n#\n"
OWN = "work_mem = '5MB'\narchive_command = 'true'\nTimeZone = 'UTC'\nplpgsql.extra_warnings = 'none'\n"
LOADS = "DO $$ BEGIN NULL; END $$"


@pytest.fixture(scope="module", params=[15, 17, 18])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with drop-ins."""
    with running(request.param, folder="overrides") as server:
        with (server.data / "postgresql.conf").open("a") as file:
            file.write("include_dir = 'conf.d'\n")
        (server.data / "conf.d").mkdir()
        if server.user:
            os.chown(server.data / "conf.d", server.user.pw_uid, server.user.pw_gid)
        yield server


@pytest.fixture(autouse=True)
def declared(server: Server) -> None:
    """Only what is declared."""
    for path in (server.data / "conf.d").iterdir():
        path.unlink()
    say(
        server,
        "ALTER SYSTEM RESET ALL",
        "ALTER ROLE ALL RESET ALL",
        "ALTER ROLE owner RESET ALL",
        "ALTER ROLE reader RESET ALL",
    )
    say(server, "ALTER DATABASE template1 RESET ALL")
    write(server, "10-postgresql.conf", HEAD + OWN)


def write(server: Server, name: str, text: str) -> None:
    """Write a drop-in."""
    path = server.data / "conf.d" / name
    path.write_text(text)
    if server.user:
        os.chown(path, server.user.pw_uid, server.user.pw_gid)


def say(server: Server, *statements: str) -> None:
    """Have the server carry them out."""
    with closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def asked(server: Server) -> overrides.Server:
    """The server as the module asks it."""
    cluster = Cluster(
        Path("/usr/lib/postgresql/15/bin"), server.data, server.data, server.user.pw_name if server.user else None
    )
    return overrides.Server(cluster, server.home, server.port)


def found(server: Server) -> list[tuple[Any, ...]]:
    """What wins: kind, name, value."""
    return [(one["kind"], one["name"], one["value"]) for one in overrides.find(asked(server), QUERY)]


def test_nothing_wins_where_nobody_did_anything(server: Server) -> None:
    write(server, "99-hand.conf", "maintenance_work_mem = '99MB'\n")
    say(server, "ALTER SYSTEM SET maintenance_work_mem = '98MB'", "ALTER ROLE owner SET lock_timeout = '5s'")
    assert found(server) == []


def test_alter_system_of_a_declared_name_is_reset_and_of_another_kept(server: Server) -> None:
    say(
        server,
        "ALTER SYSTEM SET archive_command = '/bin/true'",
        "ALTER SYSTEM SET timezone = 'Europe/Berlin'",
        "ALTER SYSTEM SET maintenance_work_mem = '98MB'",
    )
    by_system = overrides.find(asked(server), QUERY)
    assert {(one["kind"], one["name"], one["value"]) for one in by_system} == {
        ("system", "archive_command", "/bin/true"),
        ("system", "TimeZone", "Europe/Berlin"),
    }
    overrides.reset(asked(server), by_system)
    assert found(server) == []
    assert "maintenance_work_mem" in (server.data / "postgresql.auto.conf").read_text()
    assert "archive_command = '/bin/true'\n" in [overrides.shown(one)["before"] for one in by_system]


def test_a_later_file_is_refused_by_its_name_and_line(server: Server) -> None:
    write(server, "99-hand.conf", "# mine\nwork_mem = '6MB'\n")
    [problem] = overrides.unwanted(overrides.find(asked(server), QUERY))
    assert "work_mem is declared as '5MB' in " in problem
    assert "99-hand.conf line 2 wins with '6MB'. Take it out there" in problem


def test_an_earlier_file_wins_over_nothing(server: Server) -> None:
    write(server, "05-hand.conf", "work_mem = '6MB'\n")
    assert found(server) == []


def test_two_roles_that_declare_one_setting_are_refused(server: Server) -> None:
    write(server, "20-pgbackrest.conf", HEAD + "archive_command = 'pgbackrest'\nwork_mem = '5MB'\n")
    [problem] = overrides.unwanted(overrides.find(asked(server), QUERY))
    assert "archive_command is declared as 'true' in " in problem
    assert "20-pgbackrest.conf wins with 'pgbackrest'. Declare it once" in problem


def test_what_a_role_or_a_database_has_of_its_own_is_told(server: Server) -> None:
    say(
        server,
        LOADS,
        "ALTER ROLE owner SET work_mem = '7MB'",
        "ALTER DATABASE template1 SET timezone = 'Asia/Tokyo'",
        "ALTER ROLE reader SET timezone = 'utc'",
        "ALTER ROLE ALL SET plpgsql.extra_warnings = 'all'",
    )
    rows = overrides.find(asked(server), QUERY)
    assert overrides.unwanted(rows) == []
    said = overrides.told(rows)
    assert len(said) == 3
    say(server, *[sentence.partition("To take it away: ")[2] for sentence in said])
    assert found(server) == []


def test_an_option_of_the_start_is_refused(server: Server) -> None:
    write(server, "10-postgresql.conf", HEAD + "max_connections = '50'\n")
    [problem] = overrides.unwanted(overrides.find(asked(server), QUERY))
    assert "command line wins with '60'. Take the option out of the server's start" in problem


def test_a_password_is_not_shown(server: Server) -> None:
    write(server, "30-postgresql_replica.conf", HEAD + "primary_conninfo = 'host=a'\n")
    say(server, "ALTER SYSTEM SET primary_conninfo = 'host=b password=secret user=c'")
    assert found(server) == [("system", "primary_conninfo", "host=b password=******** user=c")]


def test_a_server_that_does_not_answer_is_a_sentence(server: Server) -> None:
    with pytest.raises(SettingsError, match="does not say what its settings come from"):
        overrides.find(overrides.Server(asked(server).cluster, server.home, 1), QUERY)
