"""Every alert fires when it should, and is silent when it should be: as promtool judges the rules of the hosts."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from mltrading_db import alerts

PROJECT = Path(__file__).resolve().parents[3]
PROMTOOL = PROJECT / ".cache/promtool"
FILES = [
    PROJECT / alerts.RULES / "hosts.yml", PROJECT / alerts.RULES / "health.yml", PROJECT / alerts.TRADING_RULES,
]  # fmt: skip
CHECKS = [
    check
    for check in [
        *yaml.safe_load((PROJECT / alerts.ENGINE).read_text()),
        *yaml.safe_load((PROJECT / alerts.TRADING).read_text())["mltrading_health_checks"],
    ]
    if "critical" in check
]
Series = dict[str, str]

# Minutes of one value each: long enough for every alert.
LONG = 70
UP = {'up{job="node", instance="db1", checks="yes", server="yes", pooler="yes"}': f"1x{LONG}"}
SERVER_UP = {'up{job="postgresql", instance="db1"}': f"1x{LONG}"}
# What a host says that is well. A time in seconds grows with promtool's clock, which begins at 0.
NOW, OLD = f"0+60x{LONG}", f"0x{LONG}"
WELL: Series = {
    **UP,
    **SERVER_UP,
    'up{job="prometheus", instance="backup1"}': f"1x{LONG}",
    'pg_up{instance="db1"}': f"1x{LONG}",
    'pgbouncer_up{instance="db1"}': f"1x{LONG}",
    'pgbouncer_timestamp_seconds{instance="db1"}': NOW,
    'pgbouncer_database_up{instance="db1", database="mltrading"}': f"1x{LONG}",
    'mltrading_server_writes{instance="db1"}': f"1x{LONG}",
    'pgbouncer_pools_client_maxwait_seconds{instance="db1", database="mltrading", user="app"}': f"0x{LONG}",
    'mltrading_health_timestamp_seconds{instance="db1"}': NOW,
    'mltrading_job_running{instance="db1", job="dump"}': f"1x{LONG}",
    'mltrading_job_last_run_timestamp_seconds{instance="db1", job="dump"}': NOW,
    'mltrading_job_time_limit_seconds{instance="db1", job="dump"}': f"600x{LONG}",
    'mltrading_job_not_my_role{instance="db1", job="dump"}': f"1x{LONG}",
    'mltrading_job_not_my_role{instance="db2", job="dump"}': f"0x{LONG}",
    'mltrading_job_scheduled{instance="db1", job="dump"}': f"1x{LONG}",
    'mltrading_job_scheduled{instance="db2", job="dump"}': f"1x{LONG}",
    'node_textfile_scrape_error{instance="db1"}': f"0x{LONG}",
    'alertmanager_notifications_failed_total{instance="backup1", integration="email"}': f"3x{LONG}",
    'prometheus_notifications_errors_total{instance="backup1"}': f"3x{LONG}",
    'prometheus_config_last_reload_successful{instance="backup1"}': f"1x{LONG}",
    'alertmanager_config_last_reload_successful{instance="backup1"}': f"1x{LONG}",
    **{f'mltrading_health_state{{check="{check["name"]}", instance="db1"}}': f"0x{LONG}" for check in CHECKS},
    **{f'mltrading_health_worst{{check="{check["name"]}", instance="db1"}}': f"1x{LONG}" for check in CHECKS},
    'mltrading_health_state{check="server", instance="db1"}': f"0x{LONG}",
}


def state(name: str, value: int, host: str = "db1") -> Series:
    """A check in a state."""
    return {f'mltrading_health_state{{check="{name}", instance="{host}"}}': f"{value}x{LONG}"}


def without(*parts: str) -> Series:
    """A host that is well, but for the series that hold one of these."""
    return {series: values for series, values in WELL.items() if not any(part in series for part in parts)}


# By alert and severity: what is otherwise on a host that is well, so that it fires. None: the series is not there.
BY_HAND: dict[str, list[tuple[str, Series]]] = {
    "HostDown critical": [
        ("it does not answer", WELL | {next(iter(UP)): f"0x{LONG}"}),
        ("no host is a target", without("up{job=")),
    ],
    "ExporterDown warning": [
        ("of the server", WELL | {next(iter(SERVER_UP)): f"0x{LONG}"}),
        ("Prometheus itself", WELL | {'up{job="prometheus", instance="backup1"}': f"0x{LONG}"}),
    ],
    "ExporterDownAbsent warning": [("is no target", without('up{job="postgresql"'))],
    "PostgresqlDown critical": [
        ("says the exporter", WELL | {'pg_up{instance="db1"}': f"0x{LONG}"}),
        ("say the checks", WELL | state("server", 2)),
    ],
    "PostgresqlDownAbsent warning": [("the exporter does not say", without("pg_up"))],
    "PoolerDown critical": [("it does not answer", WELL | {'pgbouncer_up{instance="db1"}': f"0x{LONG}"})],
    "PoolerDatabaseDown critical": [
        ("of reads", WELL | {'pgbouncer_database_up{instance="db1", database="mltrading_ro"}': f"0x{LONG}"}),
    ],
    "PoolerDatabaseDownAbsent warning": [("none is told", without("pgbouncer_database_up"))],
    "NoPrimary critical": [
        ("a standby alone", WELL | {'mltrading_server_writes{instance="db1"}': f"0x{LONG}"}),
    ],
    "TwoPrimaries critical": [
        ("two say so", WELL | {
            'mltrading_server_writes{instance="db2"}': f"1x{LONG}",
            'mltrading_health_timestamp_seconds{instance="db2"}': NOW}),
    ],
    "TwoPrimariesAbsent warning": [
        ("a server does not say", WELL | {'up{job="node", instance="db2", server="yes"}': f"1x{LONG}",
                                          'up{job="postgresql", instance="db2"}': f"1x{LONG}",
                                          'node_textfile_scrape_error{instance="db2"}': f"0x{LONG}",
                                          'mltrading_health_timestamp_seconds{instance="db2"}': NOW,
                                          'pg_up{instance="db2"}': f"1x{LONG}"} | {
            f'mltrading_health_state{{check="{check["name"]}", instance="db2"}}': f"0x{LONG}" for check in CHECKS}),
    ],
    "PoolerDownAbsent warning": [
        ("nobody asks it", without("pgbouncer")),
        ("nobody asks it any more", WELL | {'pgbouncer_timestamp_seconds{instance="db1"}': OLD}),
    ],
    "PoolerClientsWait warning": [
        ("for long", WELL | {next(series for series in WELL if "maxwait" in series): f"6x{LONG}"}),
    ],
    "PoolerClientsWaitAbsent warning": [("the pools are not told", without("maxwait"))],
    "JobHangsAbsent warning": [
        ("of running jobs", without("mltrading_job_running")), ("of their limits", without("mltrading_job_time_limit")),
        ("of their last run", without("mltrading_job_last_run")),
    ],
    "JobRunsNowhereAbsent warning": [("no job says", without('mltrading_job_not_my_role{instance="db1"'))],
    "TextfileBrokenAbsent warning": [("no file is read", without("node_textfile"))],
    "AlertsAreNotSentAbsent warning": [
        ("of Alertmanager", without("failed_total")), ("of Prometheus", without("errors_total")),
    ],
    "ConfigurationIsOldAbsent warning": [
        (name, without(f"{name}_config_last_reload")) for name in ("prometheus", "alertmanager")
    ],
    "HealthSilent critical": [
        ("the checks do not run any more", WELL | {'mltrading_health_timestamp_seconds{instance="db1"}': OLD}),
        ("the checks have never run", without("mltrading_health_timestamp")),
    ],
    "HealthUnknown critical": [("a check cannot run", WELL | state("disk", 3))],
    "JobHangs warning": [
        ("past its limit", WELL | {'mltrading_job_last_run_timestamp_seconds{instance="db1", job="dump"}': OLD}),
    ],
    "JobRunsNowhere critical": [
        ("on every host", WELL | {'mltrading_job_not_my_role{instance="db2", job="dump"}': f"1x{LONG}"}),
    ],
    "TextfileBroken warning": [
        ("it cannot be read", WELL | {'node_textfile_scrape_error{instance="db1"}': f"1x{LONG}"}),
    ],
    "AlertsAreNotSent critical": [
        ("by Alertmanager", WELL | {next(series for series in WELL if "failed_total" in series): f"0+1x{LONG}"}),
        ("by Prometheus", WELL | {next(series for series in WELL if "errors_total" in series): f"0+1x{LONG}"}),
    ],
    "ConfigurationIsOld warning": [
        (name, WELL | {f'{name}_config_last_reload_successful{{instance="backup1"}}': f"0x{LONG}"})
        for name in ("prometheus", "alertmanager")
    ],
}  # fmt: skip


def of_check(check: dict[str, Any]) -> dict[str, list[tuple[str, Series]]]:
    """The cases of a check's alerts."""
    name, alert = check["name"], alerts.camel(check["name"])
    found = {
        f"{alert} {severity}": [(f"is {severity}", WELL | state(name, number))]
        for severity, number in (("warning", 1), ("critical", 2))
        if severity == "critical" or check["warning"] != check["critical"]
    }
    here = f'mltrading_health_state{{check="{name}", instance="db1"}}'
    absent = [
        ("nobody says it", without(f'mltrading_health_state{{check="{name}"')),
        ("one host does not say it", {key: WELL[key] for key in WELL if key != here} | state(name, 0, "db2")),
    ]
    if check.get("probe") == "job_age":
        absent.append(("no host has the job", WELL | state(name, -2)))
    return found | {f"{alert}Absent warning": absent}


# By what is so: the alert that fires, and no other does.
CASES = {
    f"{alert}: {what}": (alert, series)
    for expected in (BY_HAND, *(of_check(check) for check in CHECKS))
    for alert, cases in expected.items()
    for what, series in cases
}
ALWAYS = "Watchdog none"
# By what is so: all the alerts that fire together, or none.
TOGETHER: dict[str, tuple[list[str], Series]] = {
    "well": ([], WELL),
    "JobRunsNowhere: a host that was rebuilt has the job, and has not run it yet": (
        [], without('mltrading_job_not_my_role{instance="db2"'),
    ),
    "the host of the primary is gone": (
        ["HostDown critical", "NoPrimary critical"],
        {'up{job="node", instance="db1", checks="yes", server="yes"}': f"0x{LONG}",
         'up{job="node", instance="db2", server="yes"}': f"1x{LONG}",
         'up{job="postgresql", instance="db2"}': f"1x{LONG}",
         **{series.replace("db1", "db2"): WELL[series] for series in WELL if "health" in series or "pg_up" in series
            or "textfile" in series or ("dump" in series and "db1" in series)},
         'mltrading_server_writes{instance="db2"}': f"0x{LONG}",
         'mltrading_job_not_my_role{instance="db2", job="dump"}': f"0x{LONG}",
         **{series: WELL[series] for series in WELL if "backup1" in series}},
    ),
    "the checks are silent, and what they said last is not taken for now": (
        ["HealthSilent critical"], WELL | {'mltrading_health_timestamp_seconds{instance="db1"}': OLD},
    ),
    "the pooler is not asked any more, and what it said last is not taken for now": (
        ["PoolerDownAbsent warning"],
        WELL | {'pgbouncer_timestamp_seconds{instance="db1"}': OLD, 'pgbouncer_up{instance="db1"}': f"0x{LONG}",
                'pgbouncer_database_up{instance="db1", database="mltrading"}': f"0x{LONG}"},
    ),
}  # fmt: skip


@cache
def rules() -> list[dict[str, Any]]:
    """Every rule that goes to the monitoring host."""
    return [rule for file in FILES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def promtool_test(name: str, series: Series, firing: list[str]) -> dict[str, Any]:
    """A case as promtool has it: half an hour on, these alerts fire, once each. It names an expression, not a case."""
    minutes = LONG if "JobRunsNowhere" in name else 30
    return {
        "interval": "1m",
        "input_series": [{"series": series_name, "values": values} for series_name, values in series.items()],
        "promql_expr_test": [{
            "expr": f'count by (alertname, severity) (ALERTS{{alertstate="firing", instance!="case {name}"}})',
            "eval_time": f"{minutes}m",
            "exp_samples": [
                {"labels": '{{alertname="{}", severity="{}"}}'.format(*alert.split()), "value": 1}
                for alert in [*firing, ALWAYS]
            ],
        }],
    }  # fmt: skip


def cases_of(said: str, *, failed: bool) -> dict[str, str]:
    """What promtool says of each failed case, by its name. None is lost to how it writes them: each has one `got`."""
    found = re.findall(r'^ +expr: .*?"case ([^"\\]+).*?$\n(.*?)(?=^ +expr: |\Z)', said, re.MULTILINE | re.DOTALL)
    assert len(dict(found)) == len(re.findall(r"^ +got:", said, re.MULTILINE)), said
    assert failed == bool(found), said
    return dict(found)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What promtool says of every case that is not as expected, by its name."""
    tests = [promtool_test(name, series, [alert]) for name, (alert, series) in CASES.items()]
    tests += [promtool_test(name, series, firing) for name, (firing, series) in TOGETHER.items()]
    file = tmp_path_factory.mktemp("alerts") / "tests.yml"
    # JSON is YAML too, and written in a hundredth of the time.
    file.write_text(
        json.dumps({"rule_files": [str(path) for path in FILES], "evaluation_interval": "5m", "tests": tests})
    )
    done = subprocess.run([PROMTOOL, "test", "rules", file], capture_output=True, text=True, check=False)
    said = done.stderr + done.stdout
    return cases_of(said, failed=done.returncode != 0)


def test_a_failure_whose_case_is_not_recognized_is_one() -> None:
    known = '    expr: "x{y!=\\"case a\\"}", time: 1m,\n        exp: 1\n        got: 2\n'
    assert list(cases_of(known, failed=True)) == ["a"]
    with pytest.raises(AssertionError):
        cases_of(known + known.replace("case a", "b"), failed=True)
    with pytest.raises(AssertionError):
        cases_of("rules.yml: does not parse", failed=True)


@pytest.mark.parametrize("case", TOGETHER)
def test_these_alerts_fire_together(wrong: dict[str, str], case: str) -> None:
    assert wrong.get(case) is None


@pytest.mark.parametrize("case", CASES)
def test_the_alert_fires_and_no_other_does(wrong: dict[str, str], case: str) -> None:
    assert wrong.get(case) is None


def test_every_alert_has_a_case() -> None:
    declared = {f"{rule['alert']} {rule['labels']['severity']}" for rule in rules()} - {ALWAYS}
    assert declared == {alert for alert, _ in CASES.values()}


def test_every_level_of_a_check_has_an_alert_and_so_has_its_absence() -> None:
    named = {rule["alert"] for rule in rules()}
    assert {alerts.camel(check["name"]) for check in CHECKS} <= named
    assert {f"{name}Absent" for name in (alerts.camel(check["name"]) for check in CHECKS)} <= named


# What needs no rule for its absence, and why.
WITHOUT_ABSENCE = {
    "HostDown": "its own expression has absent(), and a target without a sample has up == 0",
    "NoPrimary": "its own expression has absent()",
    "HealthSilent": "its own expression fires where the checks have never run",
    "HealthUnknown": "each check's own Absent rule asks for the same series",
    "Watchdog": "it is asked of nothing; whoever receives it notices its absence",
}


def test_every_alert_has_a_rule_for_the_absence_of_what_it_is_asked_of() -> None:
    named = {rule["alert"] for rule in rules()}
    without_one = {name for name in named if not name.endswith("Absent") and f"{name}Absent" not in named}
    assert without_one == WITHOUT_ABSENCE.keys()
    assert {name.removesuffix("Absent") for name in named if name.endswith("Absent")} <= named


def test_the_files_are_those_that_make_docs_would_write() -> None:
    assert {path for path, text in alerts.wanted(PROJECT).items() if (PROJECT / path).read_text() != text} == set()


def test_every_alert_leads_to_a_section_that_says_what_to_do() -> None:
    sections = {
        heading.lower() for heading in re.findall(r"^## (\w+)$", (PROJECT / alerts.PAGE).read_text(), re.MULTILINE)
    }
    leads = {rule["annotations"]["runbook"] for rule in rules()}
    assert {lead.partition("#")[0] for lead in leads} == {str(alerts.PAGE)}
    assert {lead.partition("#")[2] for lead in leads} == sections


def test_a_server_that_is_down_hides_no_check_that_needs_none() -> None:
    template = (PROJECT / "roles/monitoring/templates/alertmanager.yml.j2").read_text()
    found = re.search(r'alertname="HealthUnknown", check!~"([^"]+)"', template)
    assert found
    assert set(found[1].split("|")) == {check["name"] for check in CHECKS if "probe" in check}


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    done = subprocess.run([PROMTOOL, "check", "rules", *FILES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
