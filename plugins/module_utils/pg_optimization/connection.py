"""The only importer of psycopg2: one connection to one database, and what it must be before it is used.

The connection is in autocommit mode and every transaction is opened explicitly: CONCURRENTLY cannot run inside one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

try:
    import psycopg2
    from psycopg2 import sql
    from psycopg2.sql import Composable, Composed

    MISSING: ImportError | None = None
except ImportError as error:  # reported by the module: the controller needs no psycopg2
    MISSING = error

from .encoding import RAW, Encoding
from .errors import CONNECTION_FAILURE, RefusedError, ServerError, server_error

# The other files compose statements with these, and import no driver.
__all__ = ["Composable", "Composed", "sql"]

Row = dict[str, Any]

APPLICATION = "postgresql_optimization"
OLDEST = 150000

SETTINGS: dict[str, str] = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",  # the order of day and month stays as it is: it says how a declaration is read
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    "default_tablespace": "",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "row_security": "on",
    # The queries that observe look costly to the planner, and compiling them took ten times as long as running them.
    "jit": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    # A client that dies is noticed in the middle of a build, so that the next run can have the lock.
    "client_connection_check_interval": "2s",
    "client_min_messages": "notice",
}

# How values are read and written. What is declared means what it means in psql: with the settings that the server, the
# database or the role have of their own. What is there is read back with those above, so that texts can be compared.
_FORMATS = ("TimeZone", "DateStyle", "IntervalStyle", "bytea_output", "extra_float_digits")
_UTC = {"utc", "etc/utc", "gmt", "etc/gmt", "uct", "etc/uct", "universal", "etc/universal", "zulu", "etc/zulu"}


@dataclass(frozen=True)
class Server:
    """What the connection found behind it."""

    version: str
    number: int
    database: str
    login: str
    role: str
    pid: int
    data_directory: str | None
    deadlock_timeout: float
    encoding: Encoding = field(default_factory=Encoding)


class Session:
    """One connection. `queries` counts the round trips it made, `own` are formats in which others differ from it."""

    def __init__(self, connection: Any, parameters: Mapping[str, Any]) -> None:
        """Take over an open connection; `parameters` open another like it."""
        connection.autocommit = True
        self.connection = connection
        self.parameters = parameters
        self.queries = 0
        self.own: Mapping[str, str] = {}
        self.reworded: Callable[[str], str] | None = None  # what statements without rows are said in, while it is set
        self.server: Server

    def _cursor(self, query: Any, values: Sequence[Any] | None) -> Any:
        self.queries += 1
        cursor = self.connection.cursor()
        try:
            cursor.execute(self._sent(query), values)
        except psycopg2.Error as error:
            failure = server_error(error, self.render(query))
            if failure.sqlstate is None and self.connection.closed:
                failure = ServerError(failure.message, CONNECTION_FAILURE, failure.statement)
            raise failure from error
        return cursor

    def rows(self, query: Any, values: Sequence[Any] | None = None) -> list[Row]:
        """Run a query and return its rows as mappings."""
        with self._cursor(query, values) as cursor:
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def row(self, query: Any, values: Sequence[Any] | None = None) -> Row:
        """Run a query that has one row."""
        return self.rows(query, values)[0]

    def execute(self, query: Any) -> None:
        """Run a statement."""
        self._cursor(self.reworded(self.render(query)) if self.reworded else query, None).close()

    def _sent(self, query: Any) -> Any:
        """Return a statement for the connection: the driver takes identifiers for UTF-8, whatever it speaks."""
        if isinstance(query, str) or self.connection.encoding != "LATIN1":
            return query
        if isinstance(query, sql.Identifier):
            return sql.SQL(".".join('"' + part.replace('"', '""') + '"' for part in query.strings))
        return Composed([self._sent(part) for part in query.seq]) if isinstance(query, Composed) else query

    def render(self, query: Any) -> str:
        """Return a statement as the text that the server gets."""
        if isinstance(query, str):
            return query
        try:
            return str(self._sent(query).as_string(self.connection))
        except psycopg2.Error:
            return repr(query)

    @contextmanager
    def transaction(self, first: str = "") -> Iterator[None]:
        """Run a block in one transaction, rolled back where it raises; `first` goes with its beginning."""
        self.execute(f"BEGIN; {first}" if first else "BEGIN")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if not self.connection.closed:
                self.execute("ROLLBACK")
            raise

    @contextmanager
    def rolled_back(self) -> Iterator[None]:
        """Run a block in a transaction of which nothing stays."""
        self.execute("BEGIN")
        try:
            yield
        finally:
            if not self.connection.closed:
                self.execute("ROLLBACK")

    def settings(self, values: Mapping[str, str], *, local: bool = False) -> None:
        """Set parameters for the session or, inside a transaction, for that transaction."""
        calls = ", ".join(["pg_catalog.set_config(%s, %s, %s)"] * len(values))
        flat = [item for name, value in values.items() for item in (name, value, local)]
        self.rows(f"SELECT {calls}", flat)

    @contextmanager
    def own_formats(self, *, local: bool = True) -> Iterator[None]:
        """Run a block that reads values of a declaration, or writes some, as any other session would."""
        if self.own:
            self.settings(self.own, local=local)
        yield
        if self.own:
            self.settings({name: SETTINGS[name] for name in self.own}, local=local)

    def another(self) -> Session:
        """Open a second connection like this one, for watching."""
        return _open(self.parameters)

    def close(self) -> None:
        """End the session."""
        self.connection.close()


def _open(parameters: Mapping[str, Any]) -> Session:
    try:
        connection = psycopg2.connect(**parameters)
        if connection.get_parameter_status("server_encoding") == RAW:
            connection.set_client_encoding("LATIN1")
        return Session(connection, parameters)
    except psycopg2.Error as error:
        raise server_error(error, None) from error


_FACTS = """
SELECT pg_catalog.version() AS version, pg_catalog.pg_backend_pid() AS pid, pg_catalog.pg_is_in_recovery() AS standby,
       pg_catalog.current_database() AS database, session_user AS login, current_user AS role,
       CASE WHEN pg_catalog.pg_has_role(session_user, 'pg_read_all_settings', 'USAGE')
            THEN pg_catalog.current_setting('data_directory', true) END AS data_directory,
       extract(epoch FROM pg_catalog.current_setting('deadlock_timeout')::interval)::float8 AS deadlock_timeout,
       (SELECT pg_catalog.json_object_agg(f, pg_catalog.current_setting(f))
        FROM pg_catalog.unnest(%s::text[]) f) AS formats
"""


def _own(formats: Mapping[str, str], given: Iterable[str]) -> dict[str, str]:
    """Return the formats of a fresh session that differ from those in which texts are read and are not given."""
    said = {name.lower() for name in given}
    differing = {name: value for name, value in formats.items() if name.lower() not in said and value != SETTINGS[name]}
    if differing.get("TimeZone", "").lower() in _UTC:
        del differing["TimeZone"]
    if differing.get("DateStyle", "").startswith("ISO"):
        del differing["DateStyle"]
    return differing


def _refuse_transaction_pooling(session: Session, pid: int) -> None:
    """Refuse a pooler that gives each transaction another server.

    A pooler is recognised by the process number of its own that it greets with. In transaction mode a second client
    then gets the server of this one while this one is between transactions, or this one changes servers.
    """
    if session.connection.info.backend_pid == pid:
        return
    other = session.another()
    try:
        for _ in range(5):
            # A pool hands out the server that was used last, which is the one of this session's last query, or the
            # one that was not used for longest, which is another for each of this session's queries.
            ours = session.row("SELECT pg_catalog.pg_backend_pid() AS pid")["pid"]
            other.execute("BEGIN")
            theirs = other.row("SELECT pg_catalog.pg_backend_pid() AS pid")["pid"]
            other.execute("ROLLBACK")
            if theirs == pid or ours != pid:
                raise RefusedError(
                    "this connection goes through a pooler in transaction mode: connect to the server itself, or to a "
                    "pool in session mode"
                )
    finally:
        other.close()


def connect(
    parameters: Mapping[str, Any],
    *,
    session_role: str | None = None,
    search_path: Sequence[str] = ("public",),
    session_settings: Mapping[str, str] | None = None,
) -> Session:
    """Open the connection of a run, refuse what it must not be, and fix its settings.

    Args:
        parameters: of psycopg2.connect.
        session_role: the role to become, which owns what is created.
        search_path: where unqualified names in the declaration's SQL are looked up, after pg_catalog.
        session_settings: further settings of the session, such as maintenance_work_mem.

    Raises:
        ServerError: the server answered with an error, or not at all.
        RefusedError: too old, a standby, or a transaction pooler.
    """
    session = _open({"connect_timeout": 10, "application_name": APPLICATION, "client_encoding": "utf8", **parameters})
    try:
        number = session.connection.server_version
        if number < OLDEST:
            raise RefusedError(f"the server is PostgreSQL {number // 10000}: 15 is the oldest that is supported")
        # A role may have a timeout that would cut the next statement off. What stays set would stay in a pool.
        with session.transaction("SET LOCAL statement_timeout = 0"):
            facts = session.row(_FACTS, (list(_FORMATS),))
        if facts["standby"]:
            raise RefusedError("the server is a standby: connect to the primary")
        _refuse_transaction_pooling(session, facts["pid"])
        encoding = Encoding(session.connection.get_parameter_status("server_encoding") or "UTF8")
        search_path, session_settings = (
            encoding.inward(list(search_path)),
            encoding.inward(dict(session_settings or {})),
        )
        session_role = encoding.inward(session_role)
        path = ", ".join(f'"{name}"' for name in (item.replace('"', '""') for item in search_path))
        settings = {**SETTINGS, "search_path": f"{path}, pg_temp" if path else "pg_temp", **session_settings}
        if number >= 170000:  # noqa: PLR2004 - the release that brought it
            settings["transaction_timeout"] = "0"
        with session.transaction("SET LOCAL statement_timeout = 0"):
            session.settings(settings)
        session.own = _own(facts["formats"], session_settings)
        if session_role:
            session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(session_role)))
        session.server = Server(
            version=facts["version"].split(" on ")[0].removeprefix("PostgreSQL "),
            number=number,
            database=facts["database"],
            login=facts["login"],
            role=session_role or facts["role"],
            pid=facts["pid"],
            data_directory=facts["data_directory"],
            deadlock_timeout=facts["deadlock_timeout"],
            encoding=encoding,
        )
    except BaseException:
        session.close()
        raise
    return session
