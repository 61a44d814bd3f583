# ruff: noqa: S608 - tests make their own SQL
"""What the jobs did to the trading data of the primaries. That they run is in test_jobs.py."""

import json

from conftest import Query
from testinfra.host import Host

testinfra_hosts = ["pgbouncer"]

# The guide's days, and what a row of each table must have beside its time.
OLD = {
    "system_logs": (90, "level", "'old'"),
    "performance_logs": (30, "operation_name, duration_ms, status", "'old', 1, 'success'"),
    "error_logs": (180, "error_type", "'old'"),
    "user_action_logs": (90, "action_type", "'old'"),
}


def test_rows_past_the_guides_limits_go_and_younger_ones_stay(host: Host, query: Query) -> None:
    for table, (days, columns, values) in OLD.items():
        query(f"DELETE FROM {table} WHERE timestamp < now() - interval '20 days'", "mltrading")
        query(
            f"INSERT INTO {table} (timestamp, {columns}) SELECT now() - make_interval(days => age), {values}"
            f" FROM unnest(ARRAY[{days - 1}, {days + 1}]) AS age",
            "mltrading",
        )
    assert host.run("/usr/local/lib/mltrading-db/dbjob retention").rc == 0
    old = "SELECT count(*) FROM {} WHERE timestamp < now() - interval '20 days'"
    assert {table: query(old.format(table), "mltrading") for table in OLD} == dict.fromkeys(OLD, "1")
    deleted = "SELECT sum(rows_deleted) FROM mltrading_audit.retention_run WHERE table_name = 'public.{}'"
    assert {table: query(deleted.format(table), "mltrading") for table in OLD} == dict.fromkeys(OLD, "1")


def test_the_weekly_report_counts_the_use_of_indexes_on_the_standby_too(host: Host, standby: Host) -> None:
    assert host.run("/usr/local/lib/mltrading-db/dbjob maintenance_weekly").rc == 0
    newest = host.check_output("ls -t /var/lib/mltrading-db/reports/maintenance_weekly-*.json | head -n 1")
    steps = json.loads(host.file(newest).content_string)["steps"]
    (unused,) = (step for step in steps if step["title"].startswith("Indexes that hardly any query"))
    assert unused["said"] == f"counted on here, {standby.backend.get_hostname()}"
