"""Two results side by side.

Pages, WAL, sizes and statements of one run can be held against those of another, as they do not move with the machine's
load. Times cannot: of them the ratios within each run are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mltrading_db.bench.figures import HEADINGS, Result, claimed, index_bytes, total
from mltrading_db.report import figures, megabytes

TOOLS = ("postgresql_optimization", "postgresql_idx")
# A change of this share is worth a mark: of what is exact, and of a ratio of times.
EXACT, TIMED = 0.05, 0.3


@dataclass(frozen=True)
class Line:
    """One value of both results; `less_is_better` says which way is down."""

    what: str
    first: float
    second: float
    unit: str = ""
    less_is_better: bool = True
    notable: float = EXACT

    @property
    def change(self) -> float:
        """The share by which the second differs from the first."""
        if self.first == 0:
            return 0.0 if self.second == 0 else float("inf")
        return self.second / self.first - 1

    @property
    def verdict(self) -> str:
        """`better`, `worse` or nothing."""
        if abs(self.change) < self.notable:
            return ""
        return "better" if (self.change < 0) == self.less_is_better else "worse"

    def text(self, value: float) -> str:
        """A value with its unit."""
        return megabytes(value) if self.unit == "bytes" else f"{figures(value)}{self.unit}"


def differences(first: Result, second: Result) -> list[str]:
    """What makes the two hard to compare: other data, another server, other settings, another machine."""
    pairs = {
        "rows": [one["data"]["rows"] for one in (first, second)],
        "symbols": [one["data"]["symbols"] for one in (first, second)],
        "PostgreSQL": [one["server"]["version"] for one in (first, second)],
        "processors": [one["machine"]["processors"] for one in (first, second)],
        "processor": [one["machine"]["processor"] for one in (first, second)],
    }
    settings = [one["server"]["settings"] for one in (first, second)]
    for name in sorted(settings[0] | settings[1]):
        pairs[name] = [one.get(name, "not set") for one in settings]
    return [f"{name}: {a} / {b}" for name, (a, b) in pairs.items() if a != b]


def _of_indexes(first: Result, second: Result) -> list[Line]:
    lines = []
    for read in first["reads"]:
        other = next((one for one in second["reads"] if one["name"] == read["name"]), None)
        for variant in HEADINGS:
            if other and variant in read["variants"] and variant in other["variants"]:
                before, after = (one["variants"][variant]["buffers"] for one in (read, other))
                lines.append(Line(f"{read['title']}, {HEADINGS[variant]}: pages", before, after))
    for variant in HEADINGS:
        lines += _of_variant(variant, first, second)
    return lines


def _of_variant(variant: str, first: Result, second: Result) -> list[Line]:
    name, both = HEADINGS[variant], (first, second)
    written = [one["ingest"]["variants"] for one in both]
    wal = [one[variant]["wal_bytes_per_row"] for one in written]
    sizes = [index_bytes(one, variant) for one in both]
    shares = [one[variant]["share_of_unique"] for one in written]
    lines = [
        Line(f"WAL a row, {name}", wal[0], wal[1], unit=" B"),
        Line(f"Indexes, {name}", sizes[0], sizes[1], unit="bytes"),
        Line(f"COPY, share of unique's rate, {name}", shares[0], shares[1], less_is_better=False, notable=TIMED),
    ]
    for claim, title in (("symbol_date", "Symbol and date"), ("dashboard", "Dashboard load")):
        reads = [claimed(one, claim) for one in both]
        faster = [total(one, "primary_key", "ms") / total(one, variant, "ms") for one in reads]
        what = f"{title}, times faster than primary key, {name}"
        lines.append(Line(what, faster[0], faster[1], less_is_better=False, notable=TIMED))
    return lines


def _of_module(first: Result, second: Result) -> list[Line]:
    ours, theirs = ([one["module"][tool] for one in (first, second)] for tool in TOOLS)
    shares = [our["server_ms"] / their["server_ms"] for our, their in zip(ours, theirs, strict=True)]
    what = "A run with nothing to do"
    return [
        *(Line(f"{what}: {key}", ours[0][key], ours[1][key]) for key in ("statements", "connections")),
        Line(f"{what}: time in the server, of postgresql_idx's", shares[0], shares[1], notable=TIMED),
    ]


def compared(first: Result, second: Result) -> list[Line]:
    """Everything that both results have."""
    lines = []
    if "reads" in first and "reads" in second:
        lines += _of_indexes(first, second)
    if "module" in first and "module" in second:
        lines += _of_module(first, second)
    return lines


def shown(first: Result, second: Result, *, everything: bool) -> RenderableType:
    """The comparison: what differs notably, or everything."""
    lines, apart = compared(first, second), differences(first, second)
    same_data = all(first["data"][key] == second["data"][key] for key in ("rows", "symbols"))
    made = Table("", box=box.SIMPLE, pad_edge=False)
    for heading in (first["began"], second["began"], "change"):
        made.add_column(heading, justify="right", no_wrap=True)
    made.add_column("")
    listed = [line for line in lines if everything or line.verdict]
    for line in listed:
        verdict = line.verdict if same_data else ""
        style = {"better": "green", "worse": "red"}.get(verdict, "")
        change = f"{100 * line.change:+.1f} %"
        made.add_row(line.what, line.text(line.first), line.text(line.second), change, verdict, style=style)
    marked = sum(bool(line.verdict) for line in lines)
    said = [] if same_data else ["The data differ, so nothing is called better or worse."]
    return Group(
        *(["Measured under other conditions:", *(f"  {difference}" for difference in apart)] if apart else []),
        *said,
        f"{len(lines)} values compared, {marked} differ: pages, WAL and sizes by {100 * EXACT:g} % or more, ratios of"
        f" times within each run by {100 * TIMED:g} %.",
        *([made] if listed else []),
    )
