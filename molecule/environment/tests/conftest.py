"""What the tests share: the hosts, two controllers, and the environment as the first of them made it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from controller import Controller, command

EPHEMERAL = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
RELEASE = os.environ.get("FAULTS_DEBIAN", "bookworm")
NETWORK = f"mltrading-env-{RELEASE}"
NAME = "shop"
# The hosts' names, each with its container's.
HOSTS = {"db1.trading.test": "db1", "db2": "db2", "db3": "db3", "pool1": "pool1", "backup1": "backup1"}


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker."""
    config.addinivalue_line("markers", "core: what `make test` runs of this scenario")


def container(host: str) -> str:
    """The container of a host."""
    return f"env-{RELEASE}-{HOSTS[host]}"


def address(host: str) -> str:
    """The address of a host, by which it is reached."""
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return command("docker", "inspect", "--format", form, container(host)).strip()


def on(host: str, text: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """What became of a command of a host's shell, as root."""
    words = ["docker", "exec", "--interactive", container(host), "bash", "-c", text]
    return subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)


def sql(host: str, statements: str, database: str = "mltrading") -> str:
    """What the host's server answers to OS user postgres."""
    psql = "cd / && runuser -u postgres -- psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 -At"
    done = on(host, f"{psql} --dbname={database}", statements)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="session")
def anna() -> Controller:
    """Who describes the environment, with the commands of the docs."""
    made = Controller(EPHEMERAL / "anna", EPHEMERAL / "ssh/config")
    marker = made.folder / "described"
    here = command("docker", "inspect", "--format", "{{.Id}}", container("backup1"))
    if not marker.exists() or marker.read_text() != here:
        made.clone()
        network = command("docker", "network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", NETWORK)
        place = {host: f"{host}={address(host)}" for host in HOSTS}
        options = ["--primary", place["db1.trading.test"], "--replica", place["db2"], "--replica", place["db3"]]
        options += ["--repository", place["backup1"], "--pooler", place["pool1"]]
        done = made.mldb("init", NAME, *options, "--clients", network.strip(), "--monitoring", network.strip())
        assert done.returncode == 0, done.stdout + done.stderr
        # Five hosts share this machine.
        with (made.checkout / f"inventories/{NAME}/group_vars/postgresql/postgresql.yml").open("a") as file:
            file.write("postgresql_memory_mb: 1024\n")
        made.commit("Describe the environment")
        marker.write_text(here)
    return made


@pytest.fixture(scope="session")
def ben(anna: Controller) -> Controller:
    """Who works on it from another controller: the repository, and what the first keeps outside of it."""
    made = Controller(EPHEMERAL / "ben", EPHEMERAL / "ssh/config")
    made.clone(anna.checkout)
    shutil.copytree(anna.home / ".config", made.home / ".config")
    return made
