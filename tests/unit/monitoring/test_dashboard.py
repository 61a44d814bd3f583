"""The dashboard: what it asks is PromQL, and of our own metrics only those that are written."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from health_metrics import HELP

PROJECT = Path(__file__).resolve().parents[3]
DASHBOARD = json.loads((PROJECT / "roles/monitoring/files/dashboards/mltrading.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
# Where the names of our own metrics are said.
WRITERS = ("docs/operations/jobs.md", "roles/monitoring_exporters/files/jobs/pgbouncer_metrics")


@pytest.fixture
def written() -> set[str]:
    """The metrics of the jobs, the checks and the pooler."""
    text = "".join((PROJECT / path).read_text() for path in WRITERS)
    ours = set(re.findall(r"mltrading_job_\w+|pgbouncer_\w+", text)) | set(HELP)
    assert {"mltrading_job_duration_seconds", "mltrading_health_value"} <= ours
    return ours


def test_what_it_asks_of_our_own_metrics_is_written(written: set[str]) -> None:
    asked = set(re.findall(r"\b(?:mltrading|pgbouncer)_\w+", " ".join(EXPRESSIONS)))
    assert asked - written == set()


def test_the_checks_that_it_shows_are_recorded() -> None:
    files = ("roles/postgresql_health/files/checks.yml", "roles/mltrading/defaults/main/health.yml")
    engine, trading = (yaml.safe_load((PROJECT / path).read_text()) for path in files)
    recorded = {check["name"] for check in [*engine, *trading["mltrading_health_checks"]] if check.get("record")}
    named = re.findall(r'mltrading_health_value\{check=~?"([^"]+)"', " ".join(EXPRESSIONS))
    assert {name for names in named for name in names.split("|")} == recorded


def test_what_it_asks_is_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"expression:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(EXPRESSIONS)
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(
        [PROJECT / ".cache/promtool", "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout


def test_panels_have_numbers_and_places_of_their_own() -> None:
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
