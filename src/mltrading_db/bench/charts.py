"""The pictures of a result, as SVG that takes the colour of the page's text."""

from __future__ import annotations

import io
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from matplotlib.typing import RcKeyType

from mltrading_db.bench.figures import HEADINGS, Result, claimed, total
from mltrading_db.report import MEGABYTE, figures, megabytes, milliseconds

# Readable on white and on black.
COLOURS = {
    "primary_key": "#8a8f98",
    "unique": "#b5729c",
    "carried": "#d98e04",
    "guide": "#3d8bd4",
    "lean": "#1fa37a",
    # The states of a database that is measured as it is.
    "undeclared": "#d98e04",
    "declared": "#3d8bd4",
}
# Stands for the page's own colour of text until the picture is put into it.
INK = "#010203"
# What matplotlib would write of itself.
METADATA = ("Date", "Creator", "Format", "Type")
STYLE: dict[RcKeyType, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mltrading_db",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


def svg(figure: Figure) -> str:
    """A figure as an element for the page, transparent."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", metadata=dict.fromkeys(METADATA))
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")


def bars(axes: Axes, title: str, values: dict[str, float], labels: dict[str, str], *, log: bool = False) -> None:
    """One bar a variant, with its value behind it."""
    names = list(HEADINGS) if HEADINGS.keys() <= values.keys() else list(values)
    axes.barh(range(len(names)), [values[name] for name in names], color=[COLOURS[name] for name in names], height=0.7)
    axes.set_yticks(range(len(names)), [HEADINGS.get(name, name) for name in names])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_title(title)
    if log:
        axes.set_xscale("log")
        axes.set_xlim(min(values.values()) / 3, max(values.values()) * 8)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.tick_params(axis="x", which="both", length=0, labelsize=8)
        axes.grid(axis="x", color=INK, alpha=0.15)
        axes.set_axisbelow(True)
        axes.set_xlabel("powers of ten", fontsize=8)
    else:
        axes.xaxis.set_visible(False)
        axes.set_xlim(0, max(values.values()) * 1.3)
    for position, name in enumerate(names):
        axes.annotate(labels[name], (values[name], position), xytext=(4, 0), textcoords="offset points", va="center")


def before_and_after(result: Result) -> str:
    """The guide's query and the dashboard load: times and pages, on scales of powers of ten."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 4.9), layout="constrained")
        axes = figure.subplots(2, 2)
        for row, (claim, title) in enumerate((("symbol_date", "Symbol and date"), ("dashboard", "Dashboard load"))):
            reads = claimed(result, claim)
            ms = {name: total(reads, name, "ms") for name in HEADINGS}
            pages = {name: total(reads, name, "buffers") for name in HEADINGS}
            texts = {name: milliseconds(value) for name, value in ms.items()}
            bars(axes[row][0], f"{title}: time in the server", ms, texts, log=True)
            texts = {name: f"{value:,.0f}" for name, value in pages.items()}
            bars(axes[row][1], f"{title}: 8 kB pages", pages, texts, log=True)
        return svg(figure)


def pages_of_reads(result: Result) -> str:
    """The pages of every read, a dot a variant."""
    with rc_context(STYLE):
        reads = result["reads"]
        figure = Figure(figsize=(9, 0.3 * len(reads) + 1), layout="constrained")
        axes = figure.subplots()
        for lane, (name, heading) in enumerate(HEADINGS.items()):
            # Side by side where they are equal.
            shift = 0.13 * (lane - (len(HEADINGS) - 1) / 2)
            points = [(r["variants"][name]["buffers"], n + shift) for n, r in enumerate(reads) if name in r["variants"]]
            x, y = zip(*points, strict=True)
            axes.scatter(x, y, s=30, color=COLOURS[name], label=heading, alpha=0.9, linewidths=0)
        axes.set_xscale("log")
        axes.set_yticks(range(len(reads)), [read["title"] for read in reads])
        axes.invert_yaxis()
        axes.grid(axis="both", color=INK, alpha=0.15)
        axes.tick_params(length=0)
        axes.set_xlabel("8 kB pages, powers of ten")
        axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=len(HEADINGS))
        return svg(figure)


def stacked(axes: Axes, variants: list[dict[str, Any]]) -> None:
    """The sizes of the indexes, the largest at the axis, a thin line between them."""
    sums = {one["name"]: sum(index["bytes"] for index in one["indexes"]) / MEGABYTE for one in variants}
    bars(axes, "Indexes", sums, {name: megabytes(size * MEGABYTE) for name, size in sums.items()})
    for position, name in enumerate(HEADINGS):
        (indexes,) = (one["indexes"] for one in variants if one["name"] == name)
        edge = 0.0
        for size in sorted((index["bytes"] / MEGABYTE for index in indexes), reverse=True):
            edge += size
            axes.vlines(edge, position - 0.35, position + 0.35, color=INK, alpha=0.5, linewidth=0.8)


def costs(result: Result) -> str:
    """What the indexes cost: rows/s, WAL a row, size."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 2.1), layout="constrained")
        rates, wal, size = figure.subplots(1, 3)
        written = result["ingest"]["variants"]
        values = {name: written[name]["rows_per_second"] for name in HEADINGS}
        bars(rates, "COPY, rows/s", values, {name: f"{value:,.0f}" for name, value in values.items()})
        values = {name: written[name]["wal_bytes_per_row"] for name in HEADINGS}
        bars(wal, "WAL bytes a row", values, {name: figures(value) for name, value in values.items()})
        stacked(size, result["variants"])
        for axes in (wal, size):
            axes.set_yticks([])
        return svg(figure)
