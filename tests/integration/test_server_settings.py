"""The catalogs of settings, and the rules for their values, are those of real servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server, running

from mltrading_db.cli import server_settings

QUERY = (Path(server_settings.__file__).parent / "server_settings.sql").read_text()
# Libraries that a build may lack, each a word of some setting.
OF_LIBRARIES = {"lz4", "zstd", "pglz", "fdatasync", "open_datasync"}

# Values that a server takes, and values that it refuses.
VALUES = [
    ("jit", "on", True),
    ("jit", "TRU", True),
    ("jit", "of", True),
    ("jit", "o", False),
    ("jit", "2", False),
    ("work_mem", "64MB", True),
    ("work_mem", "64 MB", True),
    ("work_mem", "1.5GB", True),
    ("work_mem", "65536", True),
    ("work_mem", "0x10000", True),
    ("work_mem", "1e5", True),
    ("work_mem", "64mb", False),
    ("work_mem", "64M", False),
    ("work_mem", "10", False),
    ("work_mem", "4min", False),
    ("work_mem", "4TB", False),
    ("shared_buffers", "128kB", True),
    ("shared_buffers", "100kB", False),
    ("max_wal_size", "4GB", True),
    ("statement_timeout", "1500us", True),
    ("statement_timeout", "1h", True),
    ("statement_timeout", "-1", False),
    ("statement_timeout", "1 hour", False),
    ("checkpoint_timeout", "10s", False),
    ("checkpoint_timeout", "2d", False),
    ("max_connections", "200", True),
    ("max_connections", "2.6", True),
    ("max_connections", "200MB", False),
    ("max_connections", "lots", False),
    ("random_page_cost", "1.1", True),
    ("random_page_cost", "-1", False),
    ("random_page_cost", "cheap", False),
    ("checkpoint_completion_target", "1.01", False),
    ("autovacuum_vacuum_cost_delay", "2ms", True),
    ("autovacuum_vacuum_cost_delay", "0.5", True),
    ("wal_level", "REPLICA", True),
    ("wal_level", "hot_standby", True),
    ("wal_level", "replca", False),
    ("synchronous_commit", "remote_apply", True),
    ("synchronous_commit", "yes", True),
    ("synchronous_commit", "perhaps", False),
    ("log_min_messages", "debug", True),
    ("log_statement", "on", False),
    ("block_size", "8192", False),
    ("Work_Mem", "64MB", True),
    ("shared_bufers", "1GB", False),
]


@pytest.fixture(scope="module", params=server_settings.MAJORS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each major that a host may have."""
    with running(request.param) as found:
        yield found


def test_a_catalog_is_what_the_server_says(server: Server) -> None:
    with server.connect("postgres") as connection, connection.cursor() as cursor:
        cursor.execute(QUERY)
        said = json.loads(cursor.fetchone()[0])
    kept = {setting["name"]: setting for setting in server_settings.catalog(server.major).values()}
    assert said.keys() == kept.keys()
    for name, setting in said.items():
        words = set(setting.pop("words", []))
        assert words <= set(kept[name].get("words", []))
        assert set(kept[name].get("words", [])) - words <= OF_LIBRARIES
        assert setting == {key: value for key, value in kept[name].items() if key not in ("name", "words")}


@pytest.mark.parametrize(("name", "value", "taken"), VALUES, ids=[f"{name}={value}" for name, value, _ in VALUES])
def test_a_value_is_judged_as_the_server_does(server: Server, name: str, value: str, taken: bool) -> None:
    done = server.run("postgres", "-D", str(server.data), "-C", name, "-c", f"{name}={value}", check=False)
    assert (done.returncode == 0) == taken, done.stdout
    assert (server_settings.problem(name, value) == "") == taken
