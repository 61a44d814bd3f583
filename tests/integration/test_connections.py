"""Which connections are refused, and the module as Ansible runs it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from ansible.module_utils.pg_optimization.connection import connect
from ansible.modules import postgresql_optimization
from conftest import Database
from pooler import Pooler
from servers import MAJORS, Server

ROOT = Path(__file__).resolve().parents[2]
PGBOUNCER = ROOT / ".cache" / "pgbouncer"
INDEX = {"name": "x", "table": "t", "columns": ["a"]}
EXAMPLES = yaml.safe_load(postgresql_optimization.EXAMPLES)


@pytest.fixture
def table(db: Database) -> Database:
    db.execute("SET ROLE owner; CREATE TABLE t (a int, b int); RESET ROLE")
    return db


@contextlib.contextmanager
def pooled(db: Database, *, transactions: bool) -> Iterator[dict[str, Any]]:
    """Run a pooler before the server, and yield the parameters that go through it."""
    with tempfile.TemporaryDirectory(prefix="pgopt-pool-", dir="/tmp") as folder:
        target = db.server.home / f".s.PGSQL.{db.server.port}"
        pooler = Pooler(Path(folder), 6432, target, transactions=transactions)
        try:
            yield {"login_unix_socket": folder, "login_port": 6432}
        finally:
            pooler.close()


def test_a_pool_in_transaction_mode_is_refused(table: Database) -> None:
    with pooled(table, transactions=True) as through:
        done = table.optimise(indexes=[INDEX], **through)
    assert done.failed
    assert "a pooler in transaction mode" in done.msg
    assert table.value("SELECT to_regclass('x')") is None


def test_a_refusal_leaves_the_connections_of_the_pool_as_they_were(table: Database) -> None:
    table.execute(f"ALTER ROLE owner IN DATABASE {table.name} SET statement_timeout = '12s'")
    with pooled(table, transactions=True) as through:
        assert table.optimise(indexes=[INDEX], **through).failed
        where = {"host": through["login_unix_socket"], "port": through["login_port"]}
        connection = psycopg2.connect(dbname=table.name, user="owner", **where)
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("12s",)


def test_free_space_that_is_no_number_is_refused_with_the_documented_result(table: Database) -> None:
    done = table.optimise(indexes=[INDEX], free_space={"pg_default": "plenty"})
    assert done.failed
    assert done.msg == "free_space of tablespace pg_default is 'plenty' and not a number of bytes"
    assert set(yaml.safe_load(postgresql_optimization.RETURN)) <= {*done.result}


def test_a_pool_in_session_mode_serves(table: Database) -> None:
    with pooled(table, transactions=False) as through:
        assert table.settle(indexes=[INDEX], **through).changed


@contextlib.contextmanager
def pgbouncer(db: Database, mode: str) -> Iterator[dict[str, Any]]:
    """Run Debian's pgBouncer before the server, and yield the parameters that go through it."""
    (library,) = PGBOUNCER.glob("usr/lib/*-linux-*")
    with tempfile.TemporaryDirectory(prefix="pgopt-bouncer-", dir="/tmp") as name:
        folder = Path(name)
        # It refuses root as the server does, and reads its programs where its user can.
        shutil.copytree(PGBOUNCER / "usr", folder / "usr", symlinks=True)
        (folder / "users").write_text('"owner" ""\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={db.server.home} port={db.server.port}\n"
            f"[pgbouncer]\nlisten_addr =\nlisten_port = 6433\nunix_socket_dir = {folder}\nauth_type = trust\n"
            f"auth_file = {folder}/users\npool_mode = {mode}\nlogfile = {folder}/log\n"
        )
        user = db.server.user
        if user is not None:
            for path in (folder, *folder.iterdir()):
                os.chown(path, user.pw_uid, user.pw_gid)
        folder.chmod(0o755)
        who = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        command = [str(folder / "usr" / "sbin" / "pgbouncer"), "-q", str(folder / "pgbouncer.ini")]
        environment = {"LD_LIBRARY_PATH": str(folder / library.relative_to(PGBOUNCER))}
        with subprocess.Popen(command, env=environment, **who) as process:  # type: ignore[call-overload]
            try:
                end = time.monotonic() + 300
                while not (folder / ".s.PGSQL.6433").exists():
                    assert process.poll() is None, (folder / "log").read_text()
                    assert time.monotonic() < end
                    time.sleep(0.05)
                yield {"login_unix_socket": name, "login_port": 6433}
            finally:
                process.terminate()


def test_pgbouncer_in_transaction_mode_is_refused_and_in_session_mode_serves(table: Database) -> None:
    with pgbouncer(table, "transaction") as through:
        for _ in range(3):  # whether its servers are new or were used before
            done = table.optimise(indexes=[INDEX], **through)
            assert "a pooler in transaction mode" in done.msg
    assert table.value("SELECT to_regclass('x')") is None
    with pgbouncer(table, "session") as through:
        assert table.settle(indexes=[INDEX], **through).changed


def test_a_standby_is_refused(table: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible.module_utils.pg_optimization import connection  # noqa: PLC0415

    monkeypatch.setattr(connection, "_FACTS", connection._FACTS.replace("pg_catalog.pg_is_in_recovery()", "true"))
    done = table.optimise(indexes=[INDEX])
    assert done.failed
    assert "the server is a standby" in done.msg


def test_a_server_that_is_too_old_is_refused(table: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible.module_utils.pg_optimization import connection  # noqa: PLC0415

    monkeypatch.setattr(connection, "OLDEST", 990000)
    done = table.optimise(indexes=[INDEX])
    assert done.failed
    assert f"the server is PostgreSQL {table.server.major}: " in done.msg


def test_settings_of_the_role_do_not_reach_the_session(table: Database) -> None:
    # The session's first statement is what takes them away, and has time for that.
    for setting in ("statement_timeout = 100", "lock_timeout = 1", "default_transaction_read_only = on"):
        table.execute(f"ALTER ROLE owner IN DATABASE {table.name} SET {setting}")
    table.execute(f"ALTER ROLE owner IN DATABASE {table.name} SET search_path = nowhere")
    table.execute(f"ALTER ROLE owner IN DATABASE {table.name} SET TimeZone = 'Asia/Tokyo'")
    where = {"dbname": table.name, "user": "owner", "host": str(table.server.home), "port": table.server.port}
    session = connect(where)
    with contextlib.closing(session):
        names = ("statement_timeout", "lock_timeout", "default_transaction_read_only")
        found = {name: session.row(f"SHOW {name}")[name] for name in names}
    assert found == {"statement_timeout": "0", "lock_timeout": "0", "default_transaction_read_only": "off"}
    assert table.settle(indexes=[INDEX]).changed


@pytest.mark.parametrize("number", range(len(EXAMPLES)), ids=[task["name"] for task in EXAMPLES])
def test_an_example_of_the_documentation_runs(db15: Database, number: int) -> None:
    db15.execute(
        """
        SET ROLE owner;
        CREATE TABLE bars (symbol text, time timestamp, open float8, high float8, low float8, close float8, volume int);
        CREATE TABLE orders (reference text, status text, symbol text, notes tsvector);
        CREATE INDEX orders_old ON orders (status);
        RESET ROLE;
        """
    )
    elsewhere = ("login_", "session_role", "ssl_", "ca_")
    example = EXAMPLES[number]["postgresql_optimization"]
    declared = {key: value for key, value in example.items() if not key.startswith(elsewhere)}
    if isinstance(declared.get("indexes"), str):
        declared["indexes"] = [{"name": "x", "table": "bars", "columns": ["time"]}]
    assert db15.settle(**declared).changed


PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Optimise
      ansible.builtin.include_role:
        name: postgresql_optimization
      vars:
        postgresql_optimization_database: "{database}"
        postgresql_optimization_session_role: owner
        postgresql_optimization_port: {port}
        postgresql_optimization_socket_directory: "{socket}"
        postgresql_optimization_indexes:
          - {{name: x, table: t, columns: [a, {{name: b, order: desc}}], storage_parameters: {{fillfactor: 80}}}}
        postgresql_optimization_materialized_views:
          - name: v
            query_file: "{query}"
            indexes:
              - {{name: v_a, columns: [a], unique: true}}
            refresh: {{policy: concurrently}}
"""


@pytest.fixture
def play(servers: Callable[[int], Server], tmp_path: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """Run the role in a playbook, and return its last result."""
    server = servers(MAJORS[0])
    name = server.create_database()
    with contextlib.closing(server.connect(name)) as connection, connection.cursor() as cursor:
        cursor.execute("SET ROLE owner; CREATE TABLE t (a int, b int); INSERT INTO t VALUES (1, 2)")
    (tmp_path / "v.sql").write_text("-- One row an a\nSELECT a, count(*) AS n FROM t GROUP BY a;\n")
    playbook = tmp_path / "play.yml"

    def run(*options: str, database: str = name, socket: Path = server.home) -> dict[str, Any]:
        text = PLAYBOOK.format(database=database, port=server.port, socket=socket, query=tmp_path / "v.sql")
        playbook.write_text(text)
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-e", "ansible_become=false",
            "-e", f"ansible_python_interpreter={sys.executable}", str(playbook), *options,
        ]  # fmt: skip
        environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_CONFIG": "ansible.cfg"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        result = json.loads(done.stdout[done.stdout.index("{") :])
        tasks = {task["task"]["name"]: task["hosts"].get("localhost") for task in result["plays"][0]["tasks"]}
        return {"status": done.returncode, "stats": result["stats"]["localhost"], "tasks": tasks}

    yield run
    server.drop_database(name)


APPLY = "postgresql_optimization : apply | Create, replace and repair what differs"


@pytest.mark.faults
def test_the_role_does_what_its_check_said_and_then_nothing(play: Callable[..., dict[str, Any]]) -> None:
    check, done, again = play("--check", "--diff"), play(), play("--check", "--diff")
    assert [run["status"] for run in (check, done, again)] == [0, 0, 0]
    assert [run["stats"]["changed"] for run in (check, done, again)] == [1, 1, 0]
    said, did = check["tasks"][APPLY]["actions"], done["tasks"][APPLY]["actions"]
    assert [action["statements"] for action in said] == [action["statements"] for action in did]
    assert {action["state"] for action in did} == {"done"}
    assert "CREATE INDEX public.x ON public.t USING btree (a, b DESC)" in check["tasks"][APPLY]["diff"][0]["after"]


@pytest.mark.faults
@pytest.mark.parametrize("missing", ["database", "socket"])
def test_a_check_where_nothing_is_yet_says_so_and_succeeds(
    play: Callable[..., dict[str, Any]], tmp_path: Path, missing: str
) -> None:
    where: dict[str, Any] = {"database": "nothing"} if missing == "database" else {"socket": tmp_path}
    check, run = play("--check", **where), play(**where)
    assert (check["status"], check["stats"]["changed"]) == (0, 0)
    assert run["status"] == 2
