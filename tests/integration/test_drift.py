"""What is changed by hand on a server is found, each kind of it, on every major."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import MAJORS, Server, running

FILES = Path(__file__).parents[2] / "playbooks/files"
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

    def state(self, command: str) -> Any:
        """Run the script; of `compare` the answer."""
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
