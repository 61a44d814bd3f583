"""The tables are created where they are missing, belong to the owner, and are there for those who may."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from trading_database import DEFAULTS, Database, applied_indexes

NOTHING: dict[str, list[str]] = {"tables": [], "statements": []}


@pytest.fixture
def empty(new_database: Callable[[str], Database], request: pytest.FixtureRequest) -> Database:
    return new_database(f"empty_{abs(hash(request.node.name)) % 10**8}")


def test_nothing_is_missing_after_the_first_run(empty: Database) -> None:
    assert empty.missing() == NOTHING


def test_a_table_that_was_dropped_is_found_and_made_again(empty: Database) -> None:
    empty.rows("DROP TABLE system_logs")
    assert empty.missing() == {"tables": ["system_logs"], "statements": []}
    empty.create_tables()
    assert empty.missing() == NOTHING


def test_a_privilege_that_was_revoked_is_found_and_given_again(empty: Database) -> None:
    empty.rows("REVOKE INSERT ON market_data FROM mltrading_rw")
    assert empty.missing() == {"tables": [], "statements": ["GRANT INSERT ON TABLE market_data TO mltrading_rw"]}
    empty.create_tables()
    assert empty.missing() == NOTHING


def test_a_table_of_later_is_there_for_both_roles(empty: Database) -> None:
    empty.rows("SET ROLE mltrading_owner; CREATE TABLE later (id bigserial)")
    allowed = (
        "SELECT has_table_privilege('mltrading_rw', 'later', 'UPDATE'),"
        " has_sequence_privilege('mltrading_rw', 'later_id_seq', 'USAGE'),"
        " has_table_privilege('mltrading_ro', 'later', 'SELECT'),"
        " has_table_privilege('mltrading_ro', 'later', 'INSERT')"
    )
    assert empty.rows(allowed) == [(True, True, True, False)]
    assert empty.missing() == NOTHING


def test_a_table_of_somebody_else_is_left_alone(empty: Database) -> None:
    empty.rows("CREATE TABLE other (id integer)")
    assert empty.missing() == NOTHING
    assert empty.value("SELECT has_table_privilege('mltrading_ro', 'other', 'SELECT')") is False


def test_every_table_belongs_to_the_owner(empty: Database) -> None:
    owned = empty.rows("SELECT tablename::text FROM pg_tables WHERE tableowner = 'mltrading_owner' ORDER BY 1")
    assert [name for (name,) in owned] == sorted(DEFAULTS["mltrading_tables"])


def test_the_declaration_applies_and_then_finds_nothing_to_do(empty: Database) -> None:
    first = empty.declare("guide")
    assert {action["name"] for action in first["actions"]} >= {
        f"public.{index['name']}" for index in DEFAULTS["mltrading_index_sets"]["guide"]
    }
    assert empty.declare("guide")["actions"] == []
    assert empty.missing() == NOTHING


def test_the_other_declaration_and_back_leaves_the_indexes_as_they_were(empty: Database) -> None:
    query = "SELECT indexdef::text FROM pg_indexes WHERE tablename = 'feature_engineered_data' ORDER BY 1"
    empty.declare("guide", indexes=applied_indexes("guide"))
    before = empty.rows(query)
    assert len(before) == 1 + 1 + 6 + 9
    there = empty.declare("lean", indexes=applied_indexes("lean"))
    assert len(empty.rows(query)) == 3
    dropped = {action["name"] for action in there["actions"] if action["action"] == "drop"}
    assert dropped == {f"public.{index['name']}" for index in applied_indexes("lean") if "state" in index}
    empty.declare("guide", indexes=applied_indexes("guide"))
    assert empty.rows(query) == before


def test_the_lean_declaration_takes_away_what_it_makes_superfluous(empty: Database) -> None:
    empty.declare("lean")
    query = "SELECT indexname::text FROM pg_indexes WHERE tablename = 'feature_engineered_data' ORDER BY 1"
    assert [name for (name,) in empty.rows(query)] == [
        "feature_engineered_data_pkey",
        "idx_features_timestamp_brin",
        "unique_symbol_timestamp_features",
    ]
    # The key carries columns for reads, and is a constraint still: ON CONFLICT names its columns.
    constraint = (
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'unique_symbol_timestamp_features'"
    )
    assert empty.value(constraint).startswith('UNIQUE (symbol, "timestamp", source) INCLUDE (feature_version, ')
    assert empty.declare("lean")["actions"] == []
