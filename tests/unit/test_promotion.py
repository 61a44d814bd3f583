"""What a promotion decides from what the servers say: whether it may be done, what is left, who may run afterwards."""

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

ROLE = Path(__file__).parents[2] / "roles/postgresql_replica"
Answer = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def plugins() -> None:
    """Have Ansible find its filters, as its commands do."""
    init_plugin_loader()


def decided(name: str, hostvars: dict[str, dict[str, Any]], **given: Any) -> Any:
    """The value of a variable of the role; the primary is db1, and its standby db2 is to be promoted."""
    loader = DataLoader()
    variables = {
        **loader.load_from_file(str(ROLE / "defaults/main.yml"), trusted_as_template=True),
        **loader.load_from_file(str(ROLE / "vars/main.yml"), trusted_as_template=True),
        "inventory_hostname": "db2",
        "postgresql_replica_primary": "db1",
        "postgresql_replica_hosts": ["db1", "db2"],
        "postgresql_replica_target": "db2",
        "ansible_play_hosts": list(hostvars),
        "hostvars": hostvars,
        **given,
    }
    found = Templar(loader=loader, variables=variables).template(variables[name])
    # A text that is empty is none.
    return found if isinstance(found, bool) else " ".join((found or "").split())


def answers(db2: Answer, db1: Answer | None) -> dict[str, dict[str, Any]]:
    """What each host's script said; None is a host that is left out of the play."""
    said = {"db1": db1, "db2": db2}
    return {
        host: {"__postgresql_replica_answer": {"stdout": json.dumps(answer)}} for host, answer in said.items() if answer
    }


def state(cluster: str, sees: Answer, *, runs: bool, follows: bool, behind: int = 0) -> Answer:
    """One of them."""
    server = {"running": runs, "follows": follows, "receives": follows and "error" not in sees, "behind": behind}
    return {"system": "7", "cluster_state": cluster, "server": server, "primary": sees}


WRITES, GONE = {"writes": True, "system": "7"}, {"error": "Connection refused"}
PRIMARY = state("in production", WRITES, runs=True, follows=False)
STOPPED = state("shut down", GONE, runs=False, follows=False)
AWAKE = state("in archive recovery", GONE, runs=True, follows=True)
CRASHED = state("in production", GONE, runs=False, follows=False)
STANDBY = state("in archive recovery", WRITES, runs=True, follows=True)
LEFT = state("in archive recovery", GONE, runs=True, follows=True)
LATE = state("in archive recovery", WRITES, runs=True, follows=True, behind=2**25)
PROMOTED = state("in production", GONE, runs=True, follows=False)
DOWN = state("shut down in recovery", WRITES, runs=False, follows=False)

MAY = [
    pytest.param(STANDBY, PRIMARY, False, "", id="planned"),
    pytest.param(LEFT, STOPPED, False, "db1 was stopped well", id="killed-when-it-was-stopped"),
    pytest.param(LEFT, AWAKE, False, "db1 was stopped well", id="retired-and-started-as-a-standby-of-nobody"),
    pytest.param(PROMOTED, STOPPED, False, "db2 takes writes already", id="killed-when-it-was-promoted"),
    pytest.param(LEFT, None, True, "", id="unplanned"),
    pytest.param(PROMOTED, None, True, "db2 takes writes already", id="unplanned-and-killed"),
]
MAY_NOT = [
    pytest.param(LEFT, CRASHED, False, "does not answer it or the controller", id="a-primary-that-crashed"),
    pytest.param(STANDBY, None, False, "does not answer it or the controller", id="a-primary-left-out"),
    pytest.param(STANDBY, PRIMARY, True, "still takes writes", id="unplanned-while-the-primary-lives"),
    pytest.param(LATE, PRIMARY, False, "bytes behind", id="behind"),
    pytest.param(PROMOTED, PRIMARY, False, "both take writes", id="two-primaries"),
    pytest.param(DOWN, PRIMARY, False, "its server does not run", id="down"),
]


@pytest.mark.parametrize(("db2", "db1", "unplanned", "resumption"), MAY)
def test_a_promotion_is_begun_or_gone_on_with(
    db2: Answer, db1: Answer | None, unplanned: bool, resumption: str
) -> None:
    said = answers(db2, db1)
    assert decided("__postgresql_replica_objections", said, postgresql_replica_unplanned=unplanned) == ""
    text = decided("__postgresql_replica_resumption", said, postgresql_replica_unplanned=unplanned)
    assert text.startswith(resumption)
    assert bool(text) == bool(resumption)


@pytest.mark.parametrize(("db2", "db1", "unplanned", "reason"), MAY_NOT)
def test_a_promotion_is_refused_with_its_reason(db2: Answer, db1: Answer | None, unplanned: bool, reason: str) -> None:
    text = decided("__postgresql_replica_objections", answers(db2, db1), postgresql_replica_unplanned=unplanned)
    assert reason in text


def has(server: Answer, count: int, system: str = "7") -> dict[str, Any]:
    """What a host's script said, of a server that has so much of the primary's WAL."""
    said = server | {"system": system, "server": server["server"] | {"has": count}}
    return {"__postgresql_replica_answer": {"stdout": json.dumps(said)}}


AHEAD = [
    pytest.param({"db3": has(LEFT, 101)}, "db3 has more of what db1 wrote", id="another-has-more"),
    pytest.param({"db3": has(LEFT, 101), "db4": has(LEFT, 2**60)}, "db4 has more", id="two-have"),
    pytest.param({"db3": has(LEFT, 100), "db4": has(LEFT, 99)}, "", id="nobody-has"),
    pytest.param({"db3": has(DOWN, 0)}, "", id="one-is-down"),
    pytest.param({"db3": has(LEFT, 101, system="8")}, "", id="of-another-system"),
]


@pytest.mark.parametrize(("others", "reason"), AHEAD)
def test_of_two_standbys_that_which_has_more_is_promoted_when_the_primary_is_gone(
    others: dict[str, Any], reason: str
) -> None:
    hosts = {"db2": has(LEFT, 100), **others}
    given = {"postgresql_replica_hosts": ["db1", *hosts], "postgresql_replica_unplanned": True}
    text = decided("__postgresql_replica_objections", hosts, **given)
    assert text.startswith(reason)
    assert bool(text) == bool(reason)


# What the run knows of the standby: nothing, that it was asked, and what it said. Another host's task was skipped.
SKIPPED = {"__postgresql_replica_promoted": {"skipped": True}}
ASKED = {"__postgresql_replica_asked": True}
KNOWN = [
    pytest.param({}, False, True, id="never-asked"),
    pytest.param({**ASKED, "__postgresql_replica_promoted": {"rc": 3}}, False, True, id="it-refused"),
    pytest.param({**ASKED, "__postgresql_replica_promoted": {"rc": 1}}, False, False, id="it-timed-out"),
    pytest.param({**ASKED, "__postgresql_replica_promoted": {"unreachable": True}}, False, False, id="it-was-lost"),
    pytest.param(ASKED, False, False, id="no-result"),
    pytest.param({}, True, False, id="unplanned"),
]


@pytest.mark.parametrize(("known", "unplanned", "unchanged"), KNOWN)
@pytest.mark.parametrize("host", ["db1", "db2"])
def test_the_old_primary_runs_again_only_where_the_standby_is_one(
    known: dict[str, Any], unplanned: bool, unchanged: bool, host: str
) -> None:
    given = {"postgresql_replica_unplanned": unplanned, "inventory_hostname": host}
    if host == "db1":
        given |= SKIPPED
    assert decided("__postgresql_replica_unchanged", {"db1": SKIPPED, "db2": known}, **given) is unchanged


SYNCHRONOUS = [
    pytest.param(False, ["db1", "db2"], "ANY 1 (replica_db2)", id="whoever-is-asked"),
    pytest.param(True, ["db1"], "", id="nobody-is-left"),
    pytest.param(True, ["db1", "db2"], "ANY 1 (replica_db2)", id="another-is-left"),
]


@pytest.mark.parametrize(("unplanned", "there", "names"), SYNCHRONOUS)
def test_no_commit_waits_for_a_standby_that_died_with_the_primary(
    unplanned: bool, there: list[str], names: str
) -> None:
    given = {"inventory_hostname": "db1", "postgresql_replica_synchronous": "any", "ansible_play_hosts": there}
    found = decided("__postgresql_replica_synchronous_names", {}, postgresql_replica_unplanned=unplanned, **given)
    assert found == names
