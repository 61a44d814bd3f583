"""A plan is what a check said, saved and compared; drift is a check and what no run has made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mltrading_db.cli import changes, drifts, plans
from mltrading_db.cli.environment import RefusedError, program
from mltrading_db.cli.events import Recap


def event(kind: str, host: str, task: str, action: str, **result: Any) -> dict[str, Any]:
    """An event as ansible-runner hands it on."""
    data = {"host": host, "role": "postgresql", "task": task, "task_action": action, "task_path": "x.yml:1"}
    return {"event": f"runner_{kind}", "event_data": {**data, "res": {"changed": True, **result}}}


SETTINGS = {
    "before": "work_mem = '4MB'\nport = '5432'\n",
    "after": "work_mem = '8MB'\nport = '5432'\nmax_connections = '9'\n",
}
INDEX = {
    "kind": "index",
    "name": "public.i",
    "action": "create",
    "reason": "does not exist",
    "locks": ["SHARE UPDATE EXCLUSIVE on public.t"],
    "statements": ["CREATE INDEX CONCURRENTLY i ON t (a)"],
    "estimated_bytes": 1000,
    "estimated_seconds": 2.5,
    "state": "planned",
}
EVENTS = [
    event("on_ok", "db1", "Config fragment | Write it", "ansible.builtin.template", diff=[SETTINGS]),
    event("on_ok", "db2", "Config fragment | Write it", "ansible.builtin.template", diff=[SETTINGS]),
    event("on_ok", "db1", "Jobs | Write the files", "ansible.builtin.copy", dest="/etc/cron.d/mltrading-db-dump"),
    event("on_ok", "db1", "Roles | Make the roles", "community.postgresql.postgresql_user"),
    event("on_ok", "db1", "apply | Create", "postgresql_optimization", actions=[INDEX]),
    event("on_ok", "db1", "Look", "ansible.builtin.raw", changed=False),
]


def recap(events: list[dict[str, Any]]) -> Recap:
    """What came of these events."""
    made = Recap()
    for one in events:
        made.take(one)
    return made


def overwritten(made: Recap) -> list[dict[str, Any]]:
    """What the repository says otherwise."""
    return drifts.overwritten(made, "trial")


def unknown(answers: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What the hosts say that the repository does not."""
    said = {host: {"known": True, "differences": found, "rule_fragments": []} for host, found in answers.items()}
    return list(drifts.unknown(said, "trial"))


@pytest.fixture
def plan() -> plans.Plan:
    """A plan."""
    steps = plans.steps(recap(EVENTS).changes)
    return plans.Plan("staging", "", "", "2026-11-24T03:00:00+00:00", "abc", plans.digest(steps), steps)


def test_steps_are_what_would_change_by_what_they_are_about(plan: plans.Plan) -> None:
    assert [(step["host"], step["kind"]) for step in plan.steps] == [
        ("db1", "settings"),
        ("db2", "settings"),
        ("db1", "jobs"),
        ("db1", "users and privileges"),
        ("db1", "objects of the database"),
    ]


def test_an_object_comes_with_locks_size_and_time(plan: plans.Plan) -> None:
    [action] = plan.steps[-1]["details"]
    assert action["locks"] == ["SHARE UPDATE EXCLUSIVE on public.t"]
    assert (action["estimated_bytes"], action["estimated_seconds"]) == (1000, 2.5)


def test_a_setting_says_whether_it_takes_a_restart_and_the_primary_goes_last(plan: plans.Plan) -> None:
    contexts = {host: {"work_mem": "user", "max_connections": "postmaster"} for host in ("db1", "db2")}
    assert plans.taken_up(plan.steps, contexts, "db1") == [
        "db2: restart, for max_connections",
        "db1: restart, for max_connections",
    ]


@pytest.mark.parametrize(
    ("before", "after", "first"),
    [pytest.param(9, 8, "db1", id="less: the primary"), pytest.param(8, 9, "db2", id="more: the standby")],
)
def test_who_is_restarted_first_follows_from_what_a_standby_must_have(before: int, after: int, first: str) -> None:
    diff = [{"before": f"max_connections = '{before}'\n", "after": f"max_connections = '{after}'\n"}]
    events = [event("on_ok", host, "Config fragment | Write it", "template", diff=diff) for host in ("db1", "db2")]
    contexts = {host: {"max_connections": "postmaster"} for host in ("db1", "db2")}
    lines = plans.taken_up(plans.steps(recap(events).changes), contexts, "db1")
    assert lines[0].startswith(f"{first}: restart")


def test_a_restart_that_is_not_allowed_is_said_to_wait(plan: plans.Plan) -> None:
    contexts = {host: {"work_mem": "user", "max_connections": "postmaster"} for host in ("db1", "db2")}
    lines = plans.taken_up(plan.steps, contexts, "db1", {"db1", "db2"}, "mldb apply lab --restart")
    assert lines[0] == "db2: reload; max_connections waits for mldb apply lab --restart"


def test_a_setting_that_needs_no_restart_takes_a_reload(plan: plans.Plan) -> None:
    contexts = {host: {"work_mem": "user", "max_connections": "sighup"} for host in ("db1", "db2")}
    assert plans.taken_up(plan.steps, contexts, "db1")[0] == "db2: reload, for max_connections, work_mem"


def test_a_plan_is_the_same_when_it_is_read_again(plan: plans.Plan, tmp_path: Path) -> None:
    plans.write(tmp_path / "plan.json", plan)
    assert plans.read(tmp_path / "plan.json") == plan
    assert (tmp_path / "plan.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("number", "key", "value"),
    [
        pytest.param(0, "why", ["+work_mem = '1GB'"], id="another value"),
        pytest.param(0, "host", "db3", id="another host"),
        pytest.param(4, "details", [{**INDEX, "statements": ["DROP TABLE t"]}], id="another statement"),
    ],
)
def test_a_plan_that_was_changed_by_hand_is_refused(
    plan: plans.Plan, tmp_path: Path, number: int, key: str, value: object
) -> None:
    plans.write(tmp_path / "plan.json", plan)
    saved = json.loads((tmp_path / "plan.json").read_text())
    saved["steps"][number][key] = value
    (tmp_path / "plan.json").write_text(json.dumps(saved))
    with pytest.raises(RefusedError, match="was changed since it was made"):
        plans.read(tmp_path / "plan.json")


@pytest.mark.parametrize("text", ["", "[]", '{"steps": []}', "no JSON"])
def test_what_is_no_plan_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(RefusedError):
        plans.read(tmp_path / "plan.json")


def test_estimates_and_the_order_among_hosts_are_no_change_of_a_plan(plan: plans.Plan) -> None:
    other = [
        *EVENTS[:-2],
        event("on_ok", "db1", "apply | Create", "postgresql_optimization", actions=[{**INDEX, "estimated_seconds": 9}]),
    ]
    assert plans.digest(plans.steps(recap(other[::-1]).changes)) == plan.digest


def test_a_plan_that_no_longer_holds_says_what_moved(plan: plans.Plan) -> None:
    now = plans.steps(recap(EVENTS[1:]).changes)
    assert plans.digest(now) != plan.digest
    assert plans.moved(plan.steps, now) == ["  - db1: postgresql: Config fragment | Write it"]
    assert plans.moved(now, plan.steps) == ["  + db1: postgresql: Config fragment | Write it"]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (changes.Wanted("production"), "a plan for staging"),
        (changes.Wanted("staging", limit="db2"), "leave them out"),
        (changes.Wanted("staging", tags="tls"), "leave them out"),
    ],
)
def test_a_plan_is_for_one_environment_and_its_own_scope(plan: plans.Plan, wanted: changes.Wanted, says: str) -> None:
    with pytest.raises(RefusedError, match=says):
        changes.same_scope(wanted, plan)


def test_a_plan_brings_its_scope(plan: plans.Plan) -> None:
    limited = replace(plan, limit="db1", tags="tls")
    assert changes.same_scope(changes.Wanted("staging"), limited) == ("db1", "tls")


def test_packages_are_named() -> None:
    said = {
        "prepared": "Suggested packages:\n  a-doc\nThe following NEW packages will be installed:\n  a b\n0 upgraded\n"
    }
    [change] = recap([event("on_ok", "db1", "Install", "ansible.builtin.apt", diff=said)]).changes
    assert change.why == ["+a", "+b"]


def test_a_rescued_failure_is_none() -> None:
    failed = event("on_failed", "db1", "Try", "ansible.builtin.command", msg="no")
    made = recap(
        [failed, {"event": "playbook_on_stats", "event_data": {"failures": {}, "dark": {}, "rescued": {"db1": 1}}}]
    )
    assert made.failures == {}


def test_a_command_that_failed_says_what_it_said_and_not_that_it_failed() -> None:
    said = {"msg": "non-zero return code", "stderr": "the disk is full"}
    made = recap([event("on_failed", "db1", "Try", "ansible.builtin.script", **said)])
    assert made.failures["db1"].reason == "the disk is full"


def test_a_failure_says_the_last_lines_of_its_reason() -> None:
    made = recap([event("on_failed", "db1", "Try", "ansible.builtin.command", stderr="\n".join(map(str, range(50))))])
    assert made.failures["db1"].reason.splitlines()[-1] == "49"
    assert len(made.failures["db1"].reason.splitlines()) < 20


def test_the_way_out_of_a_failure_is_the_command_that_failed() -> None:
    made = recap([event("on_failed", "db1", "Try", "ansible.builtin.command", msg="no")])
    assert "run it again: mldb restore lab db1 --latest" in made.failures["db1"].way_out(
        "mldb restore lab db1 --latest", ""
    )


def test_a_host_that_does_not_answer_has_another_way_out_than_one_that_failed() -> None:
    made = recap([event("on_unreachable", "db1", "Try", "ansible.builtin.command", msg="no")])
    assert "ansible -m ping db1\nThen run it again: mldb x" in made.failures["db1"].way_out(
        "mldb x", "ansible -m ping {host}"
    )


def test_a_host_that_did_not_answer_and_was_refused_for_it_is_one_that_does_not_answer() -> None:
    silent = event("on_unreachable", "db1", "Ask", "ansible.builtin.raw", msg="no")
    refused = event("on_failed", "db1", "Refuse", "ansible.builtin.assert", msg="db1 does not answer")
    assert recap([silent, refused]).failures["db1"].unreachable


FOUND_BY_HAND = {
    "db1": [
        {"kind": kind, "name": f"the {kind}", "accepted": None, "found": "anna=r/anna"}
        for kind in ("setting", "login rule", "role", "privileges", "index", "materialized view", "cron line", "file")
    ],
    "db2": [],
}


def test_drift_says_who_is_right_and_both_ways_out() -> None:
    found = overwritten(recap(EVENTS)) + list(unknown(FOUND_BY_HAND))
    assert {one["right"] for one in found} == {"repository", "nobody has said"}
    assert [one for one in found if not (one["keep"] and one["undo"] and one["why"] is not None)] == []
    assert f"{program()} apply trial --limit db1" in [one["undo"] for one in found]
    assert all("trial" in one["keep"] for one in found if one["right"] == "nobody has said")


FRAGMENT = {"path": "/etc/postgresql/15/main/conf.d/10-postgresql.conf", "diff": [SETTINGS]}
TWICE = [
    pytest.param("template", FRAGMENT, "setting", "work_mem", id="a setting of a fragment"),
    pytest.param("template", {"path": "/etc/p.conf"}, "file", "/etc/p.conf", id="a file"),
    # So does Ansible say it in check mode.
    pytest.param(
        "copy",
        {"diff": [{"before_header": "/etc/p.ini", "before": "a", "after": "b"}]},
        "file",
        "/etc/p.ini",
        id="a copy",
    ),
    pytest.param(
        "host_files", {"files": ["/etc/cron.d/a"]}, "cron line", "/etc/cron.d/a: @daily x", id="a line of cron"
    ),
    pytest.param("assemble", {"dest": "/etc/postgresql/pg_hba.conf"}, "login rule", "host all", id="a login rule"),
    pytest.param("postgresql_user", {"item": "reader"}, "role", "reader", id="a role"),
    pytest.param("postgresql_privs", {"item": "trading"}, "privileges", "database trading", id="of a database"),
    pytest.param("postgresql_optimization", {"actions": [INDEX]}, "index", "mltrading: i", id="an index"),
]


@pytest.mark.parametrize(("action", "result", "kind", "name"), TWICE)
def test_what_a_run_overwrites_is_not_said_again_as_unknown(
    action: str, result: dict[str, Any], kind: str, name: str
) -> None:
    known = overwritten(recap([event("on_ok", "db1", "Write it", action, **result)]))
    by_hand = [{"kind": kind, "name": name, "accepted": "as it was", "found": "there"}]
    [found] = drifts.merged(known, unknown({"db1": by_hand}))
    assert found["right"] == "repository"
    other = drifts.merged(known, unknown({"db2": by_hand}))
    assert [one["right"] for one in other] == ["repository", "nobody has said"]


def test_another_thing_of_the_same_database_is_said_beside() -> None:
    known = overwritten(recap([event("on_ok", "db1", "Make", "postgresql_db", item="mltrading")]))
    by_hand = [{"kind": "index", "name": "mltrading: mine", "accepted": None, "found": "there"}]
    assert len(drifts.merged(known, unknown({"db1": by_hand}))) == 2


def hidden(task: str, action: str, *, changed: bool) -> dict[str, Any]:
    """An event of a task with no_log, whose result ansible-runner takes away."""
    data = {"host": "db1", "role": "postgresql_access", "task": task, "task_action": action}
    said = f"\r\nTASK [{task}] ***\r\n\x1b[0;33m{'changed' if changed else 'ok'}: [db1] => (item=(censored))"
    return {"event": "runner_item_on_ok", "stdout": said, "event_data": {**data, "res": {"censored": "hidden"}}}


def test_what_is_changed_with_secrets_is_a_step_that_does_not_say_them() -> None:
    action = "ansible.builtin.copy"
    events = [hidden("Rules | Write them", action, changed=changed) for changed in (True, False, True)]
    found = plans.steps(recap(events).changes)
    assert [(step["kind"], "secrets" in step["what"]) for step in found] == [("login rules", True)] * 2


def test_a_role_and_its_settings_are_put_right_by_the_step_that_names_it_and_another_is_not() -> None:
    step = {"_ansible_item_label": "reader: NOLOGIN, no jit, stranger = a"}
    known = overwritten(recap([event("item_on_ok", "db1", "Roles | Make", "postgresql_user", **step)]))
    kinds = [("setting", "of role reader", "a"), ("role", "reader", "login"), ("role", "stranger", None)]
    kinds += [("setting", "work_mem", "4MB"), ("setting", "of role reader in trading", "a"), ("file", "/etc/x", "root")]
    by_hand = [{"kind": kind, "name": name, "accepted": before, "found": "b"} for kind, name, before in kinds]
    [put_right, *left] = drifts.merged(known, unknown({"db1": by_hand}))
    assert put_right["why"] == ["-of role reader: a", "+of role reader: b", "-reader: login", "+reader: b"]
    assert [one["name"] for one in left] == ["stranger", "work_mem", "of role reader in trading", "/etc/x"]


def test_a_file_with_secrets_puts_no_setting_right() -> None:
    known = overwritten(recap([hidden("Files | Write the password", "ansible.builtin.copy", changed=True)]))
    kinds = [("file", "/etc/x"), ("setting", "work_mem"), ("cron line", "/etc/crontab: x"), ("login rule", "host all")]
    by_hand = [{"kind": kind, "name": name, "accepted": "a", "found": "b"} for kind, name in kinds]
    found = drifts.merged(known, unknown({"db1": by_hand}))
    assert [one["name"] for one in found[1:]] == ["work_mem", "/etc/crontab: x", "host all"]


def test_what_several_steps_are_about_is_said_once_and_by_the_host_where_they_say_nothing() -> None:
    silent = event("on_ok", "db1", "Rules | Put together", "assemble", dest="/etc/postgresql/pg_hba.conf")
    rule = {"kind": "login rule", "name": "host all all 192.0.2.7/32 trust", "accepted": None, "found": "there"}
    [found] = drifts.merged(overwritten(recap([silent, silent])), unknown({"db1": [rule]}))
    assert (found["kind"], found["right"]) == ("login rules", "repository")
    assert found["why"] == ["+host all all 192.0.2.7/32 trust: there"]


def test_what_a_standby_has_from_its_primary_is_said_of_the_primary() -> None:
    def there(kind: str, name: str, value: str = "there") -> dict[str, Any]:
        return {"kind": kind, "name": name, "accepted": None, "found": value}

    rights = "function with its owner's rights"
    both = [
        there("role", "a"),
        there(rights, "f()"),
        there("setting", "of role a"),
        there("setting", "work_mem"),
        there("file", "/etc/a"),
    ]
    answers = {"db1": both, "db2": [*both, there("role", "a", "another"), there("index", "its own")]}
    found = drifts.of_primary(unknown(answers), "db1")
    assert [one["name"] for one in found if one["host"] == "db1"] == [one["name"] for one in both]
    told = [(one["name"], one["why"]) for one in found if one["host"] == "db2"]
    assert told == [
        ("work_mem", ["+there"]), ("/etc/a", ["+there"]), ("a", ["+another"]), ("its own", ["+there"]),
    ]  # fmt: skip


def test_a_reload_or_restart_that_is_due_is_no_drift_of_its_own() -> None:
    tasks = ("Service | Reload", "Restart | Restart the primary", "Service | Run the service")
    events = [event("on_ok", "db1", task, "ansible.builtin.systemd_service", name="x") for task in tasks]
    events.append(event("on_ok", "db1", "Look | Have the job look now", "ansible.builtin.command"))
    assert ["Run the service" in one["name"] for one in overwritten(recap(events))] == [True]


def test_files_that_are_written_together_are_named_and_are_jobs_where_cron_is_among_them() -> None:
    files = ["/etc/mltrading-db/dump.env", "/etc/cron.d/mltrading-db-dump"]
    [step] = plans.steps(recap([event("on_ok", "db1", "Jobs | Write", "host_files", files=files)]).changes)
    assert (step["kind"], step["what"]) == ("jobs", ", ".join(files))
    [step] = plans.steps(recap([event("on_ok", "db1", "Files | Write", "host_files", files=["/etc/x"])]).changes)
    assert (step["kind"], step["what"]) == ("files", "/etc/x")
