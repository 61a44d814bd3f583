"""check_postgres and check_pgbackrest agree with `health` where they measure the same thing, in calm and in storm."""

import pytest
from conftest import MOMENTS, Storm
from peers import PEERS


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", PEERS)
def test_a_plugin_says_the_same(storm: Storm, name: str, moment: str) -> None:
    ours, theirs = storm.said[moment][name]
    if PEERS[name].one_level:
        assert ours.alarms == theirs.alarms
    else:
        assert ours.state == theirs.state
    both = ours.values.keys() & theirs.values.keys()
    assert both, (ours, theirs)
    assert {item: ours.values[item] for item in both} == pytest.approx(
        {item: theirs.values[item] for item in both}, abs=PEERS[name].near
    )


@pytest.mark.parametrize(
    "name", ["backends", "hot_standby_delay", "archive_ready", "retention", "archives", "disk_space"]
)
def test_the_storm_is_one_that_both_see(storm: Storm, name: str) -> None:
    ours, theirs = storm.said["storm"][name]
    assert ours.alarms
    assert theirs.alarms
