"""What an environment says of a host that is gone, frozen or another's; nothing waits for ever, nothing is changed."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import EPHEMERAL, NAME, address, container, on
from controller import Controller

# A run that meets a frozen host ends within minutes; what takes longer hangs.
pytestmark = pytest.mark.timeout(1200)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What a command said, on one line."""
    return " ".join((done.stdout + done.stderr).split())


@contextmanager
def frozen(host: str) -> Iterator[None]:
    """A host that answers nobody, and whose connections stay."""
    subprocess.run(["docker", "pause", container(host)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["docker", "unpause", container(host)], check=True, capture_output=True)


def fingerprints() -> set[str]:
    """The certificates that the hosts hold."""
    command = "cat $(cat /etc/mltrading-db/certificates.d/* | sed 's,$,/server.crt,') | sha256sum"
    return {on(host, command).stdout for host in ("db1.trading.test", "db2", "pool1", "backup1")}


def test_a_frozen_host_is_named_and_the_run_ends(anna: Controller) -> None:
    with frozen("db3"):
        done = anna.mldb("apply", NAME, "--confirm", NAME)
    assert done.returncode == 2, said(done)
    assert "db3 does not answer" in said(done)


def test_a_controller_without_the_authority_changes_nothing(anna: Controller) -> None:
    cora = Controller(EPHEMERAL / "cora", EPHEMERAL / "ssh/config")
    cora.clone(anna.checkout)
    kept = cora.home / f".config/mltrading-db/{NAME}"
    kept.mkdir(parents=True, mode=0o700)
    shutil.copy2(anna.home / f".config/mltrading-db/{NAME}/vault_password", kept)
    before = fingerprints()
    done = cora.mldb("apply", NAME, "--confirm", NAME)
    assert done.returncode != 0
    assert "holds certificates of an authority" in said(done)
    assert "docs/operations/authority.md" in said(done)
    assert fingerprints() == before
    assert not (kept / "ca").exists()


def test_a_host_with_another_key_is_refused(anna: Controller) -> None:
    known = Path(EPHEMERAL / "ssh/hosts/db2.known")
    right = known.read_text()
    known.write_text(right.replace(right.split()[2][20:40], "A" * 20))
    # A connection that is shared would not be asked for its key.
    end = [
        "ssh",
        "-F",
        str(EPHEMERAL / "ssh/config"),
        "-o",
        "ControlPath=~/.ansible/cp/%C",
        "-O",
        "exit",
        address("db2"),
    ]
    subprocess.run(end, check=False, capture_output=True)
    try:
        done = anna.mldb("apply", NAME, "--confirm", NAME)
    finally:
        known.write_text(right)
    assert done.returncode == 2, said(done)
    assert "db2 shows ssh-ed25519" in said(done)


def test_names_that_do_not_resolve_are_refused_before_the_first_change(anna: Controller) -> None:
    on("db2", "cp /etc/hosts /root/hosts; echo 192.0.2.1 backup1 >> /etc/hosts")
    try:
        done = anna.mldb("apply", NAME, "--confirm", NAME)
    finally:
        on("db2", "cat /root/hosts > /etc/hosts")
    assert done.returncode == 1, said(done)
    assert "db2 resolves backup1 to 192.0.2.1" in said(done)


def test_a_pooler_that_is_gone_is_the_first_thing_said(anna: Controller) -> None:
    on("pool1", "systemctl stop pgbouncer")
    try:
        done = anna.mldb("health", NAME)
    finally:
        on("pool1", "systemctl start pgbouncer")
    assert done.returncode == 1
    assert "pool1" in said(done)


def test_a_primary_that_is_gone_is_the_first_thing_said(anna: Controller) -> None:
    with frozen("db1.trading.test"):
        done = anna.mldb("health", NAME, "--json")
    assert done.returncode == 1
    assert "no server takes writes" in json.dumps(json.loads(done.stdout))


def test_it_is_whole_again(anna: Controller) -> None:
    done = anna.mldb("apply", NAME, "--confirm", NAME)
    assert done.returncode == 0, said(done)
