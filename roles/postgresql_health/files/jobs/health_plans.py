"""Whether queries that are known get the plan that is expected of them.

A plan is compared with what its query declares: `indexes` (any serves; none: no index is asked for; missing: any index
is good), `index_only` (the table is not visited), and `buffers` (the most 8 kB pages) or, where the answer grows with
the data, `pages_per_row` (of the rows that are taken from tables and indexes). What takes a few pages is good however
it is read: a table that is nearly empty is scanned.
"""

from __future__ import annotations

import json
import time
from typing import Any

from health_checks import STATE, Check, Result
from health_server import Server, psycopg2

STORED = STATE / "health" / "plans.json"
# A plan that reads less is good. Of an index-only scan's rows, the share that may visit the table: the newest, which
# VACUUM has not seen. A stored result that is older is none.
FEW_PAGES, VISITS, OLDEST = 64, 0.5, 8 * 86400
TIMEOUT = "30s"


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """A plan's nodes, the root first."""
    return [plan] + [node for child in plan.get("Plans", []) for node in nodes(child)]


def deviations(plan: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """In what a plan that was run differs from what is expected, a sentence each."""
    found = nodes(plan)
    pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    taken = sum(node["Actual Rows"] * node["Actual Loops"] for node in found if "Relation Name" in node)
    per_row = expected.get("pages_per_row")
    limit = expected.get("buffers") or (round(FEW_PAGES + per_row * taken) if per_row else None)
    said = [f"reads {pages} pages, expected at most {limit}"] if limit and pages > limit else []
    if pages <= FEW_PAGES:
        return said
    used = sorted({node["Index Name"] for node in found if "Index Name" in node})
    wanted = expected.get("indexes")
    scanned = sorted({node["Relation Name"] for node in found if node["Node Type"] == "Seq Scan"})
    if wanted != [] and not used:
        said.append(f"no index is used, {', '.join(scanned) or 'something'} is scanned")
    elif wanted and not set(used) <= set(wanted):
        said.append(f"uses {', '.join(sorted(set(used) - set(wanted)))}, expected {' or '.join(wanted)}")
    index_only = [node for node in found if node["Node Type"] == "Index Only Scan"]
    if expected.get("index_only") and used and not index_only:
        said.append("visits the table, expected an index-only scan")
    fetches = sum(node.get("Heap Fetches", 0) for node in index_only)
    rows = sum(node["Actual Rows"] * node["Actual Loops"] for node in index_only)
    if expected.get("index_only") and fetches > VISITS * max(rows, 1):
        said.append(f"{fetches} visits to the table for {rows:.0f} rows: it needs a VACUUM")
    return said


def explained(check: Check, server: Server) -> list[dict[str, Any]]:
    """Run each query of a check, and say how many ways its plan differs from the one expected."""
    found = []
    for query in check.queries:
        try:
            text = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {query['sql']}"
            answer = server.ask(text, check.database, check.role, TIMEOUT)[0]["QUERY PLAN"][0]
        except psycopg2.errors.QueryCanceled:
            found.append({"item": query["name"], "value": 1, "detail": f"takes longer than {TIMEOUT}", "ms": None})
            continue
        said, plan = deviations(answer["Plan"], query), answer["Plan"]
        found.append({
            "item": query["name"], "value": len(said), "detail": "; ".join(said),
            "ms": round(answer["Execution Time"], 3), "buffers": plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
            "indexes": ", ".join(sorted({node["Index Name"] for node in nodes(plan) if "Index Name" in node})),
        })  # fmt: skip
    return found


def store(when: float, results: list[Result]) -> int:
    """Keep the rows of the checks of plans for later runs; returns the exit code."""
    plans = [result for result in results if result.check.queries]
    if not plans:
        print("no check of this host is of plans")
        return 0
    failed = [result for result in plans if result.state == "unknown"]
    for result in failed:
        print(f"{result.check.name}: {result.text}")
    if failed:
        return 1
    kept = {"time": int(when), "checks": {result.check.name: list(result.rows) for result in plans}}
    partial = STORED.with_suffix(".partial")
    partial.write_text(json.dumps(kept) + "\n", encoding="utf-8")
    partial.replace(STORED)
    print("; ".join(f"{result.check.name}: {result.state}, {result.text}" for result in plans))
    return 0


def read_stored(check: Check) -> tuple[list[dict[str, Any]], str]:
    """The rows that the job kept, and when that was; raises where they are too old."""
    if not STORED.exists():
        return [], ""
    kept = json.loads(STORED.read_text(encoding="utf-8"))
    if time.time() - kept["time"] > OLDEST:
        raise RuntimeError(f"{STORED} is older than a week: see the job health_plans")
    rows = [{name: row[name] for name in row if name != "state"} for row in kept["checks"].get(check.name, [])]
    return rows, time.strftime(", as of %Y-%m-%d %H:%M UTC", time.gmtime(kept["time"]))
