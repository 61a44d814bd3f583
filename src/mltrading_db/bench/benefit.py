"""What the optimisation bought, measured in a lab, as one page with a picture that needs nothing beside it."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from mltrading_db import report
from mltrading_db.bench.charts import STYLE, bars, svg
from mltrading_db.bench.page import rows


def picture(measurement: dict[str, Any]) -> str:
    """The guide's query and the dashboard load: times and pages in each state, on scales of powers of ten."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 3.9), layout="constrained")
        axes = figure.subplots(2, 2)
        for row, (claim, title) in enumerate((("symbol_date", "Symbol and date"), ("dashboard", "Dashboard load"))):
            queries = [query for query in measurement["queries"] if query["claim"] == claim]
            ms = {state: max(report.total(queries, state, "ms"), 0.001) for state in report.STATES}
            pages = {state: max(report.total(queries, state, "buffers"), 1) for state in report.STATES}
            times = {state: report.milliseconds(value) for state, value in ms.items()}
            counts = {state: f"{value:,.0f}" for state, value in pages.items()}
            bars(axes[row][0], f"{title}: time in the server", ms, times, log=True)
            bars(axes[row][1], f"{title}: 8 kB pages", pages, counts, log=True)
        return svg(figure)


def page(measurement: dict[str, Any]) -> str:
    """The page."""
    environment = Environment(loader=PackageLoader("mltrading_db.bench", "."), autoescape=True, trim_blocks=True)
    return environment.get_template("benefit.html.j2").render(
        heading=report.heading(measurement),
        picture=Markup(picture(measurement)),  # noqa: S704 - made by matplotlib from numbers and our own titles
        reads=rows(report.reads(measurement)),
        costs=rows(report.costs(measurement)),
        indexes=rows(report.indexes(measurement)),
    )
