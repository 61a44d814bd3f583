"""What a loss of the primary costs where the archive is all that is left.

While an oracle writes, the primary's host is killed at a random moment of one whole cycle of archive_timeout, from the
first quarter of one to that of the next, so that the switch between them is in it. Then the repository is asked for its
last commit, and for some of the kills a real restore for its rows. The standby is there and is not asked.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import EPHEMERAL, Cluster, docker, eventually
from oracle import Oracle, login, make_table

CYCLE_SECONDS = 60  # pgbackrest_archive_timeout of the scenario's hosts
TARGET_SECONDS = 65
ARCHIVED_UNTIL = Path(__file__).with_name("archived_until.py")


def moments(kills: int, seed: int) -> list[float]:
    """Seconds from a switch of the log to a kill."""
    chance = random.Random(seed)  # noqa: S311
    return [chance.uniform(0.25, 1.25) * CYCLE_SECONDS for _ in range(kills)]


def write_and_kill(cluster: Cluster, moment: float) -> Oracle:
    """Write, begin a cycle meanwhile, and kill the host; the oracle has ended."""
    make_table(cluster.db1)
    oracle = Oracle(EPHEMERAL / "oracle-recovery.log", **login(cluster))
    oracle.start()
    began = time.monotonic()
    cluster.archive()
    time.sleep(max(0.0, began + moment - time.monotonic()))
    docker("kill", cluster.db1.name)
    oracle.stop()
    return oracle


def archived_seconds(cluster: Cluster, oracle: Oracle) -> float:
    """Seconds from the last commit in the archive to the last acknowledged row."""
    ask = "cd / && runuser -u pgbackrest -- python3 -"
    until = float(cluster.backup1.do(ask, ARCHIVED_UNTIL.read_text()))
    return max(oracle.acknowledged.values()) + (time.time() - time.monotonic()) - until


def restored(cluster: Cluster, oracle: Oracle) -> dict[str, Any]:
    """The same from a real restore, on the standby's host: from the last row that it has to the last acknowledged."""
    began = time.monotonic()
    found = cluster.restored(cluster.db2, kind="latest")
    times = oracle.acknowledged
    kept = [moment for number, moment in times.items() if number in found]
    lost = [moment for number, moment in times.items() if number not in found]
    # A row that it lacks before rows that it has would be a hole, which no length of a cycle excuses. The writers run
    # beside each other, so that their rows mix within the length of a statement.
    assert not [moment for moment in lost if kept and moment < max(kept) - 1], "the restore has a hole"
    return {
        "restored_seconds": max(times.values()) - max(kept, default=min(times.values())),
        "rows_lost": len(lost),
        "restore_took_seconds": time.monotonic() - began,
    }


def kill(cluster: Cluster, moment: float, *, restore: bool) -> dict[str, Any]:
    """One kill, and the cluster whole again."""
    oracle = write_and_kill(cluster, moment)
    found: dict[str, Any] = {"moment_seconds": moment, "acknowledged": len(oracle.acknowledged)}
    found["archived_seconds"] = archived_seconds(cluster, oracle)
    if restore:
        found |= restored(cluster, oracle)
    docker("start", cluster.db1.name)
    assert eventually(cluster.db1.writes), "db1 takes no writes"
    # Nothing acknowledged is lost where the host's own disk survives.
    assert set(oracle.acknowledged) <= cluster.rows(), "the primary that came back lacks acknowledged rows"
    assert eventually(cluster.follows), "db2 does not follow"
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in found.items()}


def measure(cluster: Cluster, kills: int, restores: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Kill it so many times, with so many real restores spread over them."""
    seed = time.time_ns()
    found = []
    for number, moment in enumerate(moments(kills, seed)):
        restore = number * restores // kills != (number + 1) * restores // kills
        found.append(kill(cluster, moment, restore=restore))
        say(f"kill {number + 1} of {kills}: {found[-1]}")
    return {"seed": seed, "kills": found, "target_seconds": TARGET_SECONDS}
