"""What only all hosts together can show: a job that each of them leaves to another one."""

from __future__ import annotations

from typing import Any

import pytest

from mltrading_db.health.__main__ import EXIT_CODES
from mltrading_db.health.answers import read
from mltrading_db.health.table import summary

LEFT, RAN = "not_my_role: not my role: the standby is here", "ok: done"


def answer(**jobs: str | None) -> dict[str, Any]:
    """A host's answer: how each of its jobs did, None where one has not run yet."""
    ran = [{"item": name, "value": 0, "detail": said, "state": "ok"} for name, said in jobs.items() if said]
    due = [{"item": name, "value": 0, "detail": "", "state": "ok"} for name in jobs]
    shown = {"state": "ok", "title": "", "text": "", "do": "", "value": 0, "shown": "0"}
    checks = [shown | {"name": "job_failures", "rows": ran}, shown | {"name": "job_overdue", "rows": due}]
    return {"state": "ok", "role": "no server", "version": "15", "time": 1, "checks": checks, "history": []}


CASES = [
    pytest.param({"db1": answer(dump=LEFT), "db2": answer(dump=RAN)}, {}, id="the other one ran it"),
    pytest.param({"db1": answer(dump=LEFT), "db2": answer(dump=None)}, {}, id="the other one's time has not come"),
    pytest.param({"db1": answer(dump=LEFT), "db2": answer(dump=LEFT)}, {"dump": ["db1", "db2"]}, id="nobody ran it"),
    pytest.param({"db1": answer(dump=LEFT), "b1": answer(backup=RAN)}, {"dump": ["db1"]}, id="a host that has others"),
    pytest.param(
        {"db1": answer(dump=LEFT), "db2": {"problem": "unreachable", "server": False}},
        {"dump": ["db1"]},
        id="the other is gone",
    ),
    pytest.param({"db1": answer(dump="failed: disk"), "db2": answer(dump=LEFT)}, {}, id="one tried"),
]


@pytest.mark.parametrize(("hosts", "found"), CASES)
def test_a_job_that_runs_nowhere_is_seen(hosts: dict[str, Any], found: dict[str, list[str]]) -> None:
    environment = read({"environment": "lab", "hosts": hosts})
    assert environment.jobs_of_nobody() == found
    problems = [problem for problem in environment.problems() if problem.name == "job_of_nobody"]
    assert [problem.host for problem in problems] == [", ".join(names) for names in found.values()]
    if found:
        assert EXIT_CODES[environment.state] == EXIT_CODES["critical"]
        if all("problem" not in host for host in hosts.values()):
            assert "job_of_nobody: dump: each of its hosts leaves it to another one" in summary(environment)


def server(role: str, *checks: dict[str, Any]) -> dict[str, Any]:
    """The answer of a host with a server."""
    state = "critical" if checks else "ok"
    return {"state": state, "role": role, "version": "15", "time": 1, "checks": list(checks), "history": []}


def check(name: str, state: str, text: str, do: str = "") -> dict[str, Any]:
    """A check of an answer."""
    rest = {"rows": [], "value": None, "shown": "no data", "unit": "count", "warning": 0, "below": False}
    return {"name": name, "state": state, "text": text, "title": name, "do": do, **rest}


POOLER = check("pooler", "critical", "it is down")
GONE = {"problem": "no route", "server": False, "unreachable": True}
SILENT = {"problem": "Failed to connect to the host via ssh: no route", "server": True, "unreachable": True}
LATE = check("job_overdue", "critical", "dump: 2 d", "Look at cron; playbooks/site.yml writes the schedule.")


@pytest.mark.parametrize(
    ("hosts", "first", "command"),
    [
        pytest.param({"db1": SILENT, "db2": server("standby", LATE)},
                     "no server takes writes: db1 does not answer, db2 is a standby",
                     "mldb promote live db2 --unplanned --limit '!db1' --confirm db2", id="the primary's host is gone"),
        pytest.param({"db1": server("unknown", check("server", "critical", "it refuses")), "db2": server("standby")},
                     "no server takes writes: the server of db1 does not answer, db2 is a standby",
                     "mldb promote live db2 --unplanned --confirm db2", id="the primary's server is down"),
        pytest.param({"db1": SILENT, "b1": GONE}, "no server takes writes: db1 does not answer", "rebuild_host.md",
                     id="all is gone"),
        pytest.param({"db1": server("primary"), "db2": server("primary")}, "2 servers take writes: db1, db2",
                     "mldb promote live db1 --rejoin --confirm db1 or mldb", id="two primaries"),
        pytest.param({"db1": server("primary", LATE), "p1": server("no server", POOLER)},
                     "it is down", "", id="no pooler"),
        pytest.param({"db1": server("primary", LATE), "db2": SILENT}, SILENT["problem"],
                     "mldb rebuild live db2 --confirm db2", id="a standby's host is gone"),
        pytest.param({"db1": server("primary"), "db2": {"problem": "not found", "server": True}}, "not found",
                     "mldb apply live --limit db2", id="nothing is installed there"),
        pytest.param({"db1": server("primary", LATE)}, "dump: 2 d", "mldb apply live writes the schedule", id="a job"),
    ],
)  # fmt: skip
def test_the_most_important_comes_first_with_the_command_that_helps(
    hosts: dict[str, Any], first: str, command: str
) -> None:
    environment = read({"environment": "live", "hosts": hosts})
    problems = environment.problems()
    assert environment.state == "critical"
    assert problems[0].text == first
    assert first in summary(environment)
    assert command in problems[0].do
    causes = [problem.cause for problem in problems]
    assert causes == sorted(causes, reverse=True)
