"""Every host as a whole: nothing has failed on it, and a second look finds nothing to do."""

from typing import Any

from testinfra.host import Host


def test_systemd_runs_no_failed_unit(host: Host) -> None:
    assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""


def test_a_prediction_for_converged_hosts_finds_nothing_to_change(host: Host, prediction: dict[str, Any]) -> None:
    name = host.backend.get_hostname()
    changed = [
        task["task"]["name"]
        for play in prediction["plays"]
        for task in play["tasks"]
        if task["hosts"].get(name, {}).get("changed")
    ]
    assert changed == []
    assert prediction["stats"][name]["ok"] > 0
