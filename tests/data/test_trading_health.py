"""The checks of the trading system: their numbers are the database's, and a plan that gets worse is critical."""

from __future__ import annotations

import contextlib
import functools
import json
import operator
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2.nativetypes import NativeEnvironment
from trading_database import DEFAULTS, ROOT, SQL, Database

pytestmark = pytest.mark.faults

HEALTH = ROOT / "roles" / "postgresql_health" / "files" / "jobs" / "health"
CATALOGUE = yaml.safe_load((SQL / "queries" / "catalogue.yml").read_text())
VARS = yaml.safe_load((ROOT / "roles/mltrading/vars/main.yml").read_text())


def queries(declaration: str) -> list[dict[str, Any]]:
    """The queries and what is expected of them, as the role's own template says."""

    def file(_plugin: str, path: str) -> str:
        return (SQL.parent / path).read_text()

    given = {name: DEFAULTS[name] for name in ("mltrading_health_buffers", "mltrading_health_pages_per_row")}
    given |= {"__mltrading_catalogue": CATALOGUE, "mltrading_declaration": declaration, "lookup": file}
    environment = NativeEnvironment()
    environment.filters["combine"] = lambda first, *more: functools.reduce(operator.or_, more, first)
    found: list[dict[str, Any]] = environment.from_string(VARS["__mltrading_health_queries"]).render(given)
    return found


QUERIES = queries("guide")
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
    return command(copy, tmp_path, QUERIES)


def command(copy: Database, tmp_path: Path, expected: list[dict[str, Any]]) -> Run:
    """`health` for a database, with what is expected of its plans."""
    checks = [
        check
        | ({"queries": expected} if "queries" in check else {"query": str(SQL / "health" / f"{check['name']}.sql")})
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


def test_every_query_has_a_limit_and_its_indexes_under_both_declarations() -> None:
    for declaration in ("guide", "lean"):
        found = queries(declaration)
        assert len(found) == len(CATALOGUE)
        assert [query["name"] for query in found if not query.get("buffers") and not query.get("pages_per_row")] == []
        assert {query["name"] for query in found if not query["indexes"]} == {"guide_summary_view", "dashboard_summary"}
    assert sum(query["index_only"] for query in queries("lean")) >= 4


def test_every_plan_is_as_expected_under_the_lean_declaration(trading: Database, tmp_path: Path) -> None:
    with contextlib.closing(trading.server.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE lean_plans OWNER mltrading_owner TEMPLATE trading")
        cursor.execute("DO $$BEGIN CREATE ROLE monitor; EXCEPTION WHEN duplicate_object THEN NULL; END$$")
    database = Database(trading.server, "lean_plans")
    for index in DEFAULTS["mltrading_index_sets"]["guide"]:
        database.rows(f"DROP INDEX IF EXISTS {index['name']}")
    database.declare("lean")
    database.rows("VACUUM ANALYZE")
    health = command(database, tmp_path, queries("lean"))
    assert broken(health("--json", "--check", "plans")) == {}
    database.rows("ALTER TABLE feature_engineered_data DROP CONSTRAINT unique_symbol_timestamp_features")
    found = broken(health("--json", "--check", "plans"))
    trading.server.drop_database("lean_plans")
    assert "feature_engineered_data is scanned" in found["guide_select_star"]


def test_a_plan_that_reads_more_for_its_rows_is_critical(copy: Database, health: Run) -> None:
    # What it reads is dead: an index leads to a thousand times as many rows as are wanted.
    copy.rows("ALTER TABLE error_logs RENAME TO error_logs_small")
    copy.rows(
        "CREATE TABLE error_logs (LIKE error_logs_small INCLUDING ALL); GRANT SELECT ON error_logs TO mltrading_ro"
    )
    try:
        copy.rows(
            "INSERT INTO error_logs (timestamp, error_type, component, error_message)"
            " SELECT now() - interval '1 hour', 'x', 'y', repeat('z', 900) FROM generate_series(1, 20000)"
        )
        copy.rows("DELETE FROM error_logs WHERE id % 1000 <> 0")
        found = health("--json", "--check", "plans")
    finally:
        copy.rows("DROP TABLE error_logs; ALTER TABLE error_logs_small RENAME TO error_logs")
    assert "pages, expected at most" in broken(found)["dashboard_errors"]


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
