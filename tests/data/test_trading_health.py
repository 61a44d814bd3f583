"""The checks of the trading system: their numbers are the database's, and a plan that gets worse is critical."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from trading_database import DEFAULTS, ROOT, SQL, Database

pytestmark = pytest.mark.faults

HEALTH = ROOT / "roles" / "postgresql_health" / "files" / "jobs" / "health"
CATALOGUE = yaml.safe_load((SQL / "queries" / "catalogue.yml").read_text())
QUERIES = [
    {
        "name": query["name"], "indexes": query["indexes"], "index_only": query["index_only"],
        "buffers": DEFAULTS["mltrading_health_buffers"].get(query["name"], 0),
        "sql": (SQL / "queries" / f"{query['name']}.sql").read_text(),
    }
    for query in CATALOGUE
]  # fmt: skip
# No query uses an index that is INVALID: of one, or of all of a table.
VALID = "UPDATE pg_index SET indisvalid = %s WHERE indexrelid = %s::regclass OR indrelid = %s::regclass"
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def copy(trading: Database) -> Iterator[Database]:
    """The trading database once more, to be damaged."""
    with contextlib.closing(trading.server.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE damaged TEMPLATE trading")
        cursor.execute("DO $$BEGIN CREATE ROLE monitor; EXCEPTION WHEN duplicate_object THEN NULL; END$$")
    database = Database(trading.server, "damaged")
    database.rows("VACUUM ANALYZE")
    yield database
    trading.server.drop_database("damaged")


@pytest.fixture
def health(copy: Database, tmp_path: Path) -> Run:
    """`health` for that database, as the roles declare it."""
    checks = [
        check
        | ({"queries": QUERIES} if "queries" in check else {"query": str(SQL / "health" / f"{check['name']}.sql")})
        for check in DEFAULTS["mltrading_health_checks"]
    ]
    settings = {"host": str(copy.server.home), "port": copy.server.port}
    fragment = {"settings": settings, "database": copy.name, "role": "mltrading_ro", "checks": checks}
    (tmp_path / "etc/mltrading-db/health.d").mkdir(parents=True)
    (tmp_path / "etc/mltrading-db/health.d/mltrading.json").write_text(json.dumps(fragment))
    (tmp_path / "var/lib/mltrading-db/health").mkdir(parents=True)

    def run(*arguments: str) -> dict[str, Any]:
        """The checks by their names; of a job, what it said."""
        done = subprocess.run(
            [sys.executable, str(HEALTH), *arguments], env={**os.environ, "HEALTH_ROOT": str(tmp_path)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if "--json" not in arguments:
            return {"code": done.returncode, "said": done.stdout + done.stderr}
        return {check["name"]: check for check in json.loads(done.stdout)["checks"]}

    return run


def broken(found: dict[str, Any]) -> dict[str, str]:
    """The queries whose plan is not as expected, and how."""
    return {row["item"]: row["detail"] for row in found["plans"]["rows"] if row["value"]}


def test_every_plan_is_as_expected(health: Run) -> None:
    found = health("--json", "--check", "plans")
    assert broken(found) == {}
    assert (found["plans"]["state"], len(found["plans"]["rows"])) == ("ok", len(CATALOGUE))


def test_an_index_that_is_not_used_any_more_is_critical(copy: Database, health: Run) -> None:
    index = "idx_features_symbol_version_covering"
    copy.rows(VALID, (False, index, index))
    found = health("--json", "--check", "plans")
    copy.rows(VALID, (True, index, index))
    assert found["plans"]["state"] == "critical"
    assert "expected idx_features_symbol_version_covering" in str(broken(found))


def test_a_table_without_its_indexes_is_scanned_and_that_is_critical(copy: Database, health: Run) -> None:
    copy.rows(VALID, (False, "feature_engineered_data", "feature_engineered_data"))
    found = health("--json", "--check", "plans")
    copy.rows(VALID, (True, "feature_engineered_data", "feature_engineered_data"))
    assert "no index is used, feature_engineered_data is scanned" in broken(found)["dashboard_core"]


def test_visits_to_a_table_that_was_not_vacuumed_are_critical(copy: Database, health: Run) -> None:
    copy.rows("UPDATE feature_engineered_data SET bb_lower = bb_lower")
    found = health("--json", "--check", "plans")
    copy.rows("VACUUM (FULL, ANALYZE) feature_engineered_data")
    copy.rows("VACUUM feature_engineered_data")
    assert "it needs a VACUUM" in str(broken(found))
    assert broken(health("--json", "--check", "plans")) == {}


def test_the_job_keeps_the_plans_for_later_runs(health: Run) -> None:
    assert health("--json")["plans"]["state"] == "no_data"
    done = health("--store")
    assert (done["code"], "plans: ok" in done["said"]) == (0, True)
    kept = health("--json")["plans"]
    assert (kept["state"], len(kept["rows"])) == ("ok", len(CATALOGUE))
    assert "as of " in kept["text"]


def test_the_numbers_of_the_last_day_are_the_databases(copy: Database, health: Run) -> None:
    found = health("--json")
    since = "FROM {} WHERE timestamp >= now() - interval '24 hours'"
    logs = ("system_logs", "performance_logs", "error_logs", "user_action_logs")
    counted = {name: copy.value(f"SELECT count(*) {since.format(name)}") for name in logs}
    activity = dict.fromkeys(logs, 0)
    for row in found["activity"]["rows"]:
        activity[row["source"]] += row["events"]
    # Between the two questions a row may have become older than a day.
    assert {name: abs(activity[name] - counted[name]) <= 3 for name in logs} == dict.fromkeys(logs, True)
    calls = sum(row["calls"] for row in found["performance_by_hour"]["rows"])
    errors = sum(row["errors"] for row in found["errors_by_hour"]["rows"])
    assert abs(calls - counted["performance_logs"]) <= 3
    assert abs(errors - counted["error_logs"]) <= 3
