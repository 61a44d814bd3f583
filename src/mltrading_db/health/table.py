"""What the hosts answered, as one table for a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mltrading_db.health.answers import PROBLEMS, Environment, Host

WIDTH = 110
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


def matrix(environment: Environment) -> Table:
    """A line a check, a column a host; checks that only inform are left out."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("check", no_wrap=True)
    for host in environment.hosts:
        about = host.role if not host.version else f"{host.role}, {host.version}"
        table.add_column(f"{host.name}\n{about}", overflow="fold")
    informs = {check["name"] for host in environment.hosts for check in host.checks if check["state"] == "info"}
    for name in environment.check_names():
        if name not in informs:
            table.add_row(name, *(cell(host, name) for host in environment.hosts))
    return table


def shown(environment: Environment) -> RenderableType:
    """The summary, the table, and what to do."""
    parts: list[RenderableType] = [Text(summary(environment)), matrix(environment)]
    problems = environment.problems()
    if problems:
        parts.append(Text("What needs a person", style="bold"))
    for number, problem in enumerate(problems):
        if number and problems[number - 1].cause and not problem.cause:
            parts.append(Text("What may follow from it", style="bold"))
        head = Text(f"{problem.state.upper()} {problem.host} {problem.name}: ", style=STYLES[problem.state])
        parts.append(head + Text(problem.text, style="default"))
        parts.append(Padding(Text(problem.do), (0, 0, 0, 2)))
    return Group(*parts)
