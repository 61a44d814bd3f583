"""What the hosts answered, as one table for a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mltrading_db.health.answers import PROBLEMS, Environment, Host

# What a terminal has at least; a table is no wider, as far as one host fits.
WIDTH = 80
# The width of a line that nothing breaks.
UNBROKEN = 10_000
# Between two columns of a table.
GAP = 2
STYLES = {"critical": "bold red", "unknown": "bold magenta", "warning": "bold yellow", "ok": "green"}
WORDS = {"not_configured": "-", "no_data": "no data"}


def cell(host: Host, name: str) -> Text:
    """What one host says of one check: its value, after the state where a person is needed."""
    check = host.check(name)
    if check is None or host.problem:
        return Text("" if check is None else "?")
    state = check["state"]
    if state in WORDS:
        return Text("never" if check["shown"] == "never" else WORDS[state], style="dim")
    value = "ok" if check["value"] is None or check["name"] == "server" else check["shown"]
    if state in PROBLEMS:
        value = state.upper() if state == "unknown" else f"{state.upper()} {check['shown']}"
    return Text(value, style=STYLES.get(state, ""))


def summary(environment: Environment) -> str:
    """The first line: the state of all together, and the worst problem."""
    problems = environment.problems()
    counts = ", ".join(f"{sum(one.state == state for one in problems)} {state}" for state in PROBLEMS)
    first = f": {problems[0].host} {problems[0].name}: {problems[0].text}" if problems else ""
    return f"{environment.state.upper()} - {environment.name}, {len(environment.hosts)} hosts, {counts}{first}"


def matrices(environment: Environment) -> list[Table]:
    """A line a check, a column a host; checks that only inform are left out.

    No cell is broken, as a time or a path in two lines cannot be read: hosts that do not fit beside the others have a
    table of their own below.
    """
    informs = {check["name"] for host in environment.hosts for check in host.checks if check["state"] == "info"}
    names = [name for name in environment.check_names() if name not in informs]
    first = max(map(len, ["check", *names]))
    tables: list[list[tuple[str, list[Text]]]] = []
    left = 0
    for host in environment.hosts:
        heading = f"{host.name}\n{host.role if not host.version else f'{host.role}, {host.version}'}"
        cells = [cell(host, name) for name in names]
        width = GAP + max([*map(len, heading.splitlines()), *(one.cell_len for one in cells)])
        if width > left:
            tables.append([])
            left = WIDTH - first
        tables[-1].append((heading, cells))
        left -= width
    return [table_of(names, columns) for columns in tables]


def table_of(names: list[str], columns: list[tuple[str, list[Text]]]) -> Table:
    """One table, of hosts that stand beside each other."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    for heading in ("check", *(heading for heading, _ in columns)):
        table.add_column(heading, no_wrap=True)
    for number, name in enumerate(names):
        table.add_row(name, *(cells[number] for _, cells in columns))
    return table


def shown(environment: Environment) -> RenderableType:
    """The summary, the table, and what to do."""
    parts: list[RenderableType] = [Text(summary(environment)), *matrices(environment)]
    problems = environment.problems()
    if problems:
        parts.append(Text("What needs a person", style="bold"))
    for number, problem in enumerate(problems):
        if number and problems[number - 1].cause and not problem.cause:
            parts.append(Text("What may follow from it", style="bold"))
        head = Text(f"{problem.state.upper()} {problem.host} {problem.name}: ", style=STYLES[problem.state])
        parts.append(head + Text(problem.text, style="default"))
        parts.append(Text(f"  {problem.do}"))
    return Group(*parts)
