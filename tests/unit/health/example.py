"""An environment as its hosts might answer, made by the hosts' own code from plausible rows.

python tests/unit/health/example.py FILE writes the answers as the playbook does.
"""

from __future__ import annotations

import json
import math
import random
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "roles/postgresql_health/files/jobs"))

from health_checks import EXIT_CODES, Check, Result, judged, made, unknown, worst  # noqa: E402

NOW = 1_795_507_200  # 2026-11-24 08:00 UTC
GB, MB = 1024**3, 1024**2
ENGINE = yaml.safe_load((ROOT / "roles/postgresql_health/files/checks.yml").read_text())
TRADING = [
    check | ({"queries": []} if "queries" in check else {})
    for check in yaml.safe_load((ROOT / "roles/mltrading/defaults/main/health.yml").read_text())[
        "mltrading_health_checks"
    ]
]
FILES = (
    "backups",
    "drills",
    "bloat",
    "disk",
    "certificates",
    "backup_age",
    "dump_age",
    "drill_age",
    "job_failures",
    "job_overdue",
)
OPERATIONS = {"load_core_features": 14, "predict": 54, "dashboard_summary": 72, "fetch_market_data": 426}
INDEXES = {
    "idx_features_symbol_version_covering": 184_210, "idx_features_symbol_recent": 92_400,
    "idx_performance_logs_timestamp": 61_020, "unique_symbol_timestamp_features": 48_700,
    "idx_features_recent_data": 20_110, "idx_features_availability": 9_300, "idx_features_completeness": 3_120,
    "idx_error_logs_timestamp": 2_870, "idx_features_timeseries": 940, "idx_features_cleanup": 12,
}  # fmt: skip
TABLES = {
    "feature_engineered_data": 4.1 * GB, "market_data": 610 * MB, "performance_logs": 240 * MB,
    "system_logs": 210 * MB, "user_action_logs": 122 * MB, "predictions": 88 * MB, "error_logs": 21 * MB,
}  # fmt: skip


def row(item: str, value: float | None, detail: str = "") -> dict[str, Any]:
    """A row of a check."""
    return {"item": item, "value": value, "detail": detail}


def hours() -> list[str]:
    """The 24 hours before now."""
    return [datetime.fromtimestamp(NOW - 3600 * back, UTC).isoformat() for back in range(24)]


def by_hour(chance: random.Random) -> dict[str, list[dict[str, Any]]]:
    """What the application logged."""
    performance, errors = [], []
    for back, hour in enumerate(hours()):
        busy = 1.3 + math.cos((back - 14) / 24 * 2 * math.pi)
        for operation, ms in OPERATIONS.items():
            average = ms * busy * chance.uniform(0.8, 1.2)
            performance.append({
                "database": "mltrading", "hour": hour, "operation": operation, "calls": int(180 * busy), "errors": 3,
                "average_ms": round(average, 1), "p95_ms": round(2.4 * average, 1), "longest_ms": round(5 * average, 1),
            })  # fmt: skip
        for kind in ("ConnectionError", "TimeoutError", "ValidationError"):
            count = int(4 * busy * chance.random())
            errors += [{"hour": hour, "error_type": kind, "component": "features", "errors": count}] * bool(count)
    return {"performance_by_hour": performance, "errors_by_hour": errors}


def server_rows(role: str, chance: random.Random) -> dict[str, list[dict[str, Any]]]:
    """What a server says of itself; the primary has a standby and slots, and fails to archive for a while."""
    primary = role == "primary"
    standby = "replica_db2" if primary else "this standby"
    slow = "p95 2,102.5 ms, longest 9,310.0 ms, 201 calls, 4 errors"
    found = {
        "connections": [row("clients", 38.6 if primary else 9.1, "76 of 197" if primary else "18 of 197")],
        "database_size": [row("mltrading", int(5.6 * GB)), row("postgres", 8 * MB)],
        "wraparound": [row("mltrading", 2.1, "45,120,201 transactions")],
        "pending_restart": [row("settings", 0 if primary else 1, "" if primary else "shared_buffers")],
        "replication_links": [row("slot db2" if primary else "receiver", 0, "streaming")],
        "replication_lag_bytes": [row(standby, 3.2 * MB if primary else 0, "streaming")],
        "replication_lag_seconds": [row(standby, 0.4 if primary else 0.3, "streaming")],
        "table_hit_ratio": [row("mltrading", 98.7, "31,204,112 reads")],
        "index_hit_ratio": [row("mltrading", 99.6, "92,110,230 reads")],
        "partitions": [row("mltrading feature_engineered_data", 96, "18 partitions, the last ends 2027-03-01")],
        "query_time": [row("fetch_market_data", 1210.4, slow), row("predict", 61.2, "p95 140.0 ms")],
        "error_rate": [row("operations", 1.9, "14 of 742")],
        "plans": [row("guide_selective_columns", 0), row("dashboard_core", 0)],
        "index_usage": [{"index_name": f"public.{name}", "scans": scans} for name, scans in INDEXES.items()],
        "table_sizes": [{"relation": f"public.{name}", "bytes": int(size)} for name, size in TABLES.items()],
    }  # fmt: skip
    if primary:
        found["slot_retained"] = [row("db2", 48 * MB, "reserved, 16 GB until it is lost")]
        found["archive_age"] = [row("archive", 412, "last archived 2026-11-24 07:53:08+00, the last attempt failed")]
        found["archive_backlog"] = [row("archive", 7)]
    return found | by_hour(chance)


def file_rows(host: str) -> dict[str, list[dict[str, Any]]]:
    """What the jobs, certificates and disks of a host say."""
    jobs = {
        "db1": ["dump", "health_history", "health_plans", "maintenance", "retention"],
        "db2": ["health_history", "health_plans", "maintenance"],
        "backup1": ["backup_diff", "backup_full", "drill_restore", "health_history"],
    }[host]
    silent = {"retention": row("retention", 2, "failed: permission denied for table user_action_logs")}
    found = {
        "disk": [row("/var/lib/postgresql", {"db1": 61.4, "db2": 60.9, "backup1": 43.0}[host], "128.4 GB free")],
        "certificates": [row("/var/lib/postgresql/tls/server.crt", 212, "until 2027-06-24")],
        "job_failures": [silent.get(name, row(name, 0, "ok: done")) for name in jobs],
        "job_overdue": [row(name, 0, "last started 2026-11-24T02:15:04+00:00") for name in jobs],
    }
    if host == "db1":
        found["dump_age"] = [row("dump", 5.7 * 3600, "dump")]
    if host == "backup1":
        found |= {"backup_age": [row("backup_full, backup_diff", 6.9 * 3600, "backup_diff")]}
        found["backups"] = [
            {"item": label, "type": kind, "started": datetime.fromtimestamp(NOW - age, UTC).isoformat(),
             "duration_seconds": took, "database_bytes": int(5.6 * GB), "repository_bytes": int(size), "detail": ""}
            for label, kind, age, took, size in (
                ("20261122-013000F_20261124-013000D", "diff", 23_400, 41, 96 * MB),
                ("20261122-013000F_20261123-013000D", "diff", 109_800, 38, 88 * MB),
                ("20261122-013000F", "full", 196_200, 312, 1.3 * GB),
            )
        ]  # fmt: skip
        found["drills"] = [{
            "item": "drill_restore", "finished": datetime.fromtimestamp(NOW - 276_480, UTC).isoformat(), "ok": True,
            "recovery_point_seconds": 27.4, "recovery_time_seconds": 96.2,
        }]  # fmt: skip
        found |= {"drill_age": [row("drill_restore", 3.2 * 86400, "drill_restore")]}
    return found


def values_at(results: list[Result], back: float, chance: random.Random) -> dict[str, dict[str, float]]:
    """What the history holds of a time: today's values, moved by what the time makes of them."""
    found: dict[str, dict[str, float]] = {}
    periods = {"backup_age": 86400, "dump_age": 86400, "drill_age": 7 * 86400}
    for result in results:
        check = result.check
        if not check.record or not result.rows:
            continue
        for one in result.rows:
            value, wave = float(one["value"]), chance.uniform(0.75, 1.2) + 0.25 * math.sin(back / 86400 * 2 * math.pi)
            if check.name in periods:
                value = (value - back) % periods[check.name]
            elif check.name == "database_size":
                value *= 1 - 0.011 * back / 86400
            elif check.name == "disk":
                value -= 0.5 * back / 86400
            elif check.unit == "%" and check.below:
                value = min(100, value + chance.uniform(-0.2, 0.2))
            else:
                value *= wave
            found.setdefault(check.name, {})[one["item"]] = round(value, 2)
    return found


def host(name: str, role: str) -> dict[str, Any]:
    """One host's answer."""
    chance = random.Random(name)  # noqa: S311  # values that look alike, not a secret
    declared = [made(check) for check in ENGINE + (TRADING if role != "no server" else [])]
    rows = file_rows(name) | (server_rows(role, chance) if role != "no server" else {})
    results = [
        judged(check, rows.get(check.name, [])) for check in declared if role != "no server" or check.name in FILES
    ]
    if role == "standby":
        failed = next(check for check in declared if check.name == "slow_statements")
        results = [unknown(failed, TimeoutError("canceling statement due to statement timeout"))
                   if result.check is failed else result for result in results]  # fmt: skip
    if role != "no server":
        results.insert(0, judged(Check("server", "The server answers", warning=0, critical=0), [row("", 0)]))
    state = worst(results)
    history = [
        {"time": NOW - back, "state": "ok", "values": values_at(results, back, chance)}
        for back in range(14 * 86400, -1, -2 * 3600)
    ]
    return {
        "host": name, "time": NOW, "version": "" if role == "no server" else "15.20", "role": role, "state": state,
        "exit_code": EXIT_CODES[state], "checks": [result.as_json() for result in results], "history": history,
    }  # fmt: skip


def answers() -> dict[str, Any]:
    """The answers of an environment of three hosts."""
    roles = {"db1": "primary", "db2": "standby", "backup1": "no server"}
    return {"environment": "example", "hosts": {name: host(name, role) for name, role in roles.items()}}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(answers()) + "\n")
