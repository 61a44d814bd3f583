"""SSH takes a host's key as ansible.cfg says, and a key that it does not take is shown, with how to accept it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mltrading_db.cli import host_keys, inventory, runner
from mltrading_db.cli.environment import FAILED, Environment
from mltrading_db.cli.session import session

KEY = "SHA256:g+7pfpIEHTcv6uJMOgBjGQpgD7nSXIDTcIh7GQcE5w4"
SHOWN = f"debug1: Server host key: ssh-ed25519 {KEY}\n"
UNKNOWN = SHOWN + "No ED25519 host key is known for 10.0.0.1 and you have requested strict checking.\n"
CHANGED = f"""{SHOWN}@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
Offending ED25519 key in /home/a/.ssh/known_hosts:1
  remove with:
  ssh-keygen -f "/home/a/.ssh/known_hosts" -R "10.0.0.1"
"""
OPTIONS = ["-J", "jump", "deploy@10.0.0.1"]
ACCEPT = "ssh -o StrictHostKeyChecking=ask -J jump deploy@10.0.0.1 true"

ADVICE = {
    "a key that nobody knows": (UNKNOWN, "no key is known for it", ["ssh_host_ed25519_key.pub", KEY, ACCEPT]),
    "another key than the known one": (
        CHANGED,
        "another key is known for it",
        ["ssh_host_ed25519_key.pub", 'ssh-keygen -f "/home/a/.ssh/known_hosts" -R "10.0.0.1"', KEY, ACCEPT],
    ),
    "a host that shows none": ("ssh: connect to host 10.0.0.1: timed out", "no key is known for it", [ACCEPT]),
    "another key, and no word of where": (
        SHOWN + host_keys.CHANGED,
        "another key is known",
        ["ssh-keygen -R 10.0.0.1", ACCEPT],
    ),
}


@pytest.mark.parametrize(("said", "reason", "steps"), ADVICE.values(), ids=ADVICE)
def test_a_key_that_is_not_taken_is_shown_with_the_way_to_take_it(said: str, reason: str, steps: list[str]) -> None:
    found, remedy = host_keys.advice("db1", OPTIONS, said)
    assert reason in found
    assert [step for step in steps if step not in remedy] == []


def test_ssh_is_asked_with_the_options_that_ansible_gives_it() -> None:
    variables = {
        "inventory_hostname": "db1",
        "ansible_host": "10.0.0.1",
        "ansible_user": "deploy",
        "ansible_port": "2222",
        "ansible_ssh_common_args": "-F '/a folder/config'",
        "ansible_ssh_private_key_file": "/keys/one",
    }
    wanted = ["-F", "/a folder/config", "-p", "2222", "-i", "/keys/one", "deploy@10.0.0.1"]
    assert host_keys.ssh_options(variables) == wanted


@pytest.mark.parametrize(("said", "checks"), [("true", "true"), ("false", "false"), ("", "true")])
def test_the_word_of_ansible_cfg_holds(said: str, checks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANSIBLE_HOST_KEY_CHECKING", raising=False)
    (tmp_path / "ansible.cfg").write_text("[defaults]\n" + (f"host_key_checking = {said}\n" if said else ""))
    assert runner.settings(tmp_path)["ANSIBLE_HOST_KEY_CHECKING"] == checks


# As ssh does where it may not ask: a key that it does not know ends it, unless it is told to take any.
SSH = f"""#!/bin/sh
case "$*" in *StrictHostKeyChecking=no*) echo taken >> {{taken}} ;; esac
echo 'debug1: Server host key: ssh-ed25519 {KEY}' >&2
echo 'Host key verification failed.' >&2
exit 255
"""


@pytest.mark.faults
def test_a_host_with_an_unknown_key_is_not_taken_and_its_key_is_shown(
    local: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ANSIBLE_HOST_KEY_CHECKING", raising=False)
    programs, taken = tmp_path / "programs", tmp_path / "taken"
    programs.mkdir()
    (programs / "ssh").write_text(SSH.format(taken=taken))
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    hosts = local.folder / "hosts.yml"
    hosts.write_text(hosts.read_text().replace("ansible_connection: local", "ansible_connection: ssh"))
    with session("try", local.name) as made:
        assert made.end(made.run("try"), check=True) == FAILED
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert KEY in said
    assert "StrictHostKeyChecking=ask 10.99.0.11 true" in said
    assert not taken.exists()


def test_what_the_inventory_says_of_a_host_is_read(environment: Environment) -> None:
    found = host_keys.variables_of(inventory.load(environment), "t-db1.example.net")
    assert host_keys.ssh_options(found) == ["deploy@10.99.0.11"]
