"""What is changed by hand on a server is found, each kind of it, on every major."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import MAJORS, Server, running

from mltrading_db.cli import ways_out

FILES = Path(__file__).parents[2] / "playbooks/files"
SPEC = importlib.util.spec_from_file_location("host_state", Path(__file__).parents[2] / "plugins/filter/host_state.py")
assert SPEC
assert SPEC.loader
host_state = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(host_state)
CANARY = "canary-of-this-test"
AS_A_RUN_LEAVES_IT = """
CREATE TABLE bars (symbol text PRIMARY KEY, day date);
CREATE INDEX bars_day ON bars (day);
CREATE VIEW days AS SELECT day FROM bars;
CREATE MATERIALIZED VIEW summary AS SELECT count(*) AS n FROM bars;
GRANT SELECT ON bars TO reader;
"""
# Each statement by hand, and what is said of it: kind, a part of its name, and of its value.
BY_HAND = {
    "ALTER SYSTEM SET work_mem = '77MB'": ("setting", "work_mem", "78848 by postgresql.auto.conf"),
    "ALTER SYSTEM SET shared_buffers = '333MB'": (
        "setting",
        "shared_buffers",
        "written: 333MB by postgresql.auto",
    ),
    "ALTER ROLE reader SET statement_timeout = '1s'": ("setting", "of role reader", "statement_timeout=1s"),
    f"CREATE ROLE intruder SUPERUSER LOGIN PASSWORD '{CANARY}'": ("role", "intruder", "superuser login"),
    "GRANT reader TO writer": ("role", "writer", "member of reader"),
    "GRANT DELETE ON bars TO reader": ("privileges", "bars", "reader=rd/postgres"),
    "GRANT CREATE ON SCHEMA public TO reader": ("privileges", "schema public", "reader=C/"),
    "CREATE INDEX mine ON bars (day DESC)": ("index", "mine", "day DESC"),
    "DROP INDEX bars_day": ("index", "bars_day", None),
    "CREATE OR REPLACE VIEW days AS SELECT day FROM bars WHERE symbol = 'A'": ("view", "days", "symbol = 'A'"),
    "CREATE MATERIALIZED VIEW other AS SELECT 1 AS n": ("materialized view", "other", "SELECT 1 AS n"),
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'": ("function with", "f()", ""),
}


class Host:
    """A host with a server, in a folder of its own."""

    def __init__(self, server: Server, root: Path) -> None:
        """Register the server, as Debian's pg_lsclusters has it."""
        self.server, self.root = server, root
        program = root / "pg_lsclusters"
        program.write_text(f"#!/bin/sh\necho '[{{\"port\": {server.port}}}]'\n")
        program.chmod(0o755)

    def execute(self, *statements: str) -> None:
        """Run statements as the superuser."""
        with contextlib.closing(self.server.connect("postgres")) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def psql(self, statements: str) -> None:
        """Run statements as a person does who pastes them."""
        server = [f"--host={self.server.home}", f"--port={self.server.port}", "--username=postgres", "postgres"]
        done = subprocess.run(
            ["psql", "-X", "--set=ON_ERROR_STOP=1", *server],
            input=statements,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, f"{statements}\n{done.stderr}"

    def state(self, command: str) -> Any:
        """Run the script; of `compare` what the filter makes of it, as in playbooks/check_drift.yml."""
        said = self.run(command)
        return host_state.host_differences(said)["differences"] if said else None

    def answer(self) -> Any:
        """What `compare` prints."""
        return self.run("compare")

    def run(self, command: str) -> Any:
        """Run the script."""
        environment = {
            **os.environ,
            "HOST_STATE_ROOT": str(self.root),
            "HOST_STATE_QUERY": (FILES / "host_state.sql").read_text(),
            "PATH": f"{self.root}:{os.environ['PATH']}",
            "PGHOST": str(self.server.home),
            "PGUSER": "postgres",
        }
        script = [sys.executable, FILES / "host_state.py", command]
        done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout else None


@pytest.fixture(scope="module")
def shared_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host that what is changed on is undone on."""
    with running(MAJORS[0], folder="mldriftundo") as server:
        made = Host(server, tmp_path_factory.mktemp("host"))
        made.execute(AS_A_RUN_LEAVES_IT)
        made.state("accept")
        yield made


@pytest.fixture(params=[MAJORS[0], *(pytest.param(major, marks=pytest.mark.faults) for major in MAJORS[1:])])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    """A host as a run has left it."""
    with running(request.param, folder="mldrift") as server:
        made = Host(server, tmp_path)
        made.execute(AS_A_RUN_LEAVES_IT)
        made.state("accept")
        yield made


def test_every_kind_of_change_by_hand_is_found_and_no_password_is_said(host: Host) -> None:
    assert host.state("compare") == []
    host.execute(*BY_HAND)
    with (host.server.data / "pg_hba.conf").open("a") as rules:
        rules.write("host all intruder 10.0.0.0/8 trust\n")
    host.execute("SELECT pg_reload_conf()", "SELECT pg_sleep(1)")
    found = host.state("compare")
    expected = {**BY_HAND, "a line by hand": ("login rule", "host all intruder 10.0.0.0 255.0.0.0 trust", "there")}
    missing = {
        statement: wanted for statement, wanted in expected.items() if not any(is_it(one, *wanted) for one in found)
    }
    assert missing == {}, found
    assert CANARY not in json.dumps(found)


def is_it(found: dict[str, Any], kind: str, name: str, value: str | None) -> bool:
    """Whether a difference is the one that is meant."""
    now = found["found"]
    same = now is None if value is None else value in (now or "")
    return found["kind"].startswith(kind) and name in found["name"] and same


# What has no statement that undoes it: a password is not kept, nor is the body of a function.
EACH_BY_HAND = [
    *BY_HAND,
    "ALTER TABLE bars DROP CONSTRAINT bars_pkey",
    "ALTER TABLE bars ADD CONSTRAINT bars_once UNIQUE (day)",
    "ALTER TABLE bars OWNER TO writer",
    "CREATE TABLE of_superuser (n int PRIMARY KEY)",
    "DROP MATERIALIZED VIEW summary",
    "REVOKE SELECT ON bars FROM reader",
    "GRANT SELECT ON bars TO writer WITH GRANT OPTION",
    "ALTER ROLE writer CREATEDB CONNECTION LIMIT 3 VALID UNTIL '2030-01-01'",
    "DROP VIEW days",
    "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC",
    "ALTER DATABASE postgres SET jit = off",
]


@pytest.mark.parametrize("statement", EACH_BY_HAND)
def test_what_is_advised_undoes_what_was_changed(shared_host: Host, statement: str) -> None:
    shared_host.execute(statement)
    if statement.startswith("ALTER SYSTEM"):
        shared_host.execute("SELECT pg_reload_conf()", "SELECT pg_sleep(0.5)")
    found = shared_host.state("compare")
    assert len(found) == 1
    for one in found:
        way = ways_out.way_out(one, ways_out.Where("mine", "db1"))
        assert way.database == "postgres", way
        shared_host.psql(way.undo)
    time.sleep(0.5)
    assert shared_host.state("compare") == []


def test_what_an_application_makes_for_itself_is_no_drift_and_what_is_done_to_it_later_is(host: Host) -> None:
    made = "CREATE SCHEMA own AUTHORIZATION writer; SET ROLE writer;"
    made += "CREATE TABLE own.orders (id serial PRIMARY KEY, at date);"
    made += "CREATE INDEX ON own.orders (at); CREATE VIEW own.of_today AS SELECT * FROM own.orders;"
    host.execute(f"{made} GRANT SELECT ON own.orders TO reader; RESET ROLE")
    assert host.state("compare") == []
    host.state("begin")
    host.state("record")
    host.state("accept")
    host.execute("CREATE INDEX by_hand ON own.orders (at, id)", "ALTER TABLE own.orders DROP CONSTRAINT orders_pkey")
    assert {one["name"] for one in host.state("compare")} == {
        "postgres: own.by_hand",
        "postgres: own.orders: orders_pkey",
    }


def test_a_table_that_is_gone_is_said_once(host: Host) -> None:
    host.execute("DROP TABLE bars CASCADE")
    found = host.state("compare")
    assert [one["kind"] for one in found if "bars" in one["name"]] == ["table"]


def test_what_wins_over_a_roles_setting_is_found_without_an_accepted_state_and_until_it_is_accepted(host: Host) -> None:
    folder = host.server.data / "conf.d"
    folder.mkdir()
    (folder / "10-role.conf").write_text("work_mem = '5MB'\n")
    (folder / "90-later.conf").write_text("maintenance_work_mem = '99MB'\n")
    with (host.server.data / "postgresql.conf").open("a") as file:
        file.write("maintenance_work_mem = '64MB'\ninclude_dir = 'conf.d'\n")
    host.execute("ALTER SYSTEM SET work_mem = '77MB'", "SELECT pg_reload_conf()", "SELECT pg_sleep(0.5)")
    answer = host.answer()
    by_role = {"written_by_roles": [str(folder / "10-role.conf"), str(host.server.data / "postgresql.conf")]}
    for accepted in (None, answer["found"]):
        found = host_state.host_differences({**answer, **by_role, "accepted": accepted})["differences"]
        assert [(one["kind"], one["name"]) for one in found] == [
            ("overridden setting", "maintenance_work_mem"),
            ("overridden setting", "work_mem"),
        ]
        assert "77MB by" in found[1]["found"]
    host.state("accept")
    found = host_state.host_differences({**host.answer(), **by_role})["differences"]
    assert found == []


def test_a_login_rule_of_a_role_that_is_gone_is_found_though_it_was_accepted(host: Host) -> None:
    host.execute("CREATE ROLE anna LOGIN")
    with (host.server.data / "pg_hba.conf").open("a") as rules:
        rules.write("host all anna 10.0.0.0/8 scram-sha-256\n")
    host.state("accept")
    assert host.state("compare") == []
    host.execute("DROP ROLE anna")
    kinds = {one["kind"]: one["name"] for one in host.state("compare")}
    assert kinds["login rule of a removed role"] == "anna"


def test_a_state_of_the_format_before_is_taken_over_by_the_next_run_and_is_no_drift_until_then(host: Host) -> None:
    path = host.root / "var/lib/mltrading-db/accepted_state.json"
    state = json.loads(path.read_text())
    old = {key: value for key, value in state.items() if not key.startswith(("table: ", "constraint: "))}
    del old["format"]
    path.write_text(json.dumps({**old, "index: postgres: bars_pkey": "CREATE UNIQUE INDEX bars_pkey"}))
    host.execute("CREATE ROLE intruder")
    assert [one["name"] for one in host.state("compare")] == ["intruder"]
    host.state("begin")
    host.state("record")
    assert [one["name"] for one in host.state("compare")] == ["intruder"]
    host.execute("CREATE INDEX mine ON bars (day)")
    assert "postgres: mine" in [one["name"] for one in host.state("compare")]


def test_a_setting_that_the_server_has_not_taken_up_is_found(host: Host) -> None:
    host.execute("ALTER SYSTEM SET shared_buffers = '333MB'", "ALTER SYSTEM SET work_mem = '77MB'")
    found = {one["name"]: one["found"] for one in host.state("compare")}
    assert found.keys() == {"shared_buffers", "work_mem"}
    assert "written: 77MB by postgresql.auto.conf" in found["work_mem"]


def test_a_run_begins_and_ends_beside_a_server_that_is_dead(host: Host) -> None:
    host.execute("CREATE ROLE intruder", "CHECKPOINT")
    host.server.kill()
    host.state("begin")
    host.server.start()
    host.state("record")
    assert [one["name"] for one in host.state("compare")] == ["intruder"]


def test_a_server_that_does_not_answer_fails_instead_of_having_no_drift(host: Host) -> None:
    host.server.stop()
    with pytest.raises(AssertionError, match="postgres does not answer"):
        host.state("compare")
