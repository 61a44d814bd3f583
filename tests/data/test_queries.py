"""Every query of the guide and of a dashboard load gets the plan that the catalogue says, on data."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from trading_database import SQL, Database

CATALOGUE = yaml.safe_load((SQL / "queries" / "catalogue.yml").read_text())
each_query = pytest.mark.parametrize("query", [pytest.param(query, id=query["name"]) for query in CATALOGUE])


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """A plan's nodes, the root first."""
    return [plan] + [node for child in plan.get("Plans", []) for node in nodes(child)]


def explained(database: Database, name: str) -> list[dict[str, Any]]:
    """The nodes of the plan that a query of the catalogue ran with."""
    text = (SQL / "queries" / f"{name}.sql").read_text()
    plan = database.value(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}")
    return nodes(plan[0]["Plan"])


@each_query
def test_the_query_gets_its_plan(trading: Database, query: dict[str, Any]) -> None:
    plan = explained(trading, query["name"])
    scanned = [node for node in plan if node["Node Type"] == "Seq Scan"]
    used = {node["Index Name"] for node in plan if "Index Name" in node}
    assert [node["Relation Name"] for node in scanned if node["Relation Name"] == "feature_engineered_data"] == []
    assert used <= set(query["indexes"])
    assert bool(used) == bool(query["indexes"])
    index_only = [node for node in plan if node["Node Type"] == "Index Only Scan"]
    assert index_only or not query["index_only"]
    assert [node["Heap Fetches"] for node in index_only if node["Heap Fetches"] > 0] == []


@each_query
def test_the_query_finds_rows(trading: Database, query: dict[str, Any]) -> None:
    assert trading.rows((SQL / "queries" / f"{query['name']}.sql").read_text()) != []


def test_symbol_and_date_take_a_dozen_pages_at_most(trading: Database) -> None:
    plan = explained(trading, "guide_selective_columns")
    assert plan[0]["Actual Rows"] == 100
    assert plan[0]["Shared Hit Blocks"] + plan[0]["Shared Read Blocks"] <= 12


def test_the_partial_index_of_complete_rows_is_not_used_for_one_of_its_five_conditions(trading: Database) -> None:
    used = {node.get("Index Name") for node in explained(trading, "guide_count_with_rsi")}
    assert "idx_features_completeness" not in used


def test_the_view_says_what_the_live_summary_says(trading: Database) -> None:
    view = trading.rows((SQL / "queries" / "dashboard_summary.sql").read_text())
    live = trading.rows((SQL / "queries" / "dashboard_summary_live.sql").read_text())
    assert len(view) == 50
    assert sorted(view) == sorted(live)


def test_the_newest_rows_are_the_same_with_and_without_an_index(trading: Database) -> None:
    by_index = trading.rows((SQL / "queries" / "dashboard_newest.sql").read_text())
    by_scan = trading.rows((SQL / "queries" / "dashboard_newest_by_scan.sql").read_text())
    assert len(by_index) == 20
    assert sorted(by_index) == sorted(by_scan)
