"""What the tests of whole hosts share. testinfra runs each test that asks for `host` once on every host."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
import testinfra
from testinfra.host import Host

PROJECT = Path(__file__).parents[3]
SITE = PROJECT / "playbooks/site.yml"
EPHEMERAL = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])


class Query(Protocol):
    """Asks a server one statement and returns psql's answer, unaligned and without headings."""

    def __call__(self, statement: str, database: str = "postgres") -> str:
        """The answer of `database`."""
        ...


def asks(host: Host) -> Query:
    """Asks on a host itself, as OS user postgres over the socket."""
    command = "runuser -u postgres -- psql --no-psqlrc --set=ON_ERROR_STOP=1 -AtX -d %s -c %s"

    def ask(statement: str, database: str = "postgres") -> str:
        return str(host.check_output(command, database, statement))

    return ask


@pytest.fixture(scope="module")
def host(_testinfra_host: Host) -> Host:
    """The host, seen from outside: what is asked over SSH stands in its log, with the secrets that it asks for."""
    return testinfra.get_host(f"docker://{_testinfra_host.backend.get_hostname()}")


@pytest.fixture
def query(host: Host) -> Query:
    """Asks the host's server."""
    return asks(host)


@pytest.fixture
def standby(host: Host) -> Host:
    """The host that is the standby of this one."""
    name = str(host.backend.get_hostname()).removesuffix("db1") + "db2"
    return testinfra.get_host(f"docker://{name}")


@pytest.fixture
def query_standby(standby: Host) -> Query:
    """Asks the standby's server."""
    return asks(standby)


def eventually(reached: Callable[[], bool], seconds: float = 180) -> bool:
    """Whether it comes about in time."""
    end = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


@pytest.fixture
def address(host: Host) -> str:
    """The host's address on the network that the controller is on too."""
    return str(host.interface("eth0").addresses[0])


@pytest.fixture(scope="session")
def ca() -> str:
    """The certificate of the environment's authority."""
    return str(EPHEMERAL / "ca/ca.crt")


@pytest.fixture(scope="session")
def foreign_ca(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The certificate of an authority that signed none of ours."""
    folder = tmp_path_factory.mktemp("foreign")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=foreign -days 1"
    subprocess.run(
        [*command.split(), "-keyout", folder / "ca.key", "-out", folder / "ca.crt"], check=True, capture_output=True
    )
    return str(folder / "ca.crt")


@pytest.fixture(scope="session")
def secret() -> Callable[[str], str]:
    """A password of the environment, by its variable's name."""
    return lambda name: (EPHEMERAL / "secrets" / name).read_text().split()[0]


class Play(Protocol):
    """Runs a playbook on all hosts of the scenario, or on one."""

    def __call__(
        self, playbook: Path, *arguments: str, variables: dict[str, Any] | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """The finished run."""
        ...


@pytest.fixture(scope="session")
def play() -> Play:
    """Runs ansible-playbook as a person would, with this scenario's inventory."""

    def run(
        playbook: Path, *arguments: str, variables: dict[str, Any] | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        extra = ["--extra-vars", json.dumps(variables)] if variables else []
        return subprocess.run(
            ["ansible-playbook", "--inventory", EPHEMERAL / "inventory", *arguments, *extra, playbook],
            env=os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")} | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def prediction(play: Play) -> dict[str, Any]:
    """The whole site predicted (--check --diff) for hosts that have just converged: the play's JSON document."""
    run = play(SITE, "--check", "--diff", ANSIBLE_STDOUT_CALLBACK="ansible.posix.json")
    assert run.returncode == 0, run.stdout + run.stderr
    return dict(json.loads(run.stdout[run.stdout.index("{") :]))
