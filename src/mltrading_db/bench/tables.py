"""A result as tables for the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mltrading_db.bench.figures import (
    DECLARED,
    HEADINGS,
    Read,
    Result,
    claimed,
    claims,
    how,
    index_bytes,
    targets,
    total,
)
from mltrading_db.report import megabytes, milliseconds, ratio

WIDTH = 110
REFRESHES = {
    "first_ms": "Refresh of the summary, the first",
    "plain_ms": "the same again",
    "concurrently_ms": "the same CONCURRENTLY",
}


def table(first: str, *headings: str) -> Table:
    """An empty table: words on the left, numbers on the right."""
    made = Table(box=box.SIMPLE, width=WIDTH, pad_edge=False)
    made.add_column(first, ratio=6)
    for heading in headings:
        made.add_column(heading, justify="right", ratio=2)
    return made


def cell(read: Read, variant: str) -> str:
    """One read in one variant: time, pages, and how."""
    if variant not in read["variants"]:
        return "no view"
    one = read["variants"][variant]
    return f"{milliseconds(one['ms'])}\n{one['buffers']:,}\n{how(one)}"


def reads(result: Result) -> Table:
    """Every read in every variant."""
    made = table("time, 8 kB pages, how", *HEADINGS.values())
    for group in ("guide", "dashboard"):
        found = [read for read in result["reads"] if read["group"] == group]
        for read in found:
            made.add_row(read["title"], *(cell(read, variant) for variant in HEADINGS), end_section=read is found[-1])
    return made


def worth(result: Result) -> Table:
    """What the guide claims, what was found, and how many times less that is."""
    made = table("what, and what the guide says", *HEADINGS.values())
    for what, words, texts in claims(result):
        made.add_row(f"{what}\n[dim]{words}[/]", *texts, end_section=True)
    for claim, title in (("symbol_date", "Symbol and date"), ("dashboard", "Dashboard load")):
        found = claimed(result, claim)
        for before in ("primary_key", "unique"):
            name = HEADINGS[before].removeprefix("+ ")
            for value, less in (("ms", "faster than"), ("buffers", "fewer pages than")):
                row = [fewer(found, before, variant, value) for variant in HEADINGS]
                made.add_row(f"{title}, {less} {name}", *row)
    return made


def fewer(reads: list[Read], before: str, variant: str, value: str) -> str:
    """How many times less of a value a variant takes than one that has fewer indexes; nothing for the others."""
    order = list(HEADINGS)
    if order.index(variant) <= order.index(before):
        return ""
    return ratio(total(reads, before, value), total(reads, variant, value))


def costs(result: Result) -> Table:
    """What the indexes cost: size, builds, writes, refreshes."""
    made = table("what the indexes cost", *HEADINGS.values())
    written, refreshed = result["ingest"]["variants"], result["refresh"]
    sizes = {variant: index_bytes(result, variant) for variant in HEADINGS}
    made.add_row("Indexes of the table", *(megabytes(sizes[variant]) for variant in HEADINGS))
    built = {one["name"]: sum(index["build_seconds"] or 0 for index in one["indexes"]) for one in result["variants"]}
    made.add_row("Their builds", *(f"{built[variant]:.1f} s" for variant in HEADINGS), end_section=True)
    made.add_row("COPY, rows/s", *(f"{written[variant]['rows_per_second']:,.0f}" for variant in HEADINGS))
    shares = (f"{written[variant]['share_of_unique']:.2f}" for variant in HEADINGS)
    made.add_row("of the rate with the unique constraint", *shares)
    made.add_row("WAL bytes a row", *(f"{written[v]['wal_bytes_per_row']:,.0f}" for v in HEADINGS))
    after = (f"{written[v]['wal_bytes_per_row_after_checkpoint']:,.0f}" for v in HEADINGS)
    made.add_row("the same, just after a checkpoint", *after, end_section=True)
    for key, title in REFRESHES.items():
        made.add_row(title, *(milliseconds(refreshed[variant][key]) for variant in HEADINGS))
    return made


def indexes(result: Result) -> Table:
    """The indexes, each with its size and the time of its build, once."""
    made = Table(box=box.SIMPLE, width=WIDTH, pad_edge=False)
    made.add_column("index", ratio=4)
    for heading in ("size", "build"):
        made.add_column(heading, justify="right", ratio=1)
    made.add_column("in", ratio=4)
    found: dict[tuple[str, str], tuple[dict[str, Any], list[str]]] = {}
    for variant in result["variants"]:
        for index in variant["indexes"]:
            kept = found.setdefault((index["name"], index["definition"]), (index, []))
            kept[1].append(HEADINGS[variant["name"]].removeprefix("+ "))
    for index, variants in found.values():
        seconds = "" if index["build_seconds"] is None else f"{index['build_seconds']:.1f} s"
        made.add_row(index["name"], megabytes(index["bytes"]), seconds, ", ".join(variants))
    return made


def module(result: Result) -> Table:
    """A run with nothing to do, of both tools."""
    made = Table("a run that finds nothing to do", box=box.SIMPLE, width=WIDTH, pad_edge=False)
    for tool in result["module"]:
        made.add_column(tool, justify="right")
    rows = {
        "tasks": "{tasks:.0f}",
        "connections": "{connections:.0f}",
        "statements": "{statements:.0f}",
        "in the server": "{server_ms:.1f} ms",
        "the tasks together": "{task_seconds:.2f} s",
        "ansible-playbook": "{playbook_seconds:.2f} s",
    }
    for title, shape in rows.items():
        made.add_row(title, *(shape.format(**one) for one in result["module"].values()))
    return made


def goals(result: Result) -> Table:
    """The targets."""
    made = Table("target", "wanted", "found", "", box=box.SIMPLE, width=WIDTH, pad_edge=False)
    for target in targets(result):
        style = "green" if target.reached else "red"
        made.add_row(target.what, target.wanted, target.found, f"[{style}]{target.verdict}[/]")
    return made


def appended(result: Result) -> list[str]:
    """What an append does to the guide's query until VACUUM has run, a line a declaration."""
    lines = []
    for variant in DECLARED:
        one = result["after_append"][variant]
        before, after = one["before"], one["after"]
        lines.append(
            f"After an append without VACUUM, {HEADINGS[variant]}: symbol and date {before['buffers']:,} pages with"
            f" {before['heap_fetches']:,} heap fetches; after VACUUM ({one['vacuum_seconds']} s) {after['buffers']:,}"
            f" with {after['heap_fetches']:,}."
        )
    return lines


def heading(result: Result) -> list[str]:
    """What was measured, on what."""
    data, machine, settings = result["data"], result["machine"], result["server"]["settings"]
    return [
        f"PostgreSQL {result['server']['version']}, {data['rows']:,} hourly rows of {data['symbols']:,} symbols up to "
        f"{data['end_time']}, table {megabytes(data['table_bytes'])}, shared_buffers {settings['shared_buffers']}.",
        f"{machine['processors']} processors ({machine['processor']}), {machine['memory_bytes'] / 1024**3:.0f} GiB, "
        f"{machine['system']}. Began {result['began']} at commit {result['commit']}, took "
        f"{result['seconds'] / 60:.0f} minutes.",
    ]


def shown(result: Result) -> RenderableType:
    """The whole result."""
    parts: list[RenderableType] = ["", *heading(result)]
    if "reads" in result:
        parts += ["Warm medians in the server; variants side by side, on the same rows and pages.", reads(result)]
        parts += [worth(result), costs(result), *appended(result), indexes(result)]
    if "module" in result:
        parts += [
            module(result),
            "postgresql_idx compares names alone, cannot say INCLUDE, and does the nine indexes; the module's task",
            "compares definitions and is the whole declaration: indexes, view, statistics and storage parameters.",
        ]
    if "reads" in result:
        parts += [goals(result)]
    return Group(*parts)
