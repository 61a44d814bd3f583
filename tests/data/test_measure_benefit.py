"""The measurement takes the declaration away and leaves it where it was, and measures sample data alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from trading_database import DEFAULTS, SQL, Database

REQUEST = {
    "declared": [index["name"] for index in DEFAULTS["mltrading_index_sets"]["guide"]],
    "catalogue": yaml.safe_load((SQL / "queries" / "catalogue.yml").read_text()),
    "sql": {path.stem: path.read_text() for path in (SQL / "queries").glob("*.sql")},
}
DEFINITIONS = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
INDEXES = "SELECT indexrelid::regclass::text, indisvalid FROM pg_index ORDER BY 1"


def measure(database: Database, request: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run the script as the role does."""
    command = database.script("measure_benefit.py")
    return subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def before(trading: Database) -> list[tuple[Any, ...]]:
    return trading.rows(INDEXES)


@pytest.fixture(scope="module")
def result(trading: Database, before: list[tuple[Any, ...]]) -> dict[str, Any]:
    assert before
    done = measure(trading, REQUEST)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def states(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {query["name"]: query["states"] for query in result["queries"]}


def test_indexes_cost_wal_and_builds_take_time(result: dict[str, Any]) -> None:
    costs = result["costs"]
    assert costs["primary_key"]["wal_bytes_a_row"] * 1.5 < costs["declared"]["wal_bytes_a_row"]
    assert min(cost["rows_per_second"] for cost in costs.values()) > 0
    assert min(cost["refresh_ms"] for cost in costs.values()) > 0
    built = {index["name"]: index["build_ms"] for index in result["indexes"]}
    assert [name for name, taken in built.items() if taken is None] == ["feature_engineered_data_pkey"]


def test_the_rows_that_were_measured_with_are_gone(result: dict[str, Any], trading: Database) -> None:
    assert result["costs"]
    assert trading.value("SELECT max(timestamp) < now() + interval '1 year' FROM feature_engineered_data")


def test_the_guides_query_and_the_eight_reads_of_the_dashboard_are_measured(states: dict[str, Any]) -> None:
    claims = [query["claim"] for query in REQUEST["catalogue"] if "claim" in query]
    assert (claims.count("symbol_date"), claims.count("dashboard")) == (1, 8)
    assert set(states) == {query["name"] for query in REQUEST["catalogue"] if "claim" in query}


def test_the_primary_key_alone_means_reading_the_whole_table(states: dict[str, Any], trading: Database) -> None:
    pages = trading.value("SELECT relpages FROM pg_class WHERE relname = 'feature_engineered_data'")
    query = states["guide_selective_columns"]["primary_key"]
    assert query["scans"] == ["Seq Scan"]
    assert query["buffers"] >= pages


def test_without_the_declaration_none_of_its_indexes_is_used(states: dict[str, Any]) -> None:
    used = {name for query in states.values() for name in query["undeclared"]["indexes"]}
    assert used & set(REQUEST["declared"]) == set()
    assert used & {"idx_features_symbol_timestamp", "idx_features_recent", "unique_symbol_timestamp_features"}


def test_the_declaration_takes_fewer_pages_than_either_state_before(states: dict[str, Any]) -> None:
    pages = {state: sum(query[state]["buffers"] for query in states.values()) for state in states["dashboard_core"]}
    assert 10 * pages["declared"] < min(pages["undeclared"], pages["primary_key"])
    assert sum(query["declared"]["heap_fetches"] for query in states.values()) == 0


def test_every_state_answers_with_as_many_rows(states: dict[str, Any]) -> None:
    rows = {name: {state["rows"] for state in query.values()} for name, query in states.items()}
    assert {name: counts for name, counts in rows.items() if len(counts) != 1} == {}


def test_every_index_is_there_afterwards(trading: Database, states: dict[str, Any], before: list[Any]) -> None:
    assert states
    assert trading.rows(INDEXES) == before


def test_a_key_that_carries_columns_is_a_plain_key_before_the_declaration(
    new_database: Callable[[str], Database],
) -> None:
    database = new_database("lean")
    database.load(end_time="")
    database.declare("lean")
    present = [index["name"] for index in DEFAULTS["mltrading_index_sets"]["lean"] if "state" not in index]
    before = database.rows(DEFINITIONS)
    done = measure(database, REQUEST | {"declared": present})
    assert done.returncode == 0, done.stderr
    (query,) = (found for found in json.loads(done.stdout)["queries"] if found["name"] == "dashboard_core")
    scans = {state: (one["indexes"], one["scans"]) for state, one in query["states"].items()}
    key = ["unique_symbol_timestamp_features"]
    assert scans == {
        "declared": (key, ["Index Only Scan"]),
        "undeclared": (key, ["Index Scan"]),
        "primary_key": ([], ["Seq Scan"]),
    }
    assert database.rows(DEFINITIONS) == before


REFUSED = [
    pytest.param("COMMENT ON SCHEMA mltrading_lab IS NULL", "this is no lab", id="no-mark"),
    pytest.param(
        "INSERT INTO feature_engineered_data (symbol, timestamp) VALUES ('AAPL', now())",
        "holds rows that are not sample data",
        id="a-row-of-somebody-else",
    ),
    pytest.param("SELECT 1", "does not have idx_features_availability", id="a-declaration-that-is-not-applied"),
]


@pytest.mark.parametrize(("statement", "reason"), REFUSED)
def test_anything_but_a_lab_is_refused(
    new_database: Callable[[str], Database], statement: str, reason: str, request: pytest.FixtureRequest
) -> None:
    database = new_database(f"refused_{abs(hash(request.node.name)) % 10**8}")
    database.load()
    database.rows(statement)
    indexes = database.rows(INDEXES)
    done = measure(database, REQUEST)
    assert (done.returncode, done.stdout) == (1, "")
    assert reason in done.stderr
    assert database.rows(INDEXES) == indexes
