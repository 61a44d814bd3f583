"""Measure what the health checks cost a server that is asked once a minute.

  all checks        `health --json`: what a person, a page or a plugin runs
  each minute's     `health --metrics`: the checks that can alarm, which a job runs every minute

on the sample data, with the declaration of the role. The server's time is pg_stat_statements' own, planning and
executing, of every statement of the runs; the processor's is that of the processes that served them, connections
included. Nothing is asserted.

usage: bench_health.py [--rows N] [--runs N] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from bench_server import ROOT, database_of, server_for
from rich.console import Console
from rich.table import Table
from trading_database import BARS, DEFAULTS, SQL, Database

ENGINE = ROOT / "roles/postgresql_health/files"
HEALTH = ENGINE / "jobs/health"
QUERIES = (*(ENGINE / "jobs/sql/health").glob("*.sql"), *(SQL / "health").glob("*.sql"))
MODES = {"all checks": "--json", "each minute's": "--metrics"}
DECLARATION = DEFAULTS["mltrading_declaration"]
SYMBOLS, MINUTE_MS = 1057, 60_000
MOST = 8
COST = """
SELECT split_part(query, E'\\n', 1), sum(calls), sum(total_exec_time + total_plan_time)
FROM pg_stat_statements
WHERE query !~ 'pg_stat_statements_reset'
GROUP BY 1 ORDER BY 3 DESC
"""


def configure(database: Database, root: Path) -> None:
    """Declare the checks of both roles, as these do on a host."""
    settings = {"host": str(database.server.home), "port": database.server.port}
    engine = {"settings": settings, "checks": yaml.safe_load((ENGINE / "checks.yml").read_text())}
    asked = []
    for check in DEFAULTS["mltrading_health_checks"]:
        own = {"queries": known_queries()} if "queries" in check else {"query": f"{SQL}/health/{check['name']}.sql"}
        asked.append(check | own)
    fragments = root / "etc/mltrading-db/health.d"
    fragments.mkdir(parents=True)
    for folder in ("health", "metrics_health"):
        (root / "var/lib/mltrading-db" / folder).mkdir(parents=True)
    trading = {"database": database.name, "role": "mltrading_ro", "checks": asked}
    for name, fragment in (("postgresql_health", engine), ("mltrading", trading)):
        (fragments / f"{name}.json").write_text(json.dumps(fragment))


def known_queries() -> list[dict[str, Any]]:
    """The queries whose plans are compared, by the role's catalogue."""
    catalogue = yaml.safe_load((SQL / "queries/catalogue.yml").read_text())
    few = DEFAULTS["mltrading_health_buffers"]
    return [
        {
            "name": query["name"], "indexes": query["indexes"], "index_only": query["index_only"],
            "buffers": few.get(query["name"], 0), "sql": (SQL / "queries" / f"{query['name']}.sql").read_text(),
        }
        for query in catalogue
    ]  # fmt: skip


def health(root: Path, *options: str) -> str:
    """Run `health`; its exit code is the state of a server that nobody has set up whole."""
    environment = {**os.environ, "HEALTH_ROOT": str(root)}
    done = subprocess.run(
        [sys.executable, str(HEALTH), *options], env=environment, capture_output=True, text=True, check=False
    )
    if done.stderr:
        raise RuntimeError(done.stderr)
    return done.stdout


def processor_ms(server: Any) -> float:
    """What the server's main process has used, and those of its processes that have ended (proc(5))."""
    pid = (server.data / "postmaster.pid").read_text().split()[0]
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) * 1000 / os.sysconf("SC_CLK_TCK")


def measured(database: Database, root: Path, option: str, runs: int) -> dict[str, Any]:
    """The cost of a run in one mode, in ms, and of the checks that cost most."""
    health(root, option)
    database.rows("SELECT pg_stat_statements_reset()")
    before = processor_ms(database.server)
    for _ in range(runs):
        health(root, option)
    processor = (processor_ms(database.server) - before) / runs
    names = {path.read_text().splitlines()[0]: path.stem for path in QUERIES}
    checks: dict[str, float] = {}
    statements, total = 0, 0.0
    for first_line, calls, ms in database.rows(COST):
        name = names.get(first_line, "connections, guards and what probes ask")
        checks[name] = checks.get(name, 0) + float(ms) / runs
        statements, total = statements + int(calls), total + float(ms) / runs
    return {
        "statements": round(statements / runs), "server_ms": round(total, 1), "processor_ms": round(processor, 1),
        "percent": round(100 * total / MINUTE_MS, 3), "percent_processor": round(100 * processor / MINUTE_MS, 3),
        "checks": {name: round(ms, 2) for name, ms in sorted(checks.items(), key=lambda pair: -pair[1])},
    }  # fmt: skip


def show(results: dict[str, Any]) -> None:
    """Print the result as two tables."""
    costs = Table("a run", "statements", "ms of the server", "of a minute", "ms of processors", "of one", box=None)
    checks = Table("what costs most", *MODES, box=None)
    for mode, found in results["modes"].items():
        costs.add_row(
            mode, str(found["statements"]), f"{found['server_ms']:.1f}", f"{found['percent']:.3f} %",
            f"{found['processor_ms']:.1f}", f"{found['percent_processor']:.3f} %",
        )  # fmt: skip
    by_mode = [found["checks"] for found in results["modes"].values()]
    for name in list(by_mode[0])[:MOST]:
        checks.add_row(name, *(f"{found.get(name, 0):.2f} ms" for found in by_mode))
    console = Console(width=110)
    console.print(costs, "", checks)


def main() -> int:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of the sample data")
    parser.add_argument("--runs", type=int, default=20, help="runs in each mode")
    parser.add_argument("--output", type=Path, default=ROOT / ".lab/results/bench_health.json")
    options = parser.parse_args()
    with server_for(options.rows) as server, tempfile.TemporaryDirectory(prefix="bench-health-") as folder:
        database = database_of(server, "health")
        database.server.run(
            "psql", "-q", "-h", str(server.home), "-p", str(server.port), "-U", "postgres", "-d", "postgres",
            "-c", "CREATE ROLE monitor; GRANT pg_monitor TO monitor",
            "-c", f"CREATE DATABASE {database.name} OWNER mltrading_owner",
        )  # fmt: skip
        database.rows("CREATE EXTENSION pg_stat_statements")
        database.create_tables()
        asked = {"bars": BARS, "rows": options.rows, "symbols": SYMBOLS, "end_time": "", "workers": os.cpu_count()}
        subprocess.run(database.loader(**asked), check=True, stdout=subprocess.DEVNULL)
        database.declare(DECLARATION)
        database.rows("VACUUM (ANALYZE)")
        configure(database, Path(folder))
        health(Path(folder), "--store")
        modes = {name: measured(database, Path(folder), option, options.runs) for name, option in MODES.items()}
        size = database.value("SELECT pg_size_pretty(pg_database_size(current_database()))")
    results = {"rows": options.rows, "runs": options.runs, "size": size, "modes": modes}
    show(results)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
