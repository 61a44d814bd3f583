"""What the alerts share: the cluster, calm at first, and the one storm in which every fault is made and taken back."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from causes import CAUSES, Cause
from harness import DATABASE, PROJECT, RELEASE, Cluster
from peers import MAKE_READY, PEERS, Said
from results import keep
from watch import Alert, Seen, Watch

# The seconds that all alerts have to fire, of which the slowest waits for ten minutes by its rule; and those to clear.
FIRE, CLEAR = 1200, 600
MOMENTS = ("calm", "storm", "afterwards")


@dataclass
class Storm:
    """What was seen. `made` and `ended` are when each fault began and was over, in seconds of time.monotonic()."""

    watch: Watch
    before: dict[Alert, Seen] = field(default_factory=dict)
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
        clears = round(seen.last - self.ended[cause.alert]) if seen and cause.names(cluster) not in self.left else None
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
    run = cluster.backup("full")
    assert run.returncode == 0, run.stdout + run.stderr
    cluster.db1.sql(MAKE_READY, DATABASE)
    cluster.archive()
    return cluster


@pytest.fixture(scope="session")
def storm(cluster: Cluster) -> Storm:
    """Make every fault, wait until each alert fires, end every fault, and wait until all is quiet."""
    storm = Storm(Watch(cluster.backup1))
    storm.watch.until(storm.watch.has_none, 300)
    storm.before = {alert: storm.watch.seen.pop(alert) for alert in storm.watch.there & storm.watch.seen.keys()}
    storm.ask_peers(cluster, "calm")
    expected = {cause.names(cluster) for cause in CAUSES}
    with ExitStack() as everything:
        ends = {}
        for cause in CAUSES:
            storm.made[cause.alert] = time.monotonic()
            ends[cause] = ExitStack()
            everything.callback(ends[cause].close)
            ends[cause].enter_context(cause.make(cluster))
        storm.watch.until(lambda: storm.watch.has_all(expected), FIRE)
        storm.ask_peers(cluster, "storm")
        # The archive before the backup that needs it.
        for cause in reversed(CAUSES):
            ends[cause].close()
            storm.ended[cause.alert] = time.monotonic()
            storm.watch.look()
    storm.watch.until(storm.watch.has_none, CLEAR)
    storm.left = set(storm.watch.there)
    cluster.archive()
    storm.ask_peers(cluster, "afterwards")
    for cause in CAUSES:
        keep(PROJECT / ".lab/results", "alerts", RELEASE, storm.row(cluster, cause))
    return storm
