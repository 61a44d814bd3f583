"""The server that answers the checks."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extras
from health_checks import Check, Result, row

QUERIES = Path(__file__).resolve().parent / "sql" / "health"
# The guards of every query: it reads, and takes neither long nor a lock that somebody waits behind.
GUARDS = "SET LOCAL statement_timeout = %s; SET LOCAL lock_timeout = '500ms'; SET LOCAL TimeZone = 'UTC'"
# How a server fails to answer.
NO_ANSWER = (psycopg2.Error, ConnectionError)
# Bytes that are no text in the encoding that is asked for: a database in SQL_ASCII takes any.
NO_TEXT = (psycopg2.errors.CharacterNotInRepertoire, psycopg2.errors.UntranslatableCharacter)


def plain(value: Any) -> Any:
    """A value of the server as JSON has it."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value.isoformat() if isinstance(value, date | datetime) else value


class Server:
    """The server of this host: a connection for each database, made when it is needed."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Connect to nothing yet."""
        self.settings = settings
        self.connections: dict[str, Any] = {}
        self.refused = ""
        self.known_extensions: set[str] | None = None

    def connection(self, database: str) -> Any:
        """The connection to a database. A server that refused once is not asked again."""
        if self.refused:
            raise ConnectionError(self.refused)
        if database not in self.connections:
            try:
                connection = psycopg2.connect(
                    host=self.settings["host"], port=self.settings["port"], user=self.settings["user"],
                    dbname=database, connect_timeout=5, application_name="health", client_encoding="UTF8",
                )  # fmt: skip
            except psycopg2.OperationalError as error:
                if database == "postgres":
                    self.refused = f"the server does not answer: {str(error).strip()}"
                raise
            connection.set_session(readonly=True)
            self.connections[database] = connection
        return self.connections[database]

    def ask(self, query: str, database: str = "postgres", role: str = "", timeout: str = "") -> list[dict[str, Any]]:
        """The rows of a query, asked read only as a role that may do no more than it needs.

        Where names or statements are no text in UTF-8, a second attempt takes the names of a database in SQL_ASCII byte
        by byte, and has the query leave texts of statements out (health.statement_text).
        """
        asked = (query, role or self.settings["role"], timeout or self.settings["timeout"])
        connection = self.connection(database)
        try:
            return self._ask(connection, *asked)
        except NO_TEXT:
            if connection.get_parameter_status("server_encoding") == "SQL_ASCII":
                connection.set_client_encoding("LATIN1")
            return self._ask(connection, *asked, statement_text="off")

    def _ask(
        self, connection: Any, query: str, role: str, timeout: str, statement_text: str = "on"
    ) -> list[dict[str, Any]]:
        try:
            with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
                cursor.execute(GUARDS, [timeout])
                cursor.execute("SELECT set_config('role', %s, true)", [role])
                cursor.execute(
                    "SELECT set_config('health.standbys', %s, true), set_config('health.statement_text', %s, true)",
                    [",".join(self.settings["standbys"]), statement_text],
                )
                cursor.execute(query)
                return [{name: plain(value) for name, value in one.items()} for one in cursor.fetchall()]
        finally:
            if not connection.closed:
                connection.rollback()

    def databases(self) -> list[str]:
        """The databases that hold somebody's tables. One that a DROP DATABASE left half-done (-2) lets nobody in."""
        query = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate AND datname <> 'postgres'"
        query += " AND datconnlimit <> -2"
        return [one["datname"] for one in self.ask(f"{query} ORDER BY 1")]

    def extensions(self) -> set[str]:
        """The extensions of the database `postgres`, where those of the whole cluster are."""
        if self.known_extensions is None:
            self.known_extensions = {one["extname"] for one in self.ask("SELECT extname FROM pg_extension")}
        return self.known_extensions

    def rows(self, check: Check) -> list[dict[str, Any]]:
        """The rows of a check's query; of one that is asked in each database, the item carries its name."""
        query = (QUERIES / (check.query or f"{check.name}.sql")).read_text(encoding="utf-8")
        if check.scope == "cluster":
            return self.ask(query, check.database or "postgres", check.role)
        found = []
        for database in self.databases():
            try:
                rows = self.ask(query, database, check.role)
            except psycopg2.Error as error:
                # What the other databases say is not lost with it.
                if not check.has_levels:
                    raise
                rows = [row(database, None, str(error).strip().splitlines()[0]) | {"state": "unknown"}]
            for one in rows:
                item = one.get("item")
                named = {"item": database if item == database else f"{database} {item}"} if item else {}
                found.append({"database": database} | one | named)
        return found

    def about(self) -> dict[str, Any]:
        """The version and role of the server, empty where it does not answer or this host has none."""
        if not self.settings["server"]:
            return {"version": "", "role": "no server"}
        query = "SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby"
        try:
            # As who connects: whether the server answers does not depend on the role of the checks.
            found = self.ask(query, role="none")[0]
        except NO_ANSWER as error:
            self.refused = self.refused or str(error).strip()
            return {"version": "", "role": "unknown"}
        return {"version": found["version"].split()[0], "role": "standby" if found["standby"] else "primary"}

    def answer(self) -> Result:
        """Whether the server answers at all: what other checks cannot tell from their own failure."""
        check = Check(
            "server", "The server answers", warning=0, critical=0,
            do="See systemctl status 'postgresql@*' and the end of the server's log; restart it after reading both.",
        )  # fmt: skip
        if self.refused:
            return Result(check, "critical", self.refused.splitlines()[0], 1)
        return Result(check, "ok", "it does", 0)

    def close(self) -> None:
        """End the connections."""
        for connection in self.connections.values():
            connection.close()
