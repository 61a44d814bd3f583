"""What the tests share: the environment as `mldb init` made it, and as the first `mldb apply` left it."""

import shutil
import time
from pathlib import Path

import pytest
from canaries import KEPT, declare, sampled
from environment import (
    BACKUP1,
    CHECKOUT,
    DB1,
    DB2,
    EPHEMERAL,
    FOLDER,
    HOME,
    NAME,
    NETWORK,
    command,
    commit,
    make_checkout,
    mldb,
)

APPLIED = EPHEMERAL / "applied"
HOSTS = EPHEMERAL / "hosts"


@pytest.fixture(scope="session")
def environment() -> Path:
    """The folder of the environment: described by `mldb init` and filled in as a person would, once for these hosts."""
    here = command("docker", "inspect", "--format", "{{.Id}}", BACKUP1.name)
    if not HOSTS.exists() or HOSTS.read_text() != here:
        for folder in (CHECKOUT, HOME, APPLIED):
            shutil.rmtree(folder, ignore_errors=True)
        KEPT.unlink(missing_ok=True)
        make_checkout()
        network = command("docker", "network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", NETWORK)
        places = {node: f"{node.name}={node.address}" for node in (DB1, DB2, BACKUP1)}
        options = ["--primary", places[DB1], "--replica", places[DB2], "--repository", places[BACKUP1]]
        options += ["--pooler", places[DB1], "--clients", network.strip(), "--monitoring", network.strip()]
        done = mldb("init", NAME, *options, "--connection", "community.docker.docker")
        assert done.returncode == 0, done.stdout + done.stderr
        (EPHEMERAL / "init").write_text(done.stdout)
        declare()
        # Three hosts share this machine.
        with (FOLDER / "group_vars/postgresql/postgresql.yml").open("a", encoding="utf-8") as file:
            file.write("postgresql_memory_mb: 2048\n")
        commit("Describe the environment")
        HOSTS.write_text(here)
    return FOLDER


@pytest.fixture(scope="session")
def applied(environment: Path) -> Path:
    """The first run on blank hosts, saying the most that can be said, with every process watched; the folder of it.

    Ansible's own log is of what it says itself, before mldb looks for secrets in it.
    """
    assert environment.is_dir()
    if not (APPLIED / "code").exists():
        shutil.rmtree(APPLIED, ignore_errors=True)
        APPLIED.mkdir(mode=0o700)
        with sampled(APPLIED / "processes"):
            began = time.monotonic()
            done = mldb("apply", NAME, "-vvvv", "--confirm", NAME, ANSIBLE_LOG_PATH=str(APPLIED / "ansible.log"))
            (APPLIED / "seconds").write_text(str(round(time.monotonic() - began)))
        (APPLIED / "output").write_text(done.stdout + done.stderr)
        (APPLIED / "code").write_text(str(done.returncode))
    assert (APPLIED / "code").read_text() == "0", (APPLIED / "output").read_text()[-6000:]
    return APPLIED
