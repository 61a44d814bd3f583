"""A database of every supported major for each test, and the module run in it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.pg_optimization.errors import OptimizationError
from ansible.module_utils.pg_optimization.run import Report, run
from ansible.modules import postgresql_optimization
from servers import MAJORS, Server, running


@dataclass
class Outcome:
    """What the module returned; `failed` and `msg` as Ansible has them."""

    failed: bool
    msg: str
    result: dict[str, Any]

    @property
    def changed(self) -> bool:
        """Tell whether something was, or would be, changed."""
        return bool(self.result["changed"])

    @property
    def actions(self) -> list[dict[str, Any]]:
        """Return the actions."""
        return list(self.result["actions"])

    @property
    def said(self) -> list[tuple[str, str]]:
        """Return (name, action) of each action."""
        return [(action["name"], action["action"]) for action in self.actions]

    @property
    def plan(self) -> list[dict[str, Any]]:
        """Return the actions without what only a run knows."""
        return [{key: value for key, value in a.items() if key not in {"state", "seconds"}} for a in self.actions]

    @property
    def statements(self) -> list[str]:
        """Return all statements."""
        return [statement for action in self.actions for statement in action["statements"]]


@dataclass
class Database:
    """A database of one test."""

    server: Server
    name: str
    connection: Any

    def execute(self, query: str, values: tuple[Any, ...] | None = None) -> None:
        """Run statements as the superuser."""
        with self.connection.cursor() as cursor:
            cursor.execute(query, values)

    def rows(self, query: str, values: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self.connection.cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())

    def value(self, query: str, values: tuple[Any, ...] | None = None) -> Any:
        """Return the one value of a query."""
        return self.rows(query, values)[0][0]

    def connect(self, user: str = "postgres", **more: Any) -> Any:
        """Open another connection."""
        return self.server.connect(self.name, user, **more)

    def params(self, **declared: Any) -> dict[str, Any]:
        """Return the module's parameters for this database, as the owner, with short patience."""
        raw = {
            "login_db": self.name,
            "login_user": "owner",
            "login_unix_socket": str(self.server.home),
            "login_port": self.server.port,
            "run_wait": 20.0,
            "lock_budget": 5.0,
            **declared,
        }
        validated = ArgumentSpecValidator(postgresql_optimization.argument_spec()).validate(raw)
        assert not validated.error_messages, validated.error_messages
        return dict(validated.validated_parameters)

    def optimise(self, *, check: bool = False, **declared: Any) -> Outcome:
        """Run the module's work in this process."""
        report = Report()
        try:
            run(postgresql_optimization.request(self.params(**declared), check=check), report)
        except OptimizationError as error:
            return Outcome(True, error.message, report.result(error))
        return Outcome(False, "", report.result())

    def settle(self, **declared: Any) -> Outcome:
        """Run the module; it must succeed, do what check mode said, and find nothing the second time."""
        check = self.optimise(check=True, **declared)
        assert not check.failed, check.msg
        done = self.optimise(**declared)
        assert not done.failed, done.msg
        assert done.plan == check.plan
        again = self.optimise(**declared)
        assert not again.failed, again.msg
        assert not again.changed, again.actions
        return done

    def definition(self, index: str) -> str:
        """Return an index's definition."""
        return str(self.value("SELECT pg_get_indexdef(%s::regclass)", (index,)))

    def snapshot(self) -> list[tuple[Any, ...]]:
        """Return everything about the schema that a run could change."""
        return self.rows(SNAPSHOT)


SNAPSHOT = """
SELECT 'relation', n.nspname, c.relname, c.oid::text, c.relkind::text, c.relfilenode::text, c.reloptions::text,
       obj_description(c.oid, 'pg_class'), c.relacl::text, pg_get_userbyid(c.relowner)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^(pg_|information_schema)'
UNION ALL
SELECT 'index', i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), i.indisvalid::text, i.indisready::text,
       i.indisclustered::text, i.indisreplident::text, '', '', ''
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^(pg_|information_schema)'
UNION ALL
SELECT 'view', c.oid::regclass::text, pg_get_viewdef(c.oid), c.relispopulated::text, '', '', '', '', '', ''
FROM pg_class c WHERE c.relkind IN ('v', 'm') AND c.relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
UNION ALL
SELECT 'statistics', s.stxname, pg_get_statisticsobjdef(s.oid), s.stxstattarget::text, '', '', '', '', '', ''
FROM pg_statistic_ext s
UNION ALL
SELECT 'column', a.attrelid::regclass::text, a.attname, a.attstattarget::text, '', '', '', '', '', ''
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace::regnamespace::text !~ '^(pg_|information_schema)' AND a.attnum > 0
UNION ALL
SELECT 'constraint', c.conrelid::regclass::text, c.conname, pg_get_constraintdef(c.oid), '', '', '', '', '', ''
FROM pg_constraint c
ORDER BY 1, 2, 3, 4
"""


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[int], Server]]:
    """Start the server of a major when the first test needs it; all end with the session."""
    with contextlib.ExitStack() as stack:
        started: dict[int, Server] = {}

        def get(major: int) -> Server:
            if major not in started:
                started[major] = stack.enter_context(running(major))
            return started[major]

        yield get


# The quick part runs on the oldest major, `make test` on all.
_MAJORS = [
    pytest.param(major, id=f"pg{major}", marks=[] if major == MAJORS[0] else pytest.mark.faults) for major in MAJORS
]


@pytest.fixture(scope="session", params=_MAJORS)
def server(request: pytest.FixtureRequest, servers: Callable[[int], Server]) -> Server:
    """Return the server of each major in turn."""
    return servers(request.param)


def _open(server: Server) -> Iterator[Database]:
    name = server.create_database()
    with contextlib.closing(server.connect(name)) as connection:
        yield Database(server, name, connection)
    server.drop_database(name)


@pytest.fixture
def db(server: Server) -> Iterator[Database]:
    """Return a fresh database of each major."""
    yield from _open(server)


@pytest.fixture
def db15(servers: Callable[[int], Server]) -> Iterator[Database]:
    """Return a fresh database of the oldest major, for what does not depend on the version."""
    yield from _open(servers(MAJORS[0]))


@pytest.fixture(scope="module")
def shared(server: Server) -> Iterator[Database]:
    """Return a database that the tests of one file share."""
    yield from _open(server)
