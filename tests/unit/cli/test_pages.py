"""A plan is a page: totals first, then what is risky, then what becomes of new hosts, then the rest by object."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mltrading_db.cli import pages
from mltrading_db.cli.environment import Environment
from mltrading_db.cli.inventory import load
from mltrading_db.cli.making import Making, files_of, making
from mltrading_db.cli.pages import Seen


def step(kind: str, action: str = "host_files", host: str = "db1", **more: Any) -> dict[str, Any]:
    """A step of a plan."""
    return {"kind": kind, "host": host, "role": "postgresql", "task": "Do it", "action": action, "what": "", **more}


def role(what: str, action: str = "postgresql_user", **more: Any) -> dict[str, Any]:
    """A step that is about a role."""
    return step("users and privileges", action, what=what, **more)


SERVER = {"provisioned": True, "cluster": "online", "server": {"bytes": 412_345_678_901, "contexts": {}}}
STANDBY = {**SERVER, "cluster": "online,recovery"}
BLANK = {"provisioned": False, "cluster": "", "server": None}
SEEN = Seen(
    states={"db1": SERVER, "db2": STANDBY},
    makings={"db1": Making(databases={"mltrading": "mltrading_owner", "postgres": "postgres"})},
    servers=["db1", "db2", "db3"],
    primary="db1",
)
DROP = {"action": "drop", "kind": "index", "name": "public.i", "locks": ["ACCESS EXCLUSIVE on public.t"]}
BUILD = {"action": "create", "kind": "index", "name": "public.i", "locks": ["SHARE UPDATE EXCLUSIVE on public.t"]}

RISKS: dict[str, tuple[dict[str, Any] | None, list[str], list[tuple[str, str]]]] = {
    "a file": (step("files"), [], []),
    "a setting that waits": (None, ["db1: reload; max_connections waits for mldb apply lab --restart"], []),
    "a restart": (
        None,
        ["db2: restart, for max_connections", "db1: reload, for work_mem"],
        [("restart", "db2: restart, for max_connections")],
    ),
    "the pooler's restart": (
        step("services", "systemd_service", role="pgbouncer", task="Service | Restart it"),
        [],
        [("restart", "db1: pgbouncer: Service | Restart it")],
    ),
    "a role that becomes a member of the owner's": (
        role("analyst: a member of mltrading_owner", "postgresql_membership"),
        [],
        [
            (
                "rights",
                "db1: analyst becomes a member of mltrading_owner, which owns database mltrading: it may do there all"
                " that the owner may",
            )
        ],
    ),
    "a role in no other any more": (
        role("analyst: in no role", "postgresql_membership"),
        [],
        [("rights", "db1: analyst is no longer a member of any role")],
    ),
    "a new role in two others": (
        role("analyst: a new role, LOGIN, a member of a, a member of b, connection limit 5"),
        [],
        [
            ("rights", "db1: analyst is a new role, LOGIN, a member of a, a member of b, connection limit 5"),
            ("rights", "db1: analyst becomes a member of a"),
            ("rights", "db1: analyst becomes a member of b"),
        ],
    ),
    "another password": (
        role("analyst: another password"),
        [],
        [("rights", "db1: analyst: another password")],
    ),
    "a privilege": (
        role("mltrading", "postgresql_privs"),
        [],
        [("rights", "db1: postgresql: Do it (mltrading)")],
    ),
    "who may log in": (
        step("login rules", why=["-# comment", "+hostssl all analyst 10.0.0.0/8 scram-sha-256", "+"]),
        [],
        [("login", "db1: +hostssl all analyst 10.0.0.0/8 scram-sha-256")],
    ),
    "a certificate": (
        step("other steps", "shell", role="tls"),
        [],
        [("certificate", "db1: another one is signed and taken up")],
    ),
    "an index that goes": (
        step("objects of the database", "postgresql_optimization", details=[DROP]),
        [],
        [
            ("removal", "db1: drop index public.i"),
            ("lock", "db1: drop index public.i: ACCESS EXCLUSIVE on public.t"),
        ],
    ),
    "an index that is built beside writes": (
        step("objects of the database", "postgresql_optimization", details=[BUILD]),
        [],
        [],
    ),
}


@pytest.mark.parametrize(("one", "takes", "risks"), [pytest.param(*case, id=name) for name, case in RISKS.items()])
def test_what_is_risky_is_said_by_what_it_is(
    one: dict[str, Any] | None, takes: list[str], risks: list[tuple[str, str]]
) -> None:
    assert pages.risks([one] if one else [], takes, SEEN) == risks


@pytest.mark.parametrize(
    ("states", "says"),
    [
        pytest.param({"db1": SERVER, "db2": STANDBY}, [], id="all are there"),
        pytest.param(
            {"db1": SERVER, "db3": BLANK}, ["db3: all data of db1 is copied, 412 GB"], id="a new one of a big primary"
        ),
        pytest.param(
            {"db1": SERVER, "db3": {**SERVER, "cluster": "down"}},
            ["db3: all data of db1 is copied, 412 GB; the data that is there is moved aside, on the same disk"],
            id="one with data of its own",
        ),
        pytest.param(
            {"db1": BLANK, "db3": BLANK},
            ["db3: all data of db1 is copied, which is new and small"],
            id="a new environment",
        ),
        pytest.param({"db3": BLANK}, ["db3: all data of db1 is copied, of a size not known"], id="alone, by --limit"),
        pytest.param(
            {"db1": {**SERVER, "server": None}, "db3": BLANK},
            ["db3: all data of db1 is copied, of a size not known"],
            id="of a primary that is down",
        ),
        pytest.param({"db1": SERVER, "db2": {**STANDBY, "cluster": "down,recovery"}}, [], id="a standby that is down"),
        pytest.param({"db1": SERVER, "pool1": BLANK}, [], id="what is no server"),
    ],
)
def test_a_standby_that_is_copied_is_said_with_its_size(states: dict[str, Any], says: list[str]) -> None:
    assert list(pages.copies(replace(SEEN, states=states))) == says


def test_a_run_without_the_role_of_standbys_copies_none() -> None:
    assert list(pages.copies(replace(SEEN, states={"db1": SERVER, "db3": BLANK}, copies=False))) == []


def test_totals_are_first_and_then_what_is_risky() -> None:
    steps = [step("files"), step("files", host="db2"), role("analyst: a new role, LOGIN")]
    lines = pages.page(steps, [], SEEN)
    assert lines[:5] == [
        "3 steps on 2 hosts: files 2, users and privileges 1",
        "  db1  2",
        "  db2  1",
        "look at these first",
        "  rights  db1: analyst is a new role, LOGIN",
    ]
    assert [line for line in lines if not line.startswith(" ")][2:] == ["files", "users and privileges"]


def test_a_page_says_that_nothing_is_risky() -> None:
    assert pages.page([step("files")], [], SEEN)[2].startswith("nothing risky")


def test_a_plan_without_a_step_says_so() -> None:
    assert pages.page([], [], SEEN) == ["Nothing would change."]


def test_a_new_host_is_said_by_what_it_gets_and_not_by_the_lines_of_its_files() -> None:
    made = Making(
        {"mltrading": "mltrading_owner", "postgres": "postgres"}, {"analyst": "may log in"}, {"dump": "1 2 * * *"}
    )
    steps = [step("files", what=f"/etc/{number}", why=["+a"] * 30) for number in range(40)]
    lines = pages.page(steps, [], replace(SEEN, states={"db1": BLANK}, makings={"db1": made}))
    assert lines[1:] == [
        "  db1  40, a new host",
        "nothing risky: no restart, copy, removal, strong lock, right or certificate",
        "new hosts, which get",
        "  db1",
        "    database mltrading, of mltrading_owner",
        "    role analyst: may log in",
        "    job dump, 1 2 * * *",
        "    in 40 steps or more: files 40",
    ]


def test_a_new_host_gets_no_more_than_the_roles_that_are_run() -> None:
    made = Making({"mltrading": "mltrading_owner"}, {"analyst": "may log in"}, {"dump": "1 2 * * *"})
    seen = replace(SEEN, states={"db1": BLANK}, makings={"db1": made}, whole=False, copies=False)
    assert pages.page([step("files")], [], seen)[-2:] == ["  db1", "    in 1 steps or more: files 1"]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (12_000, "12 kB"), (3_300_000, "3.3 MB"), (412e9, "412 GB"), (5e12, "5.0 TB")],
)
def test_a_size_is_said_as_a_person_does(number: float, text: str) -> None:
    assert pages.size(number) == text


def test_what_is_made_of_a_host_comes_from_the_inventory(environment: Environment) -> None:
    inventory = load(environment)
    made = {host.partition(".")[0]: making(inventory, host) for host in inventory.hosts}
    assert made["t-db1"].databases["mltrading"] == "mltrading_owner"
    assert made["t-db1"].roles["mltrading_owner"] == "cannot log in"
    assert made["t-db1"].roles["mltrading_rw"] == made["t-db1"].roles["pgbouncer_auth"] == "may log in"
    assert {"heartbeat", "dump", "maintenance_daily", "retention"} <= made["t-db1"].jobs.keys()
    assert {"backup_full", "drill_restore"} <= made["t-backup1"].jobs.keys()
    assert made["t-pool1"].pooled == ["mltrading"]
    assert made["t-pool1"].databases == {}


@pytest.mark.parametrize(
    ("role", "task", "path"),
    [
        ("pgbouncer", "Files | Write the password that looks passwords up", "/etc/pgbouncer/userlist.txt"),
        ("pgbackrest", "Configure | Write the configuration", "/etc/pgbackrest/pgbackrest.conf"),
        ("postgresql_replica", "Configure | Write the files", "of /usr/local/lib/mltrading-db, "),
        ("pgbouncer", "no such task", ""),
    ],
)
def test_a_step_with_secrets_is_said_by_its_file(environment: Environment, role: str, task: str, path: str) -> None:
    found = files_of(load(environment), "t-db1.example.net", role, task)
    assert found.startswith(path)
    assert bool(found) == bool(path)
