"""Every alert fires for a fault that is real, reaches Alertmanager, and is gone when the fault is."""

import pytest
from causes import CAUSES, Cause
from conftest import Storm
from harness import Cluster

# What follows from the faults beside the alerts that are meant.
FOLLOW = {
    "ReplicationLagSeconds",
    "ReplicationLagBytes",
    "ArchiveBacklog",
    "JobFailures",
    "JobOverdue",
    "PoolerDownAbsent",
}
named = pytest.mark.parametrize("cause", CAUSES, ids=[cause.alert for cause in CAUSES])


@pytest.mark.timeout(3600)
def test_nothing_fires_on_hosts_that_are_well(storm: Storm) -> None:
    assert storm.before == {}


@named
def test_an_alert_fires_and_reaches_alertmanager(cluster: Cluster, storm: Storm, cause: Cause) -> None:
    assert cause.names(cluster) in storm.watch.seen


@named
def test_an_alert_is_gone_when_its_cause_is(cluster: Cluster, storm: Storm, cause: Cause) -> None:
    assert cause.names(cluster) not in storm.left


def test_nothing_fires_that_has_no_cause(cluster: Cluster, storm: Storm) -> None:
    meant = {cause.names(cluster) for cause in CAUSES}
    assert {name for name, _ in storm.watch.seen.keys() - meant} <= FOLLOW
