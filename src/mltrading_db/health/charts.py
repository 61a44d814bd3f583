"""The pictures of the page, as SVG that takes the page's colours, in light and in dark."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from matplotlib import dates, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.typing import RcKeyType

from mltrading_db.health.answers import Row
from mltrading_db.report import figures

# Stand for the page's own colours until the picture is put into it.
INK, LINE, SERIES = "#010203", "#040506", ("#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b05", "#0a0b06")
PAGE_COLOURS = {INK: "var(--muted)", LINE: "var(--line)"} | {
    colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, 1)
}
STYLE: dict[RcKeyType, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.prop_cycle": "cycler('color', [" + ", ".join(f"'{colour}'" for colour in SERIES) + "])",
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "lines.linewidth": 2,
    "xtick.color": INK,
    "ytick.color": INK,
    "ytick.left": False,
    "xtick.major.size": 3,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
WIDTH, HEIGHT = 5.4, 2.3
# Letters of a legend that fit beside each other, and how many times higher a level may be to be drawn.
LEGEND_LETTERS, NEAR = 62, 3
# The height of a line of a legend.
LEGEND_LINE = 0.19
HOUR, DAY, MINUTE = 3600, 86400, 60
Points = list[tuple[float, float]]


def moment(seconds: float) -> float:
    """A time in seconds as the axis has it, in days."""
    return seconds / DAY


@contextmanager
def picture(label: str, height: float = HEIGHT) -> Iterator[tuple[Axes, list[str]]]:
    """A figure's axes to draw on; the list holds its SVG when the block ends. `label` is for who cannot see it."""
    done: list[str] = []
    style: dict[RcKeyType, Any] = {**STYLE, "svg.hashsalt": label}
    with rc_context(style):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure.subplots(), done
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    for stands_for, colour in PAGE_COLOURS.items():
        text = text.replace(stands_for, colour)
    done.append(text)


def bytes_text(value: float, _position: object = None) -> str:
    """Bytes for a person."""
    for name, size in (("GB", 1024**3), ("MB", 1024**2), ("kB", 1024)):
        if abs(value) >= size:
            return f"{figures(value / size)} {name}"
    return f"{value:.0f} B"


def seconds_text(value: float, _position: object = None) -> str:
    """Seconds for a person."""
    for name, size in (("d", DAY), ("h", HOUR), ("min", MINUTE)):
        if abs(value) >= 2 * size:
            return f"{figures(value / size)} {name}"
    return f"{value:.2g} s"


def count_text(value: float, _position: object = None) -> str:
    """A number for a person: 12 k, 3.4 M."""
    for name, size in (("M", 1_000_000), ("k", 1000)):
        if abs(value) >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:.3g}"


def percent_text(value: float, _position: object = None) -> str:
    """A share in percent."""
    return f"{value:.3g} %"


def ms_text(value: float, _position: object = None) -> str:
    """Milliseconds for a person."""
    return f"{value / 1000:.3g} s" if value >= 1000 else f"{value:.3g} ms"  # noqa: PLR2004


FORMATS = {
    "bytes": bytes_text, "seconds": seconds_text, "count": count_text, "%": percent_text, "ms": ms_text, "": count_text,
}  # fmt: skip


# The units of an axis, the largest first, and what a smaller value is in.
SCALES = {
    "bytes": ((1024**3, "GB"), (1024**2, "MB"), (1024, "kB")),
    "seconds": ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")),
    "ms": ((1000, "s"),),
}
SMALLEST = {"bytes": "B", "seconds": "s", "": "count"}


def time_axis(axes: Axes) -> None:
    """Times below, few and short."""
    locator = dates.AutoDateLocator(minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
    days = ["%Y", "%b", "%b %-d", "%H:%M", "%H:%M", "%H:%M"]
    formatter = dates.ConciseDateFormatter(  # type: ignore[no-untyped-call]
        locator, formats=days, zero_formats=["", "%Y", "%b %-d", "%b %-d", "%H:%M", "%H:%M"], show_offset=False
    )
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(formatter)
    axes.yaxis.set_major_locator(MaxNLocator(4))


def show_times(axes: Axes, times: Collection[float]) -> None:
    """Have the axis reach over these times, in days, and an hour at least: of one point it would be years."""
    first, last = min(times), max(times)
    room = max(0.02 * (last - first), (HOUR / DAY - (last - first)) / 2)
    axes.set_xlim(first - room, last + room)
    time_axis(axes)


def legend(axes: Axes) -> None:
    """Above the picture, where it hides nothing, in as many columns as its names leave room for."""
    handles, names = axes.get_legend_handles_labels()
    axes.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns(names),
        borderaxespad=0.1,
        handlelength=1.2,
    )


def columns(names: Iterable[str]) -> int:
    """How many columns of a legend's names fit."""
    return max(1, LEGEND_LETTERS // (max(map(len, names), default=1) + 5))


def height_for(names: Collection[str]) -> float:
    """The height of a picture with these names in its legend, whose lines take no room from the lines below."""
    return HEIGHT + LEGEND_LINE * (-(-len(names) // columns(names)) - 1 if names else 0)


def scale(unit: str, highest: float) -> float:
    """What values are divided by, so that the ticks of the axis are round in the unit that a person reads."""
    least = 2 if unit == "seconds" else 1
    return next((size for size, _ in SCALES.get(unit, ()) if highest >= least * size), 1)


def tick(unit: str, divisor: float) -> FuncFormatter:
    """How a tick of such an axis is written."""
    name = next((name for size, name in SCALES.get(unit, ()) if size == divisor), "")
    return FuncFormatter(lambda value, _: f"{value:,.4g} {name or SMALLEST.get(unit, unit)}".removesuffix(" count"))


def lines(label: str, series: dict[str, Points], unit: str, level: float | None = None, *, below: bool = False) -> str:
    """Values over time, a line each; and the level at which they need a person, where it is near.

    Where less is worse, the axis begins a little under the least value instead of at nought.
    """
    values = [value for points in series.values() for _, value in points]
    highest, least = max(values, default=0), min(values, default=0)
    near = level is not None and (below or level <= NEAR * highest)
    top = max([highest, *([level] if near and level is not None else [])])
    divisor = scale(unit, top)
    with picture(label, height_for(series)) as (axes, done):
        for name, points in series.items():
            axes.plot(
                [moment(time) for time, _ in points], [value / divisor for _, value in points],
                marker="o" if len(points) == 1 else "", label=name,
            )  # fmt: skip
        if near and level is not None:
            axes.axhline(level / divisor, color=INK, linewidth=1, linestyle=(0, (3, 3)))
            axes.annotate(
                f"warning {FORMATS[unit](level)}", (0.005, level / divisor), xycoords=("axes fraction", "data"),
                xytext=(0, 3), textcoords="offset points", fontsize=8,
            )  # fmt: skip
        bottom = min([least, *([level] if level is not None else [])]) if below else 0
        room = 0.18 * (top - bottom) or 1
        axes.set_ylim((bottom - room) / divisor if below else 0, (top + room) / divisor)
        show_times(axes, [moment(time) for points in series.values() for time, _ in points])
        axes.yaxis.set_major_formatter(tick(unit, divisor))
        legend(axes)
    return done[0]


def hour_of(row: Row) -> float:
    """The hour of a row, as the axis has it."""
    return moment(datetime.fromisoformat(row["hour"]).timestamp())


def times_by_hour(rows: list[Row]) -> str:
    """The average and the 95th percentile of all operations together, by hour; weighted by their calls."""
    hours = sorted({hour_of(row) for row in rows})
    calls = {hour: [row for row in rows if hour_of(row) == hour] for hour in hours}
    average = [
        sum(row["average_ms"] * row["calls"] for row in calls[hour]) / sum(row["calls"] for row in calls[hour])
        for hour in hours
    ]
    slowest = [max(row["p95_ms"] for row in calls[hour]) for hour in hours]
    with picture("Query time by hour") as (axes, done):
        axes.bar(hours, average, width=0.8 / 24, label="average")
        axes.plot(hours, slowest, color=SERIES[1], marker="o", markersize=3, label="p95 of the slowest operation")
        axes.set_ylim(0, 1.08 * max([*average, *slowest]) or 1)
        show_times(axes, [hours[0] - HOUR / DAY, hours[-1] + HOUR / DAY])
        axes.yaxis.set_major_formatter(FuncFormatter(ms_text))
        legend(axes)
    return done[0]


def errors_by_hour(rows: list[Row], most: int = 5) -> str:
    """Errors by hour, the most frequent types apart."""
    totals: dict[str, int] = {}
    for row in rows:
        totals[row["error_type"]] = totals.get(row["error_type"], 0) + row["errors"]
    frequent = sorted(totals, key=lambda name: -totals[name])[:most]
    hours = sorted({hour_of(row) for row in rows})
    names = [*frequent, *(["others"] if len(totals) > most else [])]
    with picture("Errors by hour", height_for(names)) as (axes, done):
        below = [0] * len(hours)
        for name in names:
            counts = [
                sum(row["errors"] for row in rows if hour_of(row) == hour
                    and (row["error_type"] == name or (name == "others" and row["error_type"] not in frequent)))
                for hour in hours
            ]  # fmt: skip
            axes.bar(hours, counts, width=0.8 / 24, bottom=below, label=name)
            below = [low + count for low, count in zip(below, counts, strict=True)]
        # A bar whose top is the bottom of an empty one has no room above it otherwise.
        axes.set_ylim(0, 1.08 * max(below))
        show_times(axes, [hours[0] - HOUR / DAY, hours[-1] + HOUR / DAY])
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        legend(axes)
    return done[0]


def bars(label: str, values: list[tuple[str, float]], unit: str) -> str:
    """One bar a name, its value behind it."""
    with picture(label, 0.5 + 0.27 * max(len(values), 1)) as (axes, done):
        highest = max((value for _, value in values), default=0)
        positions = range(len(values))
        axes.barh(positions, [value for _, value in values], height=0.62)
        axes.set_yticks(positions, [name if len(name) <= 34 else f"{name[:33]}…" for name, _ in values])  # noqa: PLR2004
        axes.invert_yaxis()
        axes.set_xlim(0, 1.25 * highest or 1)
        axes.xaxis.set_visible(False)
        axes.grid(visible=False)
        axes.spines[["bottom"]].set_visible(False)
        axes.tick_params(axis="y", labelsize=9)
        for position, (_, value) in enumerate(values):
            axes.annotate(
                FORMATS[unit](value),
                (value, position),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
    return done[0]
