"""What the jobs are told about the trading database is what the guide says, and can be done."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLE = Path(__file__).parents[3] / "roles/mltrading"
DEFAULTS: dict[str, Any] = {
    name: value
    for path in sorted((ROLE / "defaults/main").glob("*.yml"))
    for name, value in yaml.safe_load(path.read_text()).items()
}
TABLES = {path.stem: path.read_text() for path in (ROLE / "files/sql/tables").glob("*.sql")}
RETENTION = {policy["table"].removeprefix("public."): policy for policy in DEFAULTS["mltrading_retention"]}


def test_the_limits_are_the_guides() -> None:
    assert {table: policy["keep_days"] for table, policy in RETENTION.items()} == {
        "system_logs": 90,
        "performance_logs": 30,
        "error_logs": 180,
        "user_action_logs": 90,
        "predictions": 365,
    }


@pytest.mark.parametrize("table", sorted(RETENTION))
def test_an_index_begins_with_the_column_that_rows_are_deleted_by(table: str) -> None:
    column = RETENTION[table]["column"]
    declared = [
        index for index in DEFAULTS["mltrading_retention_indexes"]
        if (index["table"], index["columns"][0]) == (table, column) and "where" not in index
    ]  # fmt: skip
    created = re.findall(rf"CREATE INDEX \w+ ON public\.{table} \({column}\)", TABLES[table])
    assert len(declared) + len(created) == 1


def test_the_tables_that_are_vacuumed_daily_are_the_guides() -> None:
    assert DEFAULTS["mltrading_vacuum_tables"] == [
        f"public.{table}" for table in ("feature_engineered_data", "market_data", "system_logs")
    ]


def test_every_materialized_view_is_refreshed_daily_beside_its_readers() -> None:
    for view in DEFAULTS["mltrading_materialized_views"]:
        assert view["refresh"]["policy"] == "concurrently"
        assert any(index.get("unique") and "where" not in index for index in view["indexes"])


def test_the_jobs_measure_with_extensions_that_the_database_has() -> None:
    (database,) = DEFAULTS["mltrading_databases"]
    assert {"pgstattuple", "pg_stat_statements"} <= set(database["extensions"])
