"""What the page and the table of the environment say is what its servers say."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import DATABASE, EPHEMERAL, Cluster, Node
from health_checks import shown

from mltrading_db.health.charts import bytes_text, count_text

ERRORS = "SELECT count(*) FROM error_logs WHERE timestamp >= now() - interval '24 hours'"
SIZE = f"SELECT pg_database_size('{DATABASE}')"
TABLES = "SELECT json_object_agg(relname, {}) FROM pg_stat_user_tables WHERE schemaname = 'public'"
INDEXES = "SELECT json_object_agg(indexrelname, idx_scan) FROM pg_stat_user_indexes WHERE schemaname = 'public'"


@dataclass(frozen=True)
class Page:
    """The page, and the answers that it was made of."""

    text: str
    answers: dict[str, Any]

    def rows(self, node: Node, check: str) -> list[dict[str, Any]]:
        """What a host answered of a check."""
        checks = self.answers["hosts"][node.name]["checks"]
        return list(next(one for one in checks if one["name"] == check)["rows"])

    def words(self, picture: str) -> list[str]:
        """What is written in a picture."""
        found = re.search(rf"<h3>{picture}</h3>(.*?)</figure>", self.text, re.DOTALL)
        assert found, picture
        return [html.unescape(word) for word in re.findall(r">([^<>]+)</(?:text|p)>", found[1])]


@pytest.fixture(scope="module")
def page(cluster: Cluster) -> Page:
    """The page, as the playbook makes it."""
    folder = Path(EPHEMERAL / "health")
    run = cluster.play("report_health.yml", postgresql_health_output=str(folder))
    assert run.returncode == 0, run.stdout
    return Page((folder / "inventory.html").read_text(), json.loads((folder / "inventory.json").read_text()))


def asked(cluster: Cluster, query: str) -> dict[str, int]:
    """Numbers of the primary's trading database, by name."""
    return dict(json.loads(cluster.db1.sql(query, DATABASE)))


def by_name(rows: list[dict[str, Any]], name: str, value: str) -> dict[str, int]:
    """The numbers of a check's rows, by the name behind the schema."""
    mine = [row for row in rows if row["database"] == DATABASE and row[name].startswith("public.")]
    return {row[name].removeprefix("public."): row[value] for row in mine}


def test_the_sizes_are_those_of_the_server(cluster: Cluster, page: Page) -> None:
    sizes = asked(cluster, TABLES.format("pg_total_relation_size(relid)"))
    assert by_name(page.rows(cluster.db1, "table_sizes"), "relation", "bytes") == sizes
    largest = max(sizes, key=lambda name: sizes[name])
    assert {largest, bytes_text(sizes[largest])} <= set(page.words("Largest tables"))
    size = int(cluster.db1.sql(SIZE))
    assert f"{DATABASE}: {shown(size, 'bytes')}" in page.text


def test_the_rows_are_those_of_the_server(cluster: Cluster, page: Page) -> None:
    names = ("market_data", "feature_engineered_data", "performance_logs")
    cluster.db1.sql(f"ANALYZE {', '.join(names)}", DATABASE)
    page_rows = by_name(page.rows(cluster.db1, "table_sizes"), "relation", "live_rows")
    counted = {name: int(cluster.db1.sql(f"SELECT count(*) FROM {name}", DATABASE)) for name in names}  # noqa: S608
    assert {name: page_rows[name] for name in names} == pytest.approx(counted, rel=0.02)


def test_the_scans_of_the_indexes_are_those_of_the_server(cluster: Cluster, page: Page) -> None:
    scans = asked(cluster, INDEXES)
    of_page = by_name(page.rows(cluster.db1, "index_usage"), "index_name", "scans")
    assert of_page.keys() <= scans.keys()
    # The checks themselves use an index or two between the page and now.
    assert of_page == pytest.approx({name: scans[name] for name in of_page}, abs=20)
    most = max(of_page, key=lambda name: of_page[name])
    assert count_text(of_page[most]) in page.words("Use of the indexes")


def test_the_errors_are_those_of_the_table(cluster: Cluster, page: Page) -> None:
    errors = int(cluster.db1.sql(ERRORS, DATABASE))
    assert errors > 0
    # Those of the sample data leave the 24 hours one by one.
    assert sum(row["errors"] for row in page.rows(cluster.db1, "errors_by_hour")) == pytest.approx(errors, abs=2)
    caption = page.words("Errors by hour")[0]
    said = re.search(r"([\d,]+) in 24 hours", caption)
    assert said, caption
    assert int(said[1].replace(",", "")) == pytest.approx(errors, abs=2)


def test_the_jobs_are_those_of_the_hosts(cluster: Cluster, page: Page) -> None:
    jobs = re.search(r"<h2>Jobs</h2>(.*?)</section>", page.text, re.DOTALL)
    assert jobs
    listed = re.findall(r'<td class="name">(\w+)</td><td data-label="on">([\w-]+)</td>', jobs[1])
    scheduled = {
        (name.removeprefix("mltrading-db-"), node.name)
        for node in cluster.nodes
        for name in node.do("cd /etc/cron.d && ls mltrading-db-*").split()
    }
    assert set(listed) == scheduled
    assert len(listed) == len(scheduled)


def test_the_table_has_the_same_size(cluster: Cluster) -> None:
    run = cluster.play("check_health.yml", postgresql_health_output=str(EPHEMERAL / "health"))
    size = shown(int(cluster.db1.sql(SIZE)), "bytes")
    line = next(line for line in run.stdout.splitlines() if "database_size" in line)
    assert size in " ".join(line.split())
