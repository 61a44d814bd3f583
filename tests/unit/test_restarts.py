"""Which server is restarted when, and whom its restart waits for."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

PROJECT = Path(__file__).parents[2]
ROLES = PROJECT / "roles"
SPEC = importlib.util.spec_from_file_location("settings", PROJECT / "plugins/filter/settings.py")
assert SPEC is not None
assert SPEC.loader is not None
settings = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(settings)

BEGAN = 1_700_000_000
WAITS = {"restart": "max_connections", "shrinks": False, "started": BEGAN - 1}


def loaded(path: Path) -> Any:
    """A YAML file, whose expressions may be worked out."""
    return DataLoader().load_from_file(str(path), trusted_as_template=True)


@pytest.mark.parametrize(
    ("answer", "primary", "allowed", "expected"),
    [
        pytest.param({"restart": None}, True, True, "none", id="nothing waits"),
        pytest.param({}, True, False, "none", id="not allowed"),
        pytest.param({}, False, False, "none", id="not allowed, a standby"),
        pytest.param({"started": BEGAN + 9}, True, False, "second", id="this run has started it"),
        pytest.param({"started": BEGAN + 9}, False, False, "first", id="this run has started it, a standby"),
        pytest.param({}, True, True, "second", id="the primary"),
        pytest.param({"shrinks": True}, True, True, "second", id="the primary, less"),
        pytest.param({}, False, True, "first", id="a standby"),
        pytest.param({"shrinks": True}, False, True, "last", id="a standby, less"),
    ],
)
def test_a_server_is_restarted_in_its_turn_and_only_where_it_may_be(
    answer: dict[str, Any], primary: bool, allowed: bool, expected: str
) -> None:
    assert settings.restart_turn({**WAITS, **answer}, primary, allowed, BEGAN) == expected


def server(name: str, primary: str = "db1", **restarted: Any) -> dict[str, Any]:
    """The variables of a host of the play."""
    return {"inventory_hostname": name, "postgresql_primary": primary, "__postgresql_restarted": restarted}


PAIR = [server("db1"), server("db2")]
NOT_BACK = server("db2", failed=True, msg="the server did not start. It said: FATAL: no")
OTHER = server("o1", primary="o1")


@pytest.mark.parametrize(
    ("servers", "here", "left", "expected"),
    [
        pytest.param(PAIR, "db1", ["db1", "db2"], ([], False), id="every standby came back"),
        pytest.param([server("db1")], "db1", ["db1"], ([], False), id="a single server"),
        pytest.param([server("db1"), NOT_BACK], "db1", ["db1"], (["db2"], True), id="a standby did not come back"),
        pytest.param(PAIR, "db1", ["db1"], (["db2"], False), id="a standby failed before, or is not reached"),
        pytest.param([server("db1"), NOT_BACK, server("db3")], "db1", ["db1", "db3"], (["db2"], True), id="one of two"),
        pytest.param([*PAIR, OTHER], "db1", ["db1", "db2"], ([], False), id="another cluster's server is missing"),
        pytest.param([*PAIR, OTHER], "db2", ["db2", "o1"], (["db1"], False), id="a standby misses its primary"),
        pytest.param(
            [server("db1"), NOT_BACK, server("db3")], "db3", ["db1", "db3"], ([], False), id="no other standby"
        ),
        pytest.param([{"inventory_hostname": "w1"}, *PAIR], "db1", ["db1", "db2"], ([], False), id="no server at all"),
    ],
)
def test_a_restart_waits_for_those_before_it(
    servers: list[dict[str, Any]], here: str, left: list[str], expected: tuple[list[str], bool]
) -> None:
    found = settings.restart_obstacles(servers, here, "db1", left)
    assert (found["hosts"], found["restart_failed"]) == expected
    assert bool(found["said"]) is bool(found["hosts"])


def test_what_a_standby_said_is_what_its_primary_says() -> None:
    assert settings.restart_obstacles([server("db1"), NOT_BACK], "db1", "db1", ["db1"])["said"].endswith("FATAL: no")


def wants(name: str, *wanted: int) -> dict[str, Any]:
    """A server that was asked what its files say."""
    return {"inventory_hostname": name, "__postgresql_pending": {"query_result": [{"wanted": list(wanted)}]}}


@pytest.mark.parametrize(
    ("here", "standby", "expected"),
    [
        pytest.param("db1", (100, 8), [], id="as much"),
        pytest.param("db1", (200, 9), [], id="more"),
        pytest.param(
            "db1", (99, 8), ["db2 would have max_connections = 99, and db1 100"], id="less, told to the primary"
        ),
        pytest.param(
            "db2", (99, 8), ["db2 would have max_connections = 99, and db1 100"], id="less, told to the standby"
        ),
        pytest.param("db3", (99, 8), [], id="another standby's"),
    ],
)
def test_a_standby_has_no_less_than_its_primary(here: str, standby: tuple[int, ...], expected: list[str]) -> None:
    servers = [wants("db1", 100, 8), wants("db2", *standby), wants("db3", 100, 8)]
    assert settings.standby_shortages(servers, here, "db1") == expected


def test_what_was_said_after_the_reload_counts() -> None:
    later = {**wants("db2", 99), "__postgresql_reloaded": {"query_result": [{"wanted": [100]}]}}
    assert settings.standby_shortages([wants("db1", 100), later], "db2", "db1") == []
    skipped = {**wants("db2", 99), "__postgresql_reloaded": {"skipped": True}}
    assert settings.standby_shortages([wants("db1", 100), skipped], "db2", "db1") != []


@pytest.mark.parametrize(
    ("declared", "standbys", "said"),
    [
        pytest.param({"work_mem": "5MB", "pgaudit.log": "ddl", "huge_pages": True}, 1, "", id="good ones"),
        pytest.param({"FSYNC": "off"}, 0, "fsync has a variable of its own", id="a guarded one in capitals"),
        pytest.param({"work_mem": "5MB", "Work_Mem": "6MB"}, 0, "two of its names are one", id="one name twice"),
        pytest.param({"work mem": "5MB"}, 0, "'work mem' is no name", id="no name"),
        pytest.param({"work_mem": None}, 0, "work_mem is a word", id="no value"),
        pytest.param({"work_mem": ["5MB"]}, 0, "work_mem is a word", id="a list"),
        pytest.param({"log_line_prefix": "a\nfsync = off"}, 0, "more than one line", id="two lines"),
        pytest.param({"wal_level": "minimal"}, 1, "no standby can follow", id="minimal WAL with a standby"),
        pytest.param({"wal_level": "minimal"}, 0, "", id="minimal WAL alone, which the server judges"),
        pytest.param({"max_wal_senders": 2}, 2, "leaves none", id="too few walsenders"),
    ],
)
def test_declared_settings_are_judged_before_the_first_change(
    declared: dict[str, Any], standbys: int, said: str
) -> None:
    found = " ".join(settings.settings_problems(declared, ["fsync", "port"], standbys))
    assert said in found if said else found == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("64MB", "'64MB'", id="a word"),
        pytest.param("it's", "'it''s'", id="a quote"),
        pytest.param(r"sed s/\(a\)/\1/", r"'sed s/\\(a\\)/\\1/'", id="a backslash"),
        pytest.param(True, "'True'", id="a truth"),
        pytest.param(0.9, "'0.9'", id="a number"),
    ],
)
def test_a_value_is_written_as_the_server_reads_it(value: object, expected: str) -> None:
    assert settings.setting_value(value) == expected


def test_every_restart_has_a_turn_that_waits_for_the_one_before() -> None:
    tasks = loaded(ROLES / "postgresql/tasks/restart.yml")
    names = [(task["name"], task["when"]) for task in tasks]
    restarts = [task for task in tasks if task.get("postgresql_service", {}).get("state") == "restarted"]
    assert [task["when"].rpartition(" ")[2] for task in restarts] == ["'first'", "'second'", "'last'"]
    stops = [
        n for n, task in enumerate(tasks) if "__postgresql_obstacles.hosts" in str(task.get("ansible.builtin.assert"))
    ]
    second, last = (tasks.index(task) for task in restarts[1:])
    assert [stops[0] < second, second < stops[1] < last] == [True, True], names
    [said] = [task for task in tasks if task["when"] == "__postgresql_turn == 'none'"]
    assert "__postgresql_answer.restart" in said["ansible.builtin.debug"]["msg"]


def test_a_server_is_started_and_restarted_by_what_waits_for_it() -> None:
    """The other ways end without a word of why, and leave the server down."""
    found = [
        path.relative_to(PROJECT)
        for path in ROLES.glob("*/tasks/*.yml")
        for task in str(path.read_text()).split("\n- ")
        if "state: restarted" in task and "systemd_service" in task and "postgresql@" in task
    ]
    assert found == []


def test_a_pooler_is_restarted_only_where_it_may_be() -> None:
    tasks = loaded(ROLES / "pgbouncer/tasks/service.yml")
    [restart] = [task for task in tasks if task.get("ansible.builtin.systemd_service", {}).get("state") == "restarted"]
    condition = "{{ " + restart["when"] + " }}"
    for allowed in (False, True):
        found = {
            **loaded(ROLES / "pgbouncer/vars/main.yml"),
            "ansible_check_mode": False,
            "__pgbouncer_restart_due": True,
            "pgbouncer_restart_allowed": allowed,
        }
        assert Templar(loader=DataLoader(), variables=found).template(trust_as_template(condition)) is allowed


@pytest.mark.parametrize(
    ("limit", "due"), [pytest.param(5120, False, id="as declared"), pytest.param(1024, True, id="of before")]
)
def test_a_pooler_is_due_that_may_open_fewer_files_than_its_clients_need(*, limit: int, due: bool) -> None:
    init_plugin_loader()
    declared = {
        **loaded(ROLES / "pgbouncer/defaults/main.yml"),
        **loaded(ROLES / "pgbouncer/vars/main.yml"),
        "pgbouncer_max_client_connections": 2000,
        "pgbouncer_databases": [{"name": "a", "host": "db1", "port": 5432, "read_only_hosts": ["db2"]}],
    }
    running = ["listen_addr=127.0.0.1=127.0.0.1=no", "listen_port=6432=6432=no", f"LimitNOFILE={limit}"]
    running += ["unix_socket_dir=/run/pgbouncer=/tmp=no", "server_reset_query=DISCARD ALL=DISCARD ALL=yes"]
    answer = {"__pgbouncer_config": {"rc": 0, "stdout_lines": running}}
    found = Templar(loader=DataLoader(), variables=declared | answer).template(declared["__pgbouncer_restart_due"])
    assert found is due
    unit = Templar(loader=DataLoader(), variables=declared).template(declared["__pgbouncer_unit"])
    assert unit["Service"]["LimitNOFILE"] == 5120
