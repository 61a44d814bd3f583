"""What clients feel of a planned switchover: the oracle writes through the pooler while the primary goes to and fro."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from harness import EPHEMERAL, Cluster, Node, eventually, said
from oracle import Oracle, login, make_table

SAID = re.compile(r"The write gap was ([\d.]+) s\W+at the server and ([\d.]+) s\W+through the pooler")


def switch(cluster: Cluster, oracle: Oracle, old: Node, new: Node) -> dict[str, Any]:
    """One switchover: what the oracle felt, what the play said, and how many acknowledged rows were lost."""
    assert eventually(lambda: cluster.follows(old)), f"{new.name} does not follow"
    began = time.monotonic()
    run = cluster.play("promote_replica.yml", *cluster.naming(old), promote_to=new.name, promote_confirm=new.name)
    assert run.returncode == 0, said(run)
    took = time.monotonic() - began
    oracle.writes_on()
    server, pooler = (float(number) for number in SAID.findall(said(run))[0])
    with oracle.paused():
        acknowledged = set(oracle.acknowledged)
        lost = len(acknowledged - cluster.rows(new))
    return {
        "to": new.short,
        "gap_seconds": round(oracle.gap(began), 2),
        "said_server_seconds": server,
        "said_pooler_seconds": pooler,
        "play_seconds": round(took, 1),
        "acknowledged": len(acknowledged),
        "rows_lost": lost,
    }


def measure(cluster: Cluster, switchovers: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Switch so many times; an even number leaves the primary where it was."""
    make_table(cluster.db1)
    oracle = Oracle(EPHEMERAL / "oracle-switchover.log", **login(cluster))
    oracle.start()
    found, old, new = [], cluster.db1, cluster.db2
    for number in range(1, switchovers + 1):
        found.append(switch(cluster, oracle, old, new))
        say(f"switchover {number} of {switchovers}: {found[-1]}")
        old, new = new, old
    acknowledged = oracle.stop()
    # At the end once more, and on the standby too.
    found[-1]["rows_lost"] += len(acknowledged - cluster.rows(old))
    assert eventually(lambda: acknowledged <= cluster.rows(new)), f"{new.name} lacks acknowledged rows"
    return found
