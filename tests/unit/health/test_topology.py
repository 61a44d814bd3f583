"""Who is drawn below whom, and that a standby which is cut off is never shown as nearly up to date."""

from __future__ import annotations

from typing import Any

import pytest

from mltrading_db.health.answers import Environment, read
from mltrading_db.health.page import over_time, topology

Given = dict[str, Any]


def check(name: str, rows: dict[str, float], state: str = "ok", unit: str = "bytes") -> Given:
    """A check as a host answers it."""
    found = [{"item": item, "value": value, "detail": "streaming", "state": state} for item, value in rows.items()]
    return {
        "name": name, "title": name, "unit": unit, "state": state, "text": "", "do": "", "rows": found, "warning": 95,
        "below": unit == "%",
    }  # fmt: skip


def host(role: str, sent: dict[str, float] | None = None, *, state: str = "ok", late: float | None = None) -> Given:
    """A host; `sent` is the lag that it has of each standby, `late` the seconds that a standby says of itself."""
    rows = {"this standby": 0.0} if role == "standby" else sent or {}
    seconds = {"this standby": late or 0.0} if role == "standby" else dict.fromkeys(sent or {}, 0.1)
    return {
        "host": "x", "time": 1, "version": "15.20", "role": role, "state": "ok", "exit_code": 0, "history": [],
        "checks": [check("replication_lag_bytes", rows, state), check("replication_lag_seconds", seconds, state)],
    }  # fmt: skip


def environment(**hosts: Given) -> Environment:
    """An environment of hosts whose names have a domain."""
    return read({"environment": "x", "hosts": {f"{name}.example.com": given for name, given in hosts.items()}})


def links(found: Environment) -> dict[str, str]:
    """What is written at the line to each host."""
    return {other["host"].name.partition(".")[0]: other["link"] for other in topology(found)["others"]}


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        pytest.param({"db1": host("primary", {"replica_db2_example_com": 2048}), "db2": host("standby")},
                     {"db2": "2 kB and 0.1 s behind"}, id="by its name with the domain"),
        pytest.param({"db1": host("primary"), "db2": host("standby")}, {"db2": "not connected"}, id="cut off"),
        pytest.param({"db0": host("primary", {"replica_db10_example_com": 2048}), "db1": host("standby"),
                      "db10": host("standby", late=300)},
                     {"db1": "not connected", "db10": "2 kB and 5 min behind"}, id="a name that begins another"),
        pytest.param({"db1": host("primary", state="unknown"), "db2": host("standby")}, {"db2": "no lag known"},
                     id="the primary could not say"),
        pytest.param({"db1": host("primary"), "db2": host("primary"), "db3": host("standby")},
                     {"db2": "another primary", "db3": "of which primary is not known"}, id="two primaries"),
        pytest.param({"db1": host("standby")}, {"db1": "without a primary"}, id="no primary"),
        pytest.param({"db1": host("primary"), "pool1": host("no server"), "db2": {"problem": "no route"}},
                     {"pool1": "jobs only", "db2": "no answer"}, id="others"),
    ],
)  # fmt: skip
def test_a_line_says_how_the_host_hangs_on_the_primary(hosts: dict[str, Given], expected: dict[str, str]) -> None:
    assert links(environment(**hosts)) == expected


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        pytest.param([host("primary"), host("primary")], "2 servers take writes", id="two"),
        pytest.param([host("standby"), host("standby")], "no server takes writes", id="none"),
    ],
)
def test_two_primaries_or_none_need_a_person(hosts: list[Given], said: str) -> None:
    found = environment(db1=hosts[0], db2=hosts[1])
    assert found.state == "critical"
    assert [problem.text[: len(said)] for problem in found.problems()] == [said]


def test_one_primary_is_no_such_problem_whoever_else_does_not_answer() -> None:
    assert environment(db1=host("primary"), db2=host("standby")).state == "ok"
    assert environment(db1=host("primary"), b1={"problem": "no route", "server": False}).state == "unknown"
    assert environment(db1=host("primary"), db2={"problem": "no route"}).state == "critical"


def test_the_worst_lines_of_all_hosts_are_drawn_and_the_others_counted() -> None:
    hosts = {}
    for number, name in enumerate(("db1", "db2", "db3")):
        values = {f"d{item}": 99.0 - item - 10 * number for item in range(4)}
        hosts[name] = host("standby") | {"checks": [check("index_hit_ratio", values, unit="%")]}
        hosts[name]["history"] = [{"time": time, "values": {"index_hit_ratio": values}} for time in (0, 900)]
    found = environment(**hosts)
    picture = over_time(list(found.hosts), "index_hit_ratio", "Hits", "Share.")
    assert picture.caption == "Share. The 6 worst; 6 more are not drawn."
    assert picture.svg is not None
    assert "db3.example.com d3" in picture.svg
    assert "db1.example.com" not in picture.svg
