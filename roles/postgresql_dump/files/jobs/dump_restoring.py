"""A dump restored into an empty database: what the rows depend on first, and what may depend on the rows last.

pg_restore puts CHECK constraints before the rows and refreshes materialized views with an empty search_path. A function
that reads another table, or leaves the schema of what it reads to the search_path, fails so in a sound database. Such
constraints are set aside and added at the end, and views are refreshed last, both with the database's own settings.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg2
import psycopg2.extensions
from dump_files import FULL, Dump
from psycopg2 import sql

# The database's own settings hold, but for those that would stop the restore.
SESSION = " ".join(
    f"-c {setting}"
    for setting in (
        "statement_timeout=0", "lock_timeout=0", "idle_session_timeout=0", "default_transaction_read_only=off",
        "row_security=off",
    )
)  # fmt: skip
ROWS = """
SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND c.relispopulated AND NOT c.relispartition
AND n.nspname !~ '^(pg_|information_schema$)'
ORDER BY 1, 2
"""
PARTITIONS = """
SELECT n.nspname, c.relname FROM pg_partition_tree(format('%%I.%%I', %s::text, %s::text)::regclass) AS t
JOIN pg_class AS c ON c.oid = t.relid JOIN pg_namespace AS n ON n.oid = c.relnamespace
"""
# CHECK constraints that call what is not the server's own, and that nothing above them in an inheritance still gives.
CHECKS = """
SELECT k.contypid <> 0 AS of_domain, n.nspname AS schema, coalesce(c.relname, t.typname) AS name,
       k.conname AS constraint, pg_get_constraintdef(k.oid) AS definition,
       obj_description(k.oid, 'pg_constraint') AS comment,
       pg_get_userbyid(coalesce(c.relowner, t.typowner)) AS owner
FROM pg_constraint AS k
LEFT JOIN pg_class AS c ON c.oid = k.conrelid
LEFT JOIN pg_type AS t ON t.oid = k.contypid
JOIN pg_namespace AS n ON n.oid = coalesce(c.relnamespace, t.typnamespace)
WHERE k.contype = 'c' AND k.conislocal AND k.coninhcount = 0
AND EXISTS (
    SELECT FROM pg_depend AS d
    WHERE d.classid = 'pg_constraint'::regclass AND d.objid = k.oid AND d.refobjid >= 16384
    AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)
)
AND NOT EXISTS (
    SELECT FROM pg_depend AS d
    WHERE d.objid = coalesce(c.oid, t.oid) AND d.classid IN ('pg_class'::regclass, 'pg_type'::regclass)
    AND d.deptype = 'e'
)
ORDER BY k.oid
"""
VIEWS = """
SELECT n.nspname AS schema, c.relname AS name, pg_get_userbyid(c.relowner) AS owner
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind = 'm' AND NOT c.relispopulated
"""
# What a role has set as its search_path: in this database, or everywhere.
OWN_PATH = """
SELECT substr(option, length('search_path=') + 1)
FROM pg_db_role_setting AS s JOIN pg_roles AS r ON r.oid = s.setrole CROSS JOIN unnest(s.setconfig) AS option
WHERE r.rolname = %s AND option LIKE 'search\\_path=%%'
AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
ORDER BY s.setdatabase DESC
"""
# Settings whose value is a list of names, each quoted where it needs that, as pg_dump has it.
LISTS = {
    "local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries",
    "temp_tablespaces", "unix_socket_directories",
}  # fmt: skip
MEMBER = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",\s]+))\s*(?:,|$)')
LEFT_FOR_LATER = " MATERIALIZED VIEW DATA "
FOREIGN_KEY = " FK CONSTRAINT "
ATTACHED = " TABLE ATTACH "


class RestoreError(Exception):
    """The restore failed."""


def connect(database: str) -> Any:
    """Connect to a database; each statement is on its own."""
    connection = psycopg2.connect(
        dbname=database, application_name="restore_dump", options=SESSION, client_encoding="UTF8"
    )
    connection.autocommit = True
    return connection


def rows_of(cursor: Any, query: str, values: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    """Return the rows of a query by their columns' names."""
    cursor.execute(query, values)
    return [dict(zip((column.name for column in cursor.description), row, strict=True)) for row in cursor.fetchall()]


def run(*command: str) -> bytes:
    """Run one of PostgreSQL's programs, and end it where this one is ended; return what it printed.

    Raises:
        RestoreError: it did not exit 0.
    """
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise RestoreError(f"{command[0]} failed: {' '.join(done.stderr.decode(errors='replace').split())[-1000:]}")
    return done.stdout


@dataclass(frozen=True)
class Contents:
    """The lines of a dump's list of contents, which are in the encoding of its database."""

    lines: list[str]
    codec: str

    @classmethod
    def of(cls, dump: Dump, manifest: dict[str, Any]) -> Contents:
        """Read them."""
        codec = psycopg2.extensions.encodings[manifest["database"]["encoding"]]
        listed = run("pg_restore", "--list", str(dump.path / FULL)).decode(codec, "surrogateescape")
        return cls([line for line in listed.split("\n") if not line.startswith(";")], codec)

    def restore(self, dump: Dump, database: str, section: str, left_out: Callable[[str], bool]) -> None:
        """Restore a section, but for some entries."""
        kept = "\n".join(line for line in self.lines if not left_out(line)) + "\n"
        with tempfile.NamedTemporaryFile(suffix=".list") as file:
            file.write(kept.encode(self.codec, "surrogateescape"))
            file.flush()
            options = ["--no-password", "--exit-on-error", f"--section={section}", f"--use-list={file.name}"]
            run("pg_restore", *options, f"--dbname={database}", str(dump.path / FULL))


def schema_and_name(table: str) -> tuple[str, str]:
    """Return the parts of [schema.]name."""
    schema, _, name = table.rpartition(".")
    return schema or "public", name


def restore_into(dump: Dump, database: str, manifest: dict[str, Any], table: str) -> list[str]:
    """Restore a dump, or its structure and the rows of one table; return where the database is not as it was.

    Raises:
        RestoreError, psycopg2.Error: it failed.
    """
    listed = Contents.of(dump, manifest)
    # A partition's constraints are looked at when it is attached.
    listed.restore(dump, database, "pre-data", lambda line: ATTACHED in line)
    with closing(connect(database)) as connection, connection.cursor() as cursor:
        checks = set_checks_aside(cursor)
    listed.restore(dump, database, "pre-data", lambda line: ATTACHED not in line)
    with closing(connect(database)) as connection, connection.cursor() as cursor:
        wanted = {" "}
        if table:
            schema, name = schema_and_name(table)
            cursor.execute(PARTITIONS, (schema, name))
            wanted = {f" TABLE DATA {part} {relation} " for part, relation in [(schema, name), *cursor.fetchall()]}
    listed.restore(dump, database, "data", lambda line: not any(entry in line for entry in wanted))
    later = {LEFT_FOR_LATER, FOREIGN_KEY} if table else {LEFT_FOR_LATER}
    listed.restore(dump, database, "post-data", lambda line: any(kind in line for kind in later))
    with closing(connect("postgres")) as connection, connection.cursor() as cursor:
        differs = apply_settings(cursor, database, manifest["database"])
    # A connection that has these settings.
    with closing(connect(database)) as connection, connection.cursor() as cursor:
        differs += add_checks(cursor, checks)
        differs += [] if table else refresh(cursor, listed.lines)
    return differs + [
        f"{name} is empty: it is unlogged, and was dumped on a standby" for name in manifest.get("empty", [])
    ]


def set_checks_aside(cursor: Any) -> list[dict[str, Any]]:
    """Drop the CHECK constraints that are to be added when the rows are there; return them, the lowest tables first."""
    found: list[dict[str, Any]] = []
    cursor.execute("SET search_path = pg_catalog")
    # What a dropped one leaves of its own in an inheriting table comes up the next time.
    while checks := rows_of(cursor, CHECKS):
        for check in checks:
            cursor.execute(sql.SQL("{} DROP CONSTRAINT {}").format(altered(check), sql.Identifier(check["constraint"])))
        found = checks[::-1] + found
    return found


def altered(check: dict[str, Any]) -> sql.Composed:
    """Return how a statement begins that changes what a constraint belongs to."""
    kind = "ALTER DOMAIN {}" if check["of_domain"] else "ALTER TABLE {}"
    return sql.SQL(kind).format(sql.Identifier(check["schema"], check["name"]))


def add_checks(cursor: Any, checks: list[dict[str, Any]]) -> list[str]:
    """Add the constraints, NOT VALID where the rows do not meet one; return a line for each of these."""
    differs = []
    for check in checks:
        name = sql.Identifier(check["constraint"])
        statement = sql.SQL("{} ADD CONSTRAINT {} {}").format(altered(check), name, sql.SQL(check["definition"]))
        try:
            by_own_path(cursor, statement, check["owner"])
        except psycopg2.Error as error:
            cursor.execute(statement + sql.SQL(" NOT VALID"))
            differs.append(
                f"constraint {check['constraint']} of {check['schema']}.{check['name']} is NOT VALID: {said(error)}"
            )
        if check["comment"]:
            of_what = sql.SQL("DOMAIN " if check["of_domain"] else "")
            of_what += sql.Identifier(check["schema"], check["name"])
            comment = sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}")
            cursor.execute(comment.format(name, of_what, sql.Literal(check["comment"])))
    return differs


def refresh(cursor: Any, lines: list[str]) -> list[str]:
    """Fill the materialized views that were filled, in the dump's order; return a line for each that stays empty."""
    differs = []
    order = [f"{line} " for line in lines if LEFT_FOR_LATER in line]
    views = rows_of(cursor, VIEWS)
    for entry in order:
        for view in views:
            if f"{LEFT_FOR_LATER}{view['schema']} {view['name']} " not in entry:
                continue
            name = sql.Identifier(view["schema"], view["name"])
            try:
                by_own_path(cursor, sql.SQL("REFRESH MATERIALIZED VIEW {}").format(name), view["owner"])
            except psycopg2.Error as error:
                differs.append(f"materialized view {view['schema']}.{view['name']} is empty: {said(error)}")
    return differs


def by_own_path(cursor: Any, statement: sql.Composable, owner: str) -> None:
    """Run a statement with the database's search_path, and where that fails with the owner's own.

    Raises:
        psycopg2.Error: it failed with the database's, and the owner has no other or it failed with that, too.
    """
    try:
        cursor.execute(statement)
    except psycopg2.Error:
        cursor.execute(OWN_PATH, (owner,))
        path = cursor.fetchone()
        if not path:
            raise
        cursor.execute("SELECT set_config('search_path', %s, false)", path)
        try:
            cursor.execute(statement)
        finally:
            cursor.execute("RESET search_path")


def said(error: psycopg2.Error) -> str:
    """Return the server's own words, on one line."""
    return " ".join((error.diag.message_primary or str(error)).split())


def apply_settings(cursor: Any, database: str, like: dict[str, Any]) -> list[str]:
    """Give the database the settings of the one that was dumped; return a line for each that it could not be given."""
    differs = []
    for setting in like.get("settings", []):
        role, (name, _, value) = setting["role"], setting["setting"].partition("=")
        whose = "ALTER DATABASE {database}" if role is None else "ALTER ROLE {role} IN DATABASE {database}"
        statement = sql.SQL(whose + " SET {name} TO {value}").format(
            database=sql.Identifier(database), role=sql.Identifier(role or ""),
            name=sql.Identifier(*name.split(".")), value=setting_value(name, value),
        )  # fmt: skip
        try:
            cursor.execute(statement)
        except psycopg2.Error as error:
            of_whom = f" of role {role}" if role else ""
            differs.append(f"setting {name}{of_whom} was not taken over: {said(error)}")
    return differs


def setting_value(name: str, value: str) -> sql.Composable:
    """Return a setting's value as SET takes it."""
    members = [quoted.replace('""', '"') or plain for quoted, plain in MEMBER.findall(value)]
    return sql.SQL(", ").join(map(sql.Literal, members if name in LISTS and members else [value]))


def count_rows(database: str) -> dict[str, int]:
    """Gather the planner's statistics, which no dump holds, and count the rows of every table."""
    with closing(connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        cursor.execute(ROWS)
        tables = cursor.fetchall()
        counted = {}
        for table in tables:
            cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*table)))
            counted[".".join(table)] = cursor.fetchone()[0]
        return counted
