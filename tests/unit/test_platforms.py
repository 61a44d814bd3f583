"""A host of another platform or environment is refused by role common, which check_hosts.yml begins with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PLAY = """- hosts: all
  gather_facts: false
  connection: local
  tasks:
    - ansible.builtin.set_fact:
        distribution: "{{ says[0] }}"
        distribution_version: "{{ says[1] }}"
        distribution_major_version: "{{ says[1] }}"
        ansible_local: {mltrading_db: {environment: "{{ says[2] }}"}}
        cacheable: true
    - ansible.builtin.include_role: {name: common, tasks_from: host}
"""
INVENTORY = """all:
  vars: {common_environment: trial}
  hosts:
    ubuntu: {says: [Ubuntu, "24", ""]}
    older: {says: [Debian, "11", ""]}
    newer: {says: [Debian, "14", ""]}
    stranger: {says: [Debian, "12", production]}
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a run says of hosts that are none of ours."""
    folder = tmp_path_factory.mktemp("platforms")
    (folder / "play.yml").write_text(PLAY)
    (folder / "hosts.yml").write_text(INVENTORY)
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [program, "--inventory", folder / "hosts.yml", folder / "play.yml"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    return " ".join(done.stdout.split())


@pytest.mark.parametrize(
    "says",
    [
        "ubuntu runs Ubuntu 24,",
        "older runs Debian 11,",
        "newer runs Debian 14,",
        "stranger runs Debian 12, is recorded as a host of 'production', and common_environment is 'trial'",
        "Supported are Debian 12 and 13",
    ],
)
def test_a_host_that_is_none_of_ours_is_refused_by_name_value_and_rule(said: str, says: str) -> None:
    assert says in said
    assert said.count("failed=1") == 4
    assert "changed=1" not in said
