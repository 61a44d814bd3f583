"""What the tests of whole hosts share. testinfra runs each test that asks for `host` once on every host."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Protocol

import pytest
from testinfra.host import Host

PROJECT = Path(__file__).parents[3]


class Query(Protocol):
    """Asks a server one statement and returns psql's answer, unaligned and without headings."""

    def __call__(self, statement: str, database: str = "postgres") -> str:
        """The answer of `database`."""
        ...


@pytest.fixture
def query(host: Host) -> Query:
    """Asks on the host itself, as OS user postgres over the socket."""
    command = "runuser -u postgres -- psql --no-psqlrc --set=ON_ERROR_STOP=1 -AtX -d %s -c %s"

    def ask(statement: str, database: str = "postgres") -> str:
        return str(host.check_output(command, database, statement))

    return ask


@pytest.fixture(scope="session")
def prediction() -> dict[str, Any]:
    """The whole site predicted (--check --diff) for hosts that have just converged: the play's JSON document."""
    inventory = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "inventory")
    run = subprocess.run(
        ["ansible-playbook", "--inventory", inventory, "--check", "--diff", PROJECT / "playbooks/site.yml"],
        env=os.environ
        | {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return dict(json.loads(run.stdout[run.stdout.index("{") :]))
