"""What the alerts share: the cluster, calm at first, and the one storm in which every fault is made and taken back."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from causes import CAUSES, Cause
from harness import DATABASE, PROJECT, RELEASE, Cluster, eventually
from peers import MAKE_READY, PEERS, Said
from results import keep
from watch import Alert, Watch

# The seconds that all alerts have to fire, of which the slowest waits for ten minutes by its rule; and those to clear.
FIRE, CLEAR = 1200, 600
SAMPLE = "/var/lib/mltrading-db/health/sample_slow_statements.json"
MOMENTS = ("calm", "storm", "afterwards")


@dataclass
class Storm:
    """What was seen. `made` and `ended` are when each fault began and was over, in seconds of time.monotonic()."""

    watch: Watch
    before: set[Alert] = field(default_factory=set)
    made: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    said: dict[str, dict[str, tuple[Said, Said]]] = field(default_factory=dict)
    left: set[Alert] = field(default_factory=set)

    def ask_peers(self, cluster: Cluster, moment: str) -> None:
        """What we and the plugins say, one right after the other."""
        answers = {}
        for name, peer in PEERS.items():
            check, ours = peer.ours(cluster)
            answers[name] = (ours, peer.theirs(cluster, check))
        self.said[moment] = answers

    def row(self, cluster: Cluster, cause: Cause) -> dict[str, str | int | None]:
        """The line of the table."""
        seen = self.watch.seen.get(cause.names(cluster))
        fires = round(seen.first - self.made[cause.alert]) if seen else None
        clears = round(seen.gone - self.ended[cause.alert]) if seen and seen.gone else None
        return {
            "alert": f"{cause.alert}, {seen.severity}" if seen else f"**{cause.alert} DID NOT FIRE**",
            "how it is made": cause.made,
            "seconds until it fires": fires,
            "how it is ended": cause.ended,
            "seconds until it is gone": clears,
        }


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The hosts, as the site has made them, with a backup and everything archived."""
    cluster = Cluster()
    cluster.is_whole()
    # What a check has of the last hour is counted from its first sample on.
    assert eventually(lambda: cluster.db1.run(f"test -s {SAMPLE}").returncode == 0), f"{SAMPLE} is not there"
    run = cluster.backup("full")
    assert run.returncode == 0, run.stdout + run.stderr
    cluster.db1.sql(MAKE_READY, DATABASE)
    cluster.archive()
    return cluster


@pytest.fixture(scope="session")
def storm(cluster: Cluster) -> Storm:
    """Make every fault, wait until each alert fires, end every fault, and wait until all is quiet."""
    storm = Storm(Watch(cluster.backup1))
    with storm.watch.looking():
        pass_over(cluster, storm)
    storm.left = set(storm.watch.there)
    storm.ask_peers(cluster, "afterwards")
    for cause in CAUSES:
        keep(PROJECT / ".lab/results", "alerts", RELEASE, storm.row(cluster, cause))
    return storm


def pass_over(cluster: Cluster, storm: Storm) -> None:
    """The storm itself, from calm to calm."""
    watch, expected = storm.watch, {cause.names(cluster) for cause in CAUSES}
    watch.until(watch.has_none, CLEAR)
    storm.before = set(watch.there)
    watch.seen.clear()
    storm.ask_peers(cluster, "calm")
    with ExitStack() as everything:
        ends = {}
        for cause in CAUSES:
            storm.made[cause.alert] = time.monotonic()
            ends[cause] = ExitStack()
            everything.callback(ends[cause].close)
            ends[cause].enter_context(cause.make(cluster))
        watch.until(lambda: watch.has_all(expected), FIRE)
        storm.ask_peers(cluster, "storm")
        # The archive before the backup that needs it.
        for cause in reversed(CAUSES):
            ends[cause].close()
            storm.ended[cause.alert] = time.monotonic()
    cluster.archive()
    watch.until(watch.has_none, CLEAR)
