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
    return {"state": "ok", "role": "standby", "version": "15", "time": 1, "checks": checks, "history": []}


CASES = [
    pytest.param({"db1": answer(dump=LEFT), "db2": answer(dump=RAN)}, {}, id="the other one ran it"),
    pytest.param({"db1": answer(dump=LEFT), "db2": answer(dump=None)}, {}, id="the other one's time has not come"),
    pytest.param({"db1": answer(dump=LEFT), "db2": answer(dump=LEFT)}, {"dump": ["db1", "db2"]}, id="nobody ran it"),
    pytest.param({"db1": answer(dump=LEFT), "b1": answer(backup=RAN)}, {"dump": ["db1"]}, id="a host that has others"),
    pytest.param(
        {"db1": answer(dump=LEFT), "db2": {"problem": "unreachable"}}, {"dump": ["db1"]}, id="the other is gone"
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
        assert "job_of_nobody: dump: each of its hosts leaves it to another one" in summary(environment)
