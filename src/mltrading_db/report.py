"""What the project prints for a person: tables made from what a playbook wrote as JSON.

Pure: `benefit` makes something that rich can print from a measurement, and `main` reads the file and prints it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table

WIDTH = 100
PAGE_BYTES = 8192
MEGABYTE = 1024**2
# From these on a time in ms is shown in seconds, and a number without a fraction.
SECOND, WHOLE = 1000, 100
STATES = ("primary_key", "undeclared", "declared")
# What the operations guide says of before and after, by the claim that a query stands for.
CLAIMS = {"symbol_date": "2.5 s -> 0.000 s", "dashboard": "5.2 s -> 1.1 s", "memory": "450 MB -> 135 MB"}


def figures(value: float) -> str:
    """A number in three figures, or as a whole number."""
    return f"{value:,.0f}" if value >= WHOLE else f"{value:.3g}"


def milliseconds(value: float) -> str:
    """A time given in ms, in seconds from one on."""
    return f"{value / SECOND:.2f} s" if value >= SECOND else f"{figures(value)} ms"


def megabytes(count: float) -> str:
    """Bytes in MB of 1024 * 1024."""
    return f"{figures(count / MEGABYTE)} MB"


def ratio(before: float, after: float) -> str:
    """How many times less; empty where there is nothing to divide by."""
    return f"{figures(before / after)} x" if after > 0 else ""


def total(queries: Iterable[dict[str, Any]], state: str, value: str) -> float:
    """The sum of one value over queries in one state."""
    return sum(float(query["states"][state][value]) for query in queries)


def row(title: str, queries: list[dict[str, Any]], claim: str) -> list[str]:
    """One row of the table: time and pages in each state, how many times less, and what the guide says."""
    ms = {state: total(queries, state, "ms") for state in STATES}
    pages = {state: total(queries, state, "buffers") for state in STATES}
    cells = [f"{milliseconds(ms[state])}\n{pages[state]:,.0f}" for state in STATES]
    less = "\n".join(ratio(value["primary_key"], value["declared"]) for value in (ms, pages))
    return [title, *cells, less, claim]


def reads(measurement: dict[str, Any]) -> Table:
    """The table of reads: the guide's query, the dashboard's reads and their sum."""
    table = Table(box=box.SIMPLE, width=WIDTH, pad_edge=False, show_lines=False)
    table.add_column("time, and 8 kB pages", ratio=3)
    for heading in ("primary key\nalone", "without the\ndeclaration", "as\ndeclared", "times\nless"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("the guide\nsays", no_wrap=True)
    queries = measurement["queries"]
    dashboard = [query for query in queries if query["claim"] == "dashboard"]
    for query in queries:
        if query["claim"] != "dashboard":
            table.add_row(*row(query["title"], [query], CLAIMS[query["claim"]]), end_section=True)
    for query in dashboard:
        table.add_row(*row(query["title"], [query], ""), end_section=query is dashboard[-1])
    table.add_row(*row(f"Dashboard load, all {len(dashboard)}", dashboard, CLAIMS["dashboard"]), style="bold")
    memory = [megabytes(PAGE_BYTES * total(dashboard, state, "buffers")) for state in STATES]
    less = ratio(total(dashboard, "primary_key", "buffers"), total(dashboard, "declared", "buffers"))
    table.add_row("Memory read by that load", *memory, less, CLAIMS["memory"])
    return table


def costs(measurement: dict[str, Any]) -> Table:
    """The table of what each state costs a writer and a refresh."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("what it costs")
    for heading in ("primary key\nalone", "without the\ndeclaration", "as\ndeclared"):
        table.add_column(heading, justify="right")
    states = [measurement["costs"][state] for state in STATES]
    table.add_row("inserted rows/s", *(f"{state['rows_per_second']:,}" for state in states))
    table.add_row("WAL bytes a row", *(f"{state['wal_bytes_a_row']:,}" for state in states))
    table.add_row("refresh of the summary", *(milliseconds(state["refresh_ms"]) for state in states))
    return table


def indexes(measurement: dict[str, Any]) -> Table:
    """The table of indexes with their sizes, the declared ones first."""
    found = sorted(measurement["indexes"], key=lambda index: (not index["declared"], -index["bytes"], index["name"]))
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("index of feature_engineered_data", no_wrap=True)
    table.add_column("size", justify="right")
    table.add_column("build", justify="right")
    table.add_column("declared")
    for index in found:
        built = index["build_ms"]
        build = "" if built is None else milliseconds(built)
        table.add_row(index["name"], megabytes(index["bytes"]), build, "yes" if index["declared"] else "")
    return table


def heading(measurement: dict[str, Any]) -> str:
    """What was measured."""
    data = measurement["data"]
    return (
        f"PostgreSQL {measurement['server']}, {data['rows']:,} hourly rows of {data['symbols']} symbols, "
        f"table {megabytes(measurement['table_bytes'])}."
    )


def benefit(measurement: dict[str, Any]) -> RenderableType:
    """What the optimisation bought: the reads before and after, and what the indexes take."""
    declared = [index for index in measurement["indexes"] if index["declared"]]
    fetches = total(measurement["queries"], "declared", "heap_fetches")
    planning = max(query["states"]["declared"]["planning_ms"] for query in measurement["queries"])
    return Group(
        heading(measurement),
        "Warm medians of execution on the server, measured side by side in one run.",
        reads(measurement),
        costs(measurement),
        f"Heap fetches of index-only scans: {fetches:,.0f}. Planning adds up to {milliseconds(planning)} to a query.",
        f"The {len(declared)} declared indexes take {megabytes(sum(index['bytes'] for index in declared))}.",
        indexes(measurement),
    )


def compared(first: dict[str, Any], second: dict[str, Any]) -> Table:
    """Two measurements side by side: pages, WAL and sizes as they are, times as ratios within each."""

    def line(what: str, one: float, other: float, show: Callable[[float], str] = "{:,.0f}".format) -> None:
        change = f"{(other / one - 1) * 100:+.0f} %" if one else ""
        table.add_row(what, show(one), show(other), change)

    def faster(measurement: dict[str, Any]) -> float:
        dashboard = [query for query in measurement["queries"] if query["claim"] == "dashboard"]
        return total(dashboard, "primary_key", "ms") / max(total(dashboard, "declared", "ms"), 0.001)

    def size(measurement: dict[str, Any]) -> float:
        return float(sum(index["bytes"] for index in measurement["indexes"]))

    table = Table(box=box.SIMPLE, pad_edge=False)
    for heading in ("as declared", "first", "second", "change"):
        table.add_column(heading, justify="left" if heading == "as declared" else "right")
    known = {query["title"]: query for query in second["queries"]}
    for query in first["queries"]:
        if query["title"] in known:
            pages = [one["states"]["declared"]["buffers"] for one in (query, known[query["title"]])]
            line(f"pages: {query['title']}", pages[0], pages[1])
    line("dashboard, times faster than the primary key alone", faster(first), faster(second), figures)
    wal = [one["costs"]["declared"]["wal_bytes_a_row"] for one in (first, second)]
    line("WAL bytes a row", wal[0], wal[1])
    rates = [one["costs"] for one in (first, second)]
    shares = [one["declared"]["rows_per_second"] / one["primary_key"]["rows_per_second"] for one in rates]
    line("share of the rate with the primary key alone", shares[0], shares[1], figures)
    line("indexes", size(first), size(second), megabytes)
    return table


def main(arguments: list[str] | None = None) -> None:
    """Print a report: `python -m mltrading_db.report benefit FILE`, or of two, `compare FILE FILE`."""
    parser = argparse.ArgumentParser(prog="mltrading_db.report", description="Print a report.")
    commands = parser.add_subparsers(dest="report", required=True)
    commands.add_parser("benefit", help="print a measurement").add_argument("file", type=Path)
    commands.add_parser("page", help="write a measurement's page beside it").add_argument("file", type=Path)
    comparing = commands.add_parser("compare", help="hold one measurement against another")
    comparing.add_argument("file", type=Path)
    comparing.add_argument("second", type=Path)
    options = parser.parse_args(arguments)
    console = Console(width=WIDTH, highlight=False)
    found = json.loads(options.file.read_text(encoding="utf-8"))
    if options.report == "benefit":
        console.print(benefit(found))
    elif options.report == "page":
        # Matplotlib takes its time to import.
        from mltrading_db.bench.benefit import page  # noqa: PLC0415

        options.file.with_suffix(".html").write_text(page(found), encoding="utf-8")
    else:
        console.print(compared(found, json.loads(options.second.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
