"""What the hosts of an environment answered, in a shape that a table and a page are made from. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from mltrading_db.remedies import completed

Check = dict[str, Any]
Row = dict[str, Any]

EXIT_CODES = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
# What needs a person, the worst first.
PROBLEMS = ("critical", "unknown", "warning")
# What other problems follow from, the most important first: nobody can write, nobody gets in, nobody knows.
CAUSES = ("primaries", "pooler", "server", "host")


@dataclass(frozen=True)
class Problem:
    """Something that needs a person: what, why, and what to do."""

    host: str
    state: str
    name: str
    title: str
    text: str
    do: str

    @property
    def cause(self) -> bool:
        """Whether other problems may follow from it."""
        return self.name in CAUSES and self.state in ("critical", "unknown")

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Where it stands: causes by what they cost, then the others by their states."""
        return not self.cause, CAUSES.index(self.name) if self.cause else 0, PROBLEMS.index(self.state)


@dataclass(frozen=True)
class Host:
    """What one host answered. `role` is primary, standby, no server or unknown; a silent one has a `problem`.

    Of a silent one the inventory says whether it has a `server`; `unreachable`, nobody got there at all.
    """

    name: str
    state: str
    role: str = "unknown"
    version: str = ""
    time: int = 0
    problem: str = ""
    server: bool = True
    unreachable: bool = False
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
        servers = [host for host in self.hosts if host.server and host.role != "no server"]
        if primaries or not servers:
            return ""
        said = {"standby": "is a standby", "unknown": "does not answer"}
        of_each = ", ".join(
            f"{'the server of ' if host.role == 'unknown' and not host.problem else ''}{host.name} {said[host.role]}"
            for host in servers
        )
        return f"no server takes writes: {of_each}"

    def writes_again(self) -> str:
        """What to do so that one server takes writes, with the commands."""
        if sum(host.role == "primary" for host in self.hosts) > 1:
            both = [host.name for host in self.hosts if host.role == "primary"]
            commands = " or ".join(f"mldb promote {self.name} {one} --rejoin --confirm {one}" for one in both)
            return (
                "Stop one before their data differ further, and make it a standby of the other (see"
                f" docs/operations/promote_replica.md): {commands}"
            )
        lost = [host.name for host in self.hosts if host.role == "unknown" and host.server]
        said = f"Bring back {' or '.join(lost)}. " if lost else ""
        standby = next((host.name for host in self.hosts if host.role == "standby"), "")
        if standby:
            command = f"mldb promote {self.name} {standby} --unplanned{self.without_silent()} --confirm {standby}"
            return f"{said}Where the primary is lost, a standby takes its place: {command}"
        return f"{said}See docs/operations/restore_backup.md and docs/operations/rebuild_host.md for one that is lost."

    def without_silent(self, but: str = "") -> str:
        """The option that leaves out the hosts which cannot be reached."""
        gone = [f"!{host.name}" for host in self.hosts if host.problem and host.name != but]
        return f" --limit '{':'.join(gone)}'" if gone else ""

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
        return sorted(found.values(), key=lambda problem: problem.rank)

    def _problems(self) -> Iterator[Problem]:
        if self.primaries_wrong():
            hosts = [host.name for host in self.hosts if host.server and host.role != "no server"]
            text, do = self.primaries_wrong(), self.writes_again()
            yield Problem(", ".join(hosts), "critical", "primaries", "One server takes writes", text, do)
        for name, hosts in self.jobs_of_nobody().items():
            text = f"{name}: each of its hosts leaves it to another one"
            do = (
                "Bring back the primary or the standby that it is for, and run it there: "
                f"sudo /usr/local/lib/mltrading-db/dbjob {name}. "
                "Where there is no standby, the primary can make the dump: postgresql_dump_runs_on."
            )
            yield Problem(", ".join(hosts), "critical", "job_of_nobody", "A job that no host runs", text, do)
        for host in self.hosts:
            if host.problem:
                yield Problem(host.name, host.state, "host", "The host answers", host.problem, self.reaches(host))
            for check in host.checks:
                if check["state"] in PROBLEMS:
                    do = completed(check["do"], self.name)
                    yield Problem(host.name, check["state"], check["name"], check["title"], check["text"], do)

    def reaches(self, host: Host) -> str:
        """What to do about a host that did not answer."""
        if not host.unreachable:
            return f"Install what it lacks: mldb apply {self.name} --limit {host.name}"
        command = f"mldb rebuild {self.name} {host.name}{self.without_silent(host.name)} --confirm {host.name}"
        return f"See whether it runs, and whether SSH reaches it. One that is lost is built anew: {command}"


def read(answers: dict[str, Any]) -> Environment:
    """An environment from {"environment": name, "hosts": {name: answer or {"problem": text}}}."""
    return Environment(answers["environment"], tuple(host(*pair) for pair in sorted(answers["hosts"].items())))


def host(name: str, answer: dict[str, Any]) -> Host:
    """One host from its answer; one that did not is unknown."""
    if "problem" in answer:
        lines = str(answer["problem"]).strip().splitlines()
        said, server = lines[0] if lines else "no answer", answer.get("server", True)
        # Whoever works with the system needs a server or a pooler; of any other host nobody knows how it is.
        state = "critical" if server or answer.get("pooler") else "unknown"
        unreachable = answer.get("unreachable", False)
        return Host(name, state, problem=said, server=server, unreachable=unreachable)
    return Host(
        name,
        answer["state"],
        answer["role"],
        answer["version"],
        answer["time"],
        server=answer["role"] != "no server",
        checks=tuple(answer["checks"]),
        history=tuple(answer["history"]),
        query_report=answer.get("query_report", ""),
    )
