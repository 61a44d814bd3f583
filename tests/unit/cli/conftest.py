"""A checkout with an environment of its own, whose inputs are right until a test makes one wrong."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mltrading_db.cli import new
from mltrading_db.cli.environment import Environment

# What a checkout has beside its inventories, as it is.
SHARED = ("playbooks", "roles", "plugins", "ansible.cfg", "templates")
PROJECT = Path(__file__).parents[3]
NAME = "trial"
ANSWERS = new.Answers(
    primary="t-db1.example.net=10.99.0.11",
    replicas=("t-db2.example.net=10.99.0.12",),
    repository="t-backup1.example.net=10.99.0.41",
    pooler="t-pool1.example.net=10.99.0.21",
    clients=("10.99.1.0/24",),
    monitoring=("10.99.0.31/32",),
)


def isolate(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Have home and checkout be folders of the test's own; returns the checkout."""
    monkeypatch.setenv("HOME", str(folder / "home"))
    # Tests run side by side, and all environments are called the same.
    (folder / "locks").mkdir(exist_ok=True)
    monkeypatch.setenv("MLDB_LOCK_DIR", str(folder / "locks"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("ANSIBLE_VAULT_PASSWORD_FILE", raising=False)
    monkeypatch.chdir(folder / "checkout")
    return folder / "checkout"


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home and a checkout with an environment as `mldb init` makes it; made once, as its vault takes a moment."""
    folder = tmp_path_factory.mktemp("example")
    (folder / "home").mkdir()
    for environment in ("lab", "production", "staging"):
        source, target = PROJECT / "inventories" / environment, folder / "checkout/inventories" / environment
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("vault.yml"))
    for name in SHARED:
        (folder / "checkout" / name).symlink_to(PROJECT / name)
    with pytest.MonkeyPatch.context() as monkeypatch:
        isolate(monkeypatch, folder)
        assert new.init(NAME, ANSWERS) == 0
    return folder


@pytest.fixture
def environment(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An environment that belongs to the test."""
    shutil.copytree(example, tmp_path / "own", symlinks=True)
    return Environment(NAME, isolate(monkeypatch, tmp_path / "own"))


@pytest.fixture
def checkout(environment: Environment) -> Path:
    """The checkout that the environment is in."""
    return environment.project


Change = Callable[[str, str], None]


@pytest.fixture
def put(environment: Environment) -> Change:
    """Put a file into the environment, below group_vars unless it is hosts.yml."""

    def write(place: str, text: str) -> None:
        path = environment.folder / ("" if place == "hosts.yml" else "group_vars") / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


LOCAL = """all:
  vars: {ansible_connection: local, ansible_python_interpreter: %s}
  children:
    postgresql: {hosts: {t-db1: {ansible_host: 10.99.0.11}}}
    backup_repository: {hosts: {t-backup1: {ansible_host: 10.99.0.41}}}
    pgbouncer: {hosts: {t-db1: }}
"""
PLAYBOOK = """- name: Try
  hosts: all
  gather_facts: false
  tasks:
    - name: Write a file
      ansible.builtin.copy:
        content: "one\\n"
        dest: "{{ inventory_dir }}/../../{{ inventory_hostname }}.txt"
        mode: "0644"
    - name: Say a secret that nobody hides
      ansible.builtin.debug:
        msg: "the password is {{ monitor_password }}"
    - name: Fail on one host
      ansible.builtin.fail:
        msg: "{{ inventory_hostname }}: the disk is full of {{ monitor_password }}"
      when: try_fails | default(false) and inventory_hostname == 't-db1'
    - name: Sleep
      ansible.builtin.command: sleep {{ try_sleeps | default(0) }}
      changed_when: false
      when: not ansible_check_mode
"""


@pytest.fixture
def local(environment: Environment) -> Environment:
    """An environment whose hosts are this machine, with a playbook to try."""
    for name in ("playbooks",):
        (environment.project / name).unlink()
        (environment.project / name).mkdir()
    (environment.project / "playbooks/try.yml").write_text(PLAYBOOK)
    (environment.project / "playbooks/site.yml").write_text(
        "- {name: PostgreSQL, hosts: 'postgresql:backup_repository:pgbouncer', tasks: []}\n"
    )
    (environment.folder / "hosts.yml").write_text(LOCAL % sys.executable)
    (environment.folder / "group_vars/all/postgresql.yml").write_text(
        "postgresql_primary: t-db1\npostgresql_restart_allowed: false\n"
    )
    return environment
