"""What the hosts of an environment answered, in a shape that a table and a page are made from. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

Check = dict[str, Any]
Row = dict[str, Any]

EXIT_CODES = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
# What needs a person, the worst first.
PROBLEMS = ("critical", "unknown", "warning")


@dataclass(frozen=True)
class Problem:
    """Something that needs a person: what, why, and what to do."""

    host: str
    state: str
    name: str
    title: str
    text: str
    do: str


@dataclass(frozen=True)
class Host:
    """What one host answered. `role` is primary, standby, no server or unknown; a silent one has a `problem`."""

    name: str
    state: str
    role: str = "unknown"
    version: str = ""
    time: int = 0
    problem: str = ""
    checks: tuple[Check, ...] = ()
    history: tuple[dict[str, Any], ...] = ()
    query_report: str = ""

    def check(self, name: str) -> Check | None:
        """One of its checks, if it has it."""
        return next((check for check in self.checks if check["name"] == name), None)

    def rows(self, name: str) -> list[Row]:
        """The rows of one of its checks."""
        found = self.check(name)
        return list(found["rows"]) if found else []


@dataclass(frozen=True)
class Environment:
    """All hosts of an environment."""

    name: str
    hosts: tuple[Host, ...]

    @property
    def state(self) -> str:
        """The state of all together."""
        wrong = self.jobs_of_nobody() or self.primaries_wrong()
        states = {host.state for host in self.hosts} | ({"critical"} if wrong else set())
        return next((state for state in PROBLEMS if state in states), "ok" if states else "unknown")

    @property
    def time(self) -> int:
        """When the last host answered, in seconds."""
        return max((host.time for host in self.hosts), default=0)

    @property
    def primary(self) -> Host | None:
        """The host that takes writes."""
        return next((host for host in self.hosts if host.role == "primary"), None)

    def primaries_wrong(self) -> str:
        """What is wrong with who takes writes, a sentence; empty where it is one server, or none has standbys."""
        primaries = [host.name for host in self.hosts if host.role == "primary"]
        if len(primaries) > 1:
            return f"{len(primaries)} servers take writes: {', '.join(primaries)}"
        silent = [host for host in self.hosts if host.role == "unknown"]
        standbys = [host for host in self.hosts if host.role == "standby"]
        return "no server takes writes" if standbys and not primaries and not silent else ""

    def check_names(self) -> dict[str, str]:
        """The title of each check by its name, in the order of the hosts' own lists."""
        return {check["name"]: check["title"] for host in self.hosts for check in host.checks}

    def jobs_of_nobody(self) -> dict[str, list[str]]:
        """The jobs that each of their hosts left to another one, which no host alone can see: {name: hosts}."""
        left: dict[str, dict[str, bool]] = {}
        for host in self.hosts:
            for row in host.rows("job_overdue"):
                left.setdefault(row["item"], {})[host.name] = False
            for row in host.rows("job_failures"):
                left.setdefault(row["item"], {})[host.name] = row["detail"].startswith("not_my_role:")
        return {name: list(hosts) for name, hosts in sorted(left.items()) if all(hosts.values())}

    def problems(self) -> list[Problem]:
        """What needs a person, the worst first. What several hosts say in the same words is one problem of theirs."""
        found: dict[tuple[str, str, str], Problem] = {}
        for one in self._problems():
            key = (one.name, one.state, one.text)
            same = found.get(key)
            found[key] = one if same is None else replace(same, host=f"{same.host}, {one.host}")
        return sorted(found.values(), key=lambda problem: PROBLEMS.index(problem.state))

    def _problems(self) -> Iterator[Problem]:
        for name, hosts in self.jobs_of_nobody().items():
            text = f"{name}: each of its hosts leaves it to another one"
            do = (
                "Bring back the primary or the standby that it is for, and run it there (dbjob NAME). Where there is "
                "no standby, the primary can make the dump: postgresql_dump_runs_on."
            )
            yield Problem(", ".join(hosts), "critical", "job_of_nobody", "A job that no host runs", text, do)
        if self.primaries_wrong():
            hosts = [host.name for host in self.hosts if host.role in ("primary", "standby")]
            do = (
                "Of two primaries stop one before their data differ further; docs/operations/promote_replica.md has "
                "how one becomes a standby again, and how a standby becomes the primary."
            )
            yield Problem(
                ", ".join(hosts), "critical", "primaries", "One server takes writes", self.primaries_wrong(), do
            )
        for host in self.hosts:
            if host.problem:
                do = "See whether the host runs and can be reached; playbooks/site.yml installs what a new one lacks."
                yield Problem(host.name, "unknown", "host", "The host answers", host.problem, do)
            for check in host.checks:
                if check["state"] in PROBLEMS:
                    yield Problem(host.name, check["state"], check["name"], check["title"], check["text"], check["do"])


def read(answers: dict[str, Any]) -> Environment:
    """An environment from {"environment": name, "hosts": {name: answer or {"problem": text}}}."""
    return Environment(answers["environment"], tuple(host(*pair) for pair in sorted(answers["hosts"].items())))


def host(name: str, answer: dict[str, Any]) -> Host:
    """One host from its answer; one that did not is unknown."""
    if "problem" in answer:
        lines = str(answer["problem"]).strip().splitlines()
        return Host(name, "unknown", problem=lines[0] if lines else "no answer")
    return Host(
        name,
        answer["state"],
        answer["role"],
        answer["version"],
        answer["time"],
        checks=tuple(answer["checks"]),
        history=tuple(answer["history"]),
        query_report=answer.get("query_report", ""),
    )
