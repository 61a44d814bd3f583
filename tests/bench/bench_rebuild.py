"""How long it takes until a host that was destroyed is back: playbooks/rebuild_host.yml on an empty container."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

from harness import DATABASE, EPHEMERAL, PROJECT, Cluster, Node, docker, eventually, said

KINDS = ("standby", "primary", "repository")


def destroy(node: Node) -> None:
    """Destroy a host with all that is on it, and put an empty one in its place."""
    docker("rm", "--force", "--volumes", node.name)
    # Molecule remembers that it has created the hosts; what is there by now, its play finds out.
    (EPHEMERAL / "state.yml").unlink(missing_ok=True)
    command = ["molecule", "create", "--scenario-name", "faults"]
    subprocess.run(command, env=os.environ, cwd=PROJECT, check=True, capture_output=True)


def rebuild(cluster: Cluster, node: Node, **variables: Any) -> float:
    """The seconds of the play. The cluster is whole before and after it, and has its rows."""
    cluster.is_whole()
    count = "SELECT count(*) FROM feature_engineered_data"
    rows = cluster.db1.sql(count, DATABASE)
    destroy(node)
    began = time.monotonic()
    run = cluster.play("rebuild_host.yml", rebuild_host=node.name, rebuild_confirm=node.name, **variables)
    took = time.monotonic() - began
    assert run.returncode == 0, said(run)
    cluster.is_whole()
    servers = (cluster.db1, cluster.db2)
    assert eventually(lambda: [server.sql(count, DATABASE) for server in servers] == [rows, rows]), "rows are missing"
    return round(took, 1)


def measure(cluster: Cluster, kinds: Sequence[str], say: Callable[[str], None]) -> dict[str, float]:
    """Seconds for each kind of host. The primary is rebuilt from the repository, as though there were no standby."""
    nodes = dict(zip(KINDS, (cluster.db2, cluster.db1, cluster.backup1), strict=True))
    found = {}
    for kind in kinds:
        variables = {"rebuild_despite_standby": True} if kind == "primary" else {}
        found[kind] = rebuild(cluster, nodes[kind], **variables)
        say(f"rebuilt the {kind} in {found[kind]} s")
    return found
