"""A server that runs is restarted only where it may be; one that the run has started itself always."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

ROLES = Path(__file__).parents[2] / "roles"
BEGAN = 1_700_000_000


def loaded(path: Path) -> Any:
    """A YAML file, whose expressions may be worked out."""
    return DataLoader().load_from_file(str(path), trusted_as_template=True)


def turn(*, allowed: bool, started: int, standby: bool = False, shrinks: bool = False) -> str:
    """When a server is restarted."""
    answer = {"restart": "max_connections", "shrinks": shrinks, "started": started}
    variables = {
        **loaded(ROLES / "postgresql/vars/main.yml"),
        "postgresql_restart_allowed": allowed,
        "__postgresql_pending": {"query_result": [answer]},
        "ansible_facts": {"date_time": {"epoch": str(BEGAN)}},
        "postgresql_primary": "db1",
        "inventory_hostname": "db2" if standby else "db1",
    }
    return str(Templar(loader=DataLoader(), variables=variables).template(variables["__postgresql_turn"]))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({"allowed": False, "started": BEGAN - 1}, "none", id="not allowed"),
        pytest.param({"allowed": False, "started": BEGAN - 1, "standby": True}, "none", id="not allowed, a standby"),
        pytest.param({"allowed": False, "started": BEGAN + 9}, "second", id="this run has started it"),
        pytest.param({"allowed": True, "started": BEGAN - 1}, "second", id="the primary"),
        pytest.param({"allowed": True, "started": BEGAN - 1, "standby": True}, "first", id="a standby"),
        pytest.param(
            {"allowed": True, "started": BEGAN - 1, "standby": True, "shrinks": True}, "last", id="a standby, less"
        ),
    ],
)
def test_a_server_is_restarted_in_its_turn_and_only_where_it_may_be(said: dict[str, Any], expected: str) -> None:
    assert turn(**said) == expected


def test_every_restart_has_a_turn_and_the_one_without_says_what_waits() -> None:
    tasks = loaded(ROLES / "postgresql/tasks/restart.yml")
    restarts = [task for task in tasks if "ansible.builtin.systemd_service" in task]
    assert [task["when"].rpartition(" ")[2] for task in restarts] == ["'first'", "'second'", "'last'"]
    [said] = [task for task in tasks if task["when"] == "__postgresql_turn == 'none'"]
    assert "__postgresql_answer.restart" in said["ansible.builtin.debug"]["msg"]


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
