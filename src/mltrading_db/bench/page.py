"""A result as one page that needs nothing beside it."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from rich.table import Table
from rich.text import Text

from mltrading_db.bench import charts, tables
from mltrading_db.bench.figures import Result, targets


def plain(cell: object) -> str:
    """A cell's words."""
    return Text.from_markup(cell).plain if isinstance(cell, str) else str(cell)


def rows(table: Table) -> dict[str, list[Any]]:
    """What a table of the terminal says, as the page's template takes it: {head: [], body: [[]]}."""
    lines = zip(*(column.cells for column in table.columns), strict=True)
    return {
        "head": [plain(column.header) for column in table.columns],
        "body": [[plain(cell) for cell in line] for line in lines],
    }


def page(result: Result) -> str:
    """The page."""
    measured, parts = "reads" in result, {}
    if measured:
        parts = {
            "worth": rows(tables.worth(result)),
            "reads": rows(tables.reads(result)),
            "costs": rows(tables.costs(result)),
            "indexes": rows(tables.indexes(result)),
        }
    if "module" in result:
        parts["module"] = rows(tables.module(result))
    pictures = {
        name: Markup(draw(result)) if measured else ""  # noqa: S704 - made by matplotlib from numbers and our own titles
        for name, draw in (
            ("before_and_after", charts.before_and_after),
            ("pages_of_reads", charts.pages_of_reads),
            ("costs", charts.costs),
        )
    }
    environment = Environment(loader=PackageLoader("mltrading_db.bench", "."), autoescape=True, trim_blocks=True)
    return environment.get_template("page.html.j2").render(
        heading=tables.heading(result),
        targets=targets(result) if measured else [],
        appended=tables.appended(result) if measured else [],
        tables=parts,
        pictures=pictures,
        settings=result["server"]["settings"],
    )
