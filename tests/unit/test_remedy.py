"""A host that gave no answer is named, with the task and what to do."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.plugins.loader import callback_loader

PROJECT = Path(__file__).parents[2]
# Work that grows with the data: by module, or by what its command runs.
MODULES = {"postgresql_optimization", "postgresql_partition"}
COMMANDS = ("dbjob backup_full", "'clone'", "__mltrading_sample_data_command", "maintenance_name")


def remedy(result: Mapping[str, Any]) -> str | None:
    """The sentence for a result of db1's task."""
    callback_loader.add_directory(str(PROJECT / "plugins/callback"))
    plugin = callback_loader.get("remedy", class_only=True)
    module = __import__(plugin.__module__, fromlist=["find_remedy"])
    return module.find_remedy("db1", "Ask the server", result)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("result", "says"),
    [
        pytest.param({"unreachable": True, "msg": "timed out"}, "db1 cannot be reached", id="unreachable"),
        pytest.param(
            {"unreachable": True, "msg": "REMOTE HOST IDENTIFICATION HAS CHANGED!"},
            "ssh-keygen -R db1",
            id="another key",
        ),
        pytest.param({"msg": "Timed out after 60 second(s).", "timedout": {"period": 60}}, "within 60 s", id="a limit"),
        pytest.param({"msg": "Timed out after 60 second(s)."}, "'Ask the server' did not end", id="a limit, in words"),
    ],
)
def test_a_host_that_gave_no_answer_is_named_with_what_to_do(result: dict[str, Any], says: str) -> None:
    assert says in (remedy(result) or "")


def test_another_failure_says_itself_what_to_do() -> None:
    assert remedy({"failed": True, "msg": "no such file"}) is None


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        pytest.param("no command in it", {"inventory": ("inventories/lab",)}, [], id="none"),
        pytest.param(
            "Run playbooks/site.yml, then playbooks/promote_replica.yml -e promote_to=db2.x.net\n"
            " -e promote_confirm=db2.x.net.",
            {"inventory": ("inventories/a b",), "vault_password_files": ["~/p w"]},
            [
                "ansible-playbook -i 'inventories/a b' --vault-password-file '~/p w' playbooks/site.yml",
                "ansible-playbook -i 'inventories/a b' --vault-password-file '~/p w' playbooks/promote_replica.yml"
                " -e promote_to=db2.x.net -e promote_confirm=db2.x.net",
            ],
            id="two, of which one ends the sentence",
        ),
        pytest.param(
            "(playbooks/site.yml --limit '!db1'), again playbooks/site.yml --limit '!db1'",
            {"ask_vault_pass": True},
            ["ansible-playbook --ask-vault-pass playbooks/site.yml --limit '!db1'"],
            id="one, said twice",
        ),
    ],
)
def test_a_playbook_that_a_message_names_is_said_as_the_whole_command(
    text: str, options: dict[str, Any], says: list[str]
) -> None:
    callback_loader.add_directory(str(PROJECT / "plugins/callback"))
    plugin = callback_loader.get("remedy", class_only=True)
    module = __import__(plugin.__module__, fromlist=["find_commands"])
    assert module.find_commands(text, options) == says


def test_a_task_that_never_ends_is_ended_and_says_so(tmp_path: Path) -> None:
    play = [
        {"hosts": "all", "gather_facts": False, "tasks": [{"name": "Wait", "ansible.builtin.command": "sleep 600"}]}
    ]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
    done = subprocess.run(
        ["ansible-playbook", "--inventory", "slow,", "--connection", "local", str(tmp_path / "play.yml")],
        env=os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_TASK_TIMEOUT": "2"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "REMEDY: slow: 'Wait' did not end within 2 s" in done.stdout + done.stderr


def tasks(found: Any) -> list[dict[str, Any]]:
    """Every task of a list, those of its blocks too."""
    below = [inner for task in found for key in ("block", "rescue", "always", "tasks") for inner in task.get(key) or []]
    return [*found, *tasks(below)] if found else []


def test_work_that_grows_with_the_data_names_a_limit_of_its_own() -> None:
    files = [*PROJECT.glob("roles/*/tasks/*.yml"), *PROJECT.glob("playbooks/*.yml")]
    long = [
        (file.name, task)
        for file in files
        for task in tasks(yaml.safe_load(file.read_text()))
        if MODULES & set(task) or any(word in str(task.get("ansible.builtin.command", "")) for word in COMMANDS)
    ]
    assert len(long) >= len(MODULES) + len(COMMANDS)
    assert [(name, task["name"]) for name, task in long if not {"timeout", "async"} & set(task)] == []
