"""What the tests of backups share: the hosts, an oracle outside the database, restores and rebuilt hosts."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
import testinfra
from harness import CLONE, EPHEMERAL, PROJECT, SCRIPTS, play_environment
from testinfra.backend.base import CommandResult
from testinfra.host import Host


@pytest.fixture(scope="session")
def database() -> Host:
    """The host that runs PostgreSQL."""
    return testinfra.get_host("docker://bk-db1")


@pytest.fixture(scope="session")
def standby() -> Host:
    """The host whose server follows."""
    return testinfra.get_host("docker://bk-db2")


@pytest.fixture(scope="session")
def repository() -> Host:
    """The host that keeps the repository."""
    return testinfra.get_host("docker://bk-backup1")


class Query(Protocol):
    """Asks the server one statement and returns psql's answer, unaligned and without headings."""

    def __call__(self, statement: str, port: int = 5432) -> str:
        """The answer of the server on `port`."""
        ...


@pytest.fixture(scope="session")
def query(database: Host) -> Query:
    """Asks on the database host, as OS user postgres over the socket."""
    command = "runuser -u postgres -- psql --no-psqlrc --set=ON_ERROR_STOP=1 -AtXq -p %s -c %s"

    def ask(statement: str, port: int = 5432) -> str:
        return str(database.check_output(command, str(port), statement)).strip()

    return ask


@pytest.fixture(scope="session")
def play() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ansible-playbook as a person would, with this scenario's inventory."""

    def run(playbook: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        path = PROJECT / "playbooks" / playbook
        return subprocess.run(
            ["ansible-playbook", "-i", EPHEMERAL / "inventory", "-e", json.dumps(variables), path],
            env=play_environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    return run


PSQL = "runuser -u postgres -- psql --no-psqlrc --set=ON_ERROR_STOP=1 -AtXq"


def eventually(ask: Callable[[], str], expected: str) -> None:
    """Wait for an answer that is to come; at most a minute."""
    end = time.monotonic() + 60
    while (found := ask()) != expected:
        assert time.monotonic() < end, f"{found!r} is there, and not {expected!r}"
        time.sleep(0.5)


def check_follows(standby: Host, query: Query) -> None:
    """Whether the standby streams, and shows what is written now; raises AssertionError."""
    query("CREATE TABLE IF NOT EXISTS followed (at timestamptz)")
    written = query("INSERT INTO followed VALUES (clock_timestamp()) RETURNING at")
    eventually(lambda: str(standby.run(f"{PSQL} -c %s", "SELECT max(at) FROM followed").stdout.strip()), written)
    assert query("SELECT state FROM pg_stat_replication WHERE application_name = 'replica_bk_db2'") == "streaming"
    query("DROP TABLE followed")


@pytest.fixture(scope="session")
def restore(database: Host) -> Callable[..., CommandResult]:
    """Runs the program that the playbook runs: `plan` or `run`, with its settings."""

    def run(verb: str, **settings: Any) -> CommandResult:
        command = f"cd / && runuser -u postgres -- {SCRIPTS}/restore_backup {verb} %s"
        return database.run(command, json.dumps(settings))

    return run


@dataclass(frozen=True)
class Mark:
    """A moment that the oracle knows: its time, position, name and transaction, and the rows committed until then."""

    time: str
    lsn: str
    name: str
    xid: str
    rows: int


@pytest.fixture(scope="session")
def marks(query: Query) -> Iterator[list[Mark]]:
    """Batches of rows, and behind each a mark. The oracle is this list, outside the database."""
    query("DROP TABLE IF EXISTS oracle; CREATE TABLE oracle (id integer PRIMARY KEY)")
    found = []
    for number in range(1, 5):
        insert = f"INSERT INTO oracle SELECT generate_series({number * 1000 - 999}, {number * 1000})"
        xid = query(f"BEGIN; {insert}; SELECT pg_current_xact_id(); COMMIT")
        name = f"after batch {number} of {xid}"
        lsn = query(f"SELECT pg_create_restore_point('{name}')")
        found.append(Mark(query("SELECT clock_timestamp()"), lsn, name, xid, number * 1000))
        query("SELECT pg_sleep(0.2)")
    archive_all(query)
    yield found
    query("DROP TABLE oracle")


def archive_all(query: Query) -> str:
    """Have everything that was written archived; return the last segment."""
    query("SELECT pg_create_restore_point('the end')")
    segment = query("SELECT pg_walfile_name(pg_switch_wal())")
    while query("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver") < segment:
        time.sleep(0.2)
    return segment


@pytest.fixture
def clone(database: Host) -> Iterator[dict[str, Any]]:
    """The settings of a clone, which is gone afterwards."""
    yield {"directory": CLONE, "port": 5499}
    database.run(f"runuser -u postgres -- /usr/lib/postgresql/*/bin/pg_ctl stop -m immediate -D {CLONE}")
    database.check_output(f"rm -rf {CLONE} {CLONE}.restore")
