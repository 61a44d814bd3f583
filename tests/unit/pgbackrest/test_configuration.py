"""What the role makes of the inventory: what pgBackRest reads, and what is refused before any change."""

import configparser
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[3]
S3 = {
    "repo1-type": "s3",
    "repo1-path": "/mltrading",
    "repo1-s3-bucket": "backups",
    "repo1-s3-endpoint": "s3.eu-central-1.amazonaws.com",
    "repo1-s3-region": "eu-central-1",
    "repo1-s3-key-type": "auto",
}
# Facts and inputs as an inventory has them; nothing is asked of a host but by `copy`.
PLAY = """
- hosts: all
  gather_facts: false
  connection: local
  tasks:
    - ansible.builtin.set_fact:
        {distribution_major_version: "{{ release }}", processor_nproc: 4, cacheable: true}
    - ansible.builtin.import_role: {name: pgbackrest, tasks_from: preflight}
    - ansible.builtin.copy:
        content: "{{ __pgbackrest_config }}"
        dest: "{{ playbook_dir }}/{{ inventory_hostname }}.conf"
        mode: "0600"
      vars: {role_path: "ROLE"}
"""


def play(folder: Path, hosts: dict[str, str], **variables: Any) -> subprocess.CompletedProcess[str]:
    """Run the role's preflight for hosts of these Debian releases, and write what each would have."""
    listed = {
        name: {"release": release, "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        for name, release in hosts.items()
    }
    (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": listed}}))
    (folder / "play.yml").write_text(PLAY.replace("ROLE", str(PROJECT / "roles/pgbackrest")))
    (folder / "ansible.cfg").write_text(f"[defaults]\nroles_path = {PROJECT}/roles\ninject_facts_as_vars = false\n")
    extra = {"pgbackrest_cipher_passphrase": "x" * 20, "pgbackrest_listen_address": "192.0.2.1"} | variables
    return subprocess.run(
        ["ansible-playbook", "-i", "inventory.json", "-e", json.dumps(extra), "play.yml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def options(folder: Path, host: str) -> dict[str, str]:
    """The global options of the file that the host would have."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.read(folder / f"{host}.conf")
    return dict(parser["global"])


@pytest.mark.faults
def test_a_repository_in_an_object_store_is_reached_by_each_database_host_itself(tmp_path: Path) -> None:
    run = play(tmp_path, {"db1": "12"}, pgbackrest_database_hosts=["db1"], pgbackrest_repository_options=S3)
    assert run.returncode == 0, run.stdout
    found = options(tmp_path, "db1")
    assert {name: found[name] for name in S3} == S3
    assert (found["repo1-cipher-type"], found["repo1-cipher-pass"]) == ("aes-256-cbc", "x" * 20)
    assert (found["repo1-retention-full-type"], found["compress-type"]) == ("time", "lz4")
    assert [name for name in found if name.startswith(("repo1-host", "tls-server"))] == []
    # Its host is lost and the backups are not: no warning.
    assert "keeps its backups itself" not in run.stdout


@pytest.mark.faults
def test_a_repository_on_the_database_host_warns_and_knows_no_other_host(tmp_path: Path) -> None:
    run = play(tmp_path, {"db1": "12"}, pgbackrest_database_hosts=["db1"])
    assert run.returncode == 0, run.stdout
    assert "keeps its backups itself: what destroys it destroys them" in " ".join(run.stdout.split())
    assert options(tmp_path, "db1")["repo1-path"] == "/var/lib/pgbackrest"


@pytest.mark.faults
def test_an_object_store_behind_a_repository_host_is_that_hosts_alone(tmp_path: Path) -> None:
    hosts = {"db1": "13", "backup1": "13"}
    where = {"pgbackrest_database_hosts": ["db1"], "pgbackrest_repository_host": "backup1"}
    run = play(tmp_path, hosts, pgbackrest_repository_options=S3, **where)
    assert run.returncode == 0, run.stdout
    assert options(tmp_path, "backup1")["repo1-s3-bucket"] == "backups"
    database = options(tmp_path, "db1")
    assert database["repo1-host"] == "backup1"
    assert [name for name in database if "s3" in name or "cipher" in name] == []


def test_a_mix_of_debian_releases_is_refused(tmp_path: Path) -> None:
    hosts = {"db1": "12", "backup1": "13"}
    run = play(tmp_path, hosts, pgbackrest_database_hosts=["db1"], pgbackrest_repository_host="backup1")
    assert run.returncode != 0
    assert "run one Debian release, and so one pgBackRest and PostgreSQL; these run 12 and 13" in " ".join(
        run.stdout.split()
    )
    assert list(tmp_path.glob("*.conf")) == []


@pytest.mark.parametrize("option", ["repo1-cipher-pass", "archive-push-queue-max", "compress-type"])
def test_an_option_that_would_weaken_the_repository_is_refused(tmp_path: Path, option: str) -> None:
    run = play(tmp_path, {"db1": "12"}, pgbackrest_database_hosts=["db1"], pgbackrest_repository_options={option: "x"})
    assert run.returncode != 0
    assert f"pgbackrest_repository_options.{option} has a variable of its own" in " ".join(run.stdout.split())
