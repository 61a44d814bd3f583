"""The roles of postgresql_access on real servers: made once, compared by meaning, and taken away with nothing lost."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from servers import Server, running

PROJECT = Path(__file__).parents[2]
READER = {
    "name": "reporter",
    "connection_limit": 7,
    "expires": "2031-02-03 04:05:06+02",
    "settings": {
        "search_path": '"$user", Reports,public',
        "jit": False,
        "application_name": 'it\'s, a \\ 50% "name"',
        "temp_tablespaces": "",
    },
}


@pytest.fixture(scope="module", params=[15, 17])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with the role of the operating system's user that Ansible becomes."""
    with running(request.param, folder="access") as server:
        yield server


def ask(server: Server, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
    """What the server answers."""
    with closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def declare(server: Server, folder: Path, *roles: dict[str, Any], check: bool = False) -> tuple[int, str]:
    """Run the role's tasks; return how many changed, or -1 where it failed, and what was said."""
    cluster = {
        "configdir": str(server.data),
        "port": server.port,
        "running": 1,
        "recovery": 0,
        "version": str(server.major),
    }
    steps = ("preflight", "roles", "absent")
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "environment": {"PGHOST": str(server.home)},
        "vars": {
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "__postgresql_lsclusters": {"stdout": json.dumps([cluster])},
            "postgresql_access_roles": list(roles),
            "postgresql_access_databases": [],
        },
        "tasks": [
            {"ansible.builtin.include_role": {"name": "postgresql_access", "tasks_from": step}} for step in steps
        ],
    }
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        [f"{sys.prefix}/bin/ansible-playbook", "--diff", *(["--check"] if check else []), folder / "play.yml"],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    counted = re.search(r"changed=(\d+).*failed=0", re.sub(r"\x1b\[[0-9;]*m", "", said))
    return (int(counted[1]) if counted and not done.returncode else -1), said


def test_a_role_is_made_once_and_is_what_is_declared(server: Server, tmp_path: Path) -> None:
    changed, said = declare(server, tmp_path, READER)
    assert changed == 1, said
    assert declare(server, tmp_path, READER)[0] == 0
    with closing(server.connect("postgres", "reporter")) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('search_path'), current_setting('jit'), current_setting('application_name')"
        )
        assert cursor.fetchone() == ('"$user", reports, public', "off", READER["settings"]["application_name"])  # type: ignore[index]
    until = "SELECT rolvaliduntil = '2031-02-03 04:05:06+02', rolconnlimit FROM pg_roles WHERE rolname = 'reporter'"
    assert ask(server, until) == [(True, 7)]
    # What is no longer declared is taken back, in a role without a password too.
    bare = {"name": "reporter"}
    assert declare(server, tmp_path, bare, check=True)[0] == 1
    assert declare(server, tmp_path, bare)[0] == 1
    assert declare(server, tmp_path, bare)[0] == 0
    assert ask(
        server, "SELECT rolvaliduntil::text, rolconnlimit, rolconfig FROM pg_roles WHERE rolname = 'reporter'"
    ) == [("infinity", -1, None)]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"expires": "2031-02-03 04:05:06"}, "expires"),
        ({"expires": "2031-02-30 00:00:00+00"}, "expires"),
        ({"settings": {"search_path": '"public'}}, "settings.search_path"),
        ({"settings": {"application_name": "a\nb"}}, "settings.application_name"),
    ],
)
def test_what_the_server_cannot_read_is_refused_by_name(
    server: Server, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    changed, said = declare(server, tmp_path, {"name": "misdeclared", **changes})
    assert (changed, f"role 'misdeclared': {named}" in " ".join(said.split())) == (-1, True)
    assert ask(server, "SELECT 1 FROM pg_roles WHERE rolname = 'misdeclared'") == []


def test_a_role_is_taken_away_with_its_rights_and_nothing_else(server: Server, tmp_path: Path) -> None:
    database = server.create_database()
    ask(
        server,
        "CREATE ROLE leaver LOGIN; CREATE TABLE bought (n int); ALTER TABLE bought OWNER TO leaver;"
        "CREATE TABLE lent (n int); GRANT SELECT ON lent TO leaver; INSERT INTO bought VALUES (1)",
        database,
    )
    ask(server, f"GRANT CONNECT ON DATABASE {database} TO leaver")
    gone = {"name": "leaver", "state": "absent"}
    changed, said = declare(server, tmp_path, gone)
    assert (changed, f"role leaver owns 1 objects in database {database}" in " ".join(said.split())) == (-1, True)
    assert ask(server, "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'leaver'") == [(True,)]
    ask(server, "REASSIGN OWNED BY leaver TO owner", database)
    with closing(server.connect(database, "leaver")) as session:
        assert declare(server, tmp_path, gone, check=True)[0] > 0
        assert session.cursor().execute("SELECT n FROM lent") is None
        changed, said = declare(server, tmp_path, gone)
        assert changed > 0, said
        with pytest.raises(psycopg2.OperationalError):
            session.cursor().execute("SELECT 1")
    assert ask(server, "SELECT 1 FROM pg_roles WHERE rolname = 'leaver'") == []
    assert ask(server, "SELECT n FROM bought", database) == [(1,)]
    assert declare(server, tmp_path, gone)[0] == 0
