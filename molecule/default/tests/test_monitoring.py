"""Prometheus sees every host of its release over TLS, by its certificate, and has what alerts and pictures ask for."""

import json
import re
import ssl
import urllib.request
from typing import Any

import pytest
import yaml
from conftest import PROJECT, asks, eventually
from testinfra.host import Host

testinfra_hosts = ["monitoring"]

PROMETHEUS = "http://127.0.0.1:9090"
RULES = [*PROJECT.glob("roles/*/files/alerts/*.yml")]
DASHBOARD = PROJECT / "roles/monitoring/files/dashboards/mltrading.json"


def asked(host: Host, expression: str) -> dict[str, float]:
    """The value of each series, by host."""
    found = json.loads(host.check_output("promtool query instant --format=json %s %s", PROMETHEUS, expression))
    return {sample["metric"].get("instance", ""): float(sample["value"][1]) for sample in found}


def metric_names(expression: str) -> set[str]:
    """The metrics of an expression: what is followed by no bracket, and is no label, value or word of the language."""
    bare = re.sub(
        r'"[^"]*"|\b(?:by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)|\[[^\]]*\]', " ", expression
    )
    bare = re.sub(r"\{[^}]*\}", " ", bare)
    return set(re.findall(r"\b[a-z_]\w*\b(?!\s*\()", bare)) - {"and", "or", "unless", "by", "on", "bool", "offset"}


def names_asked() -> set[str]:
    """Every metric that an alert or a picture reads."""
    expressions = [
        rule["expr"]
        for file in RULES
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    ]
    dashboard = json.loads(DASHBOARD.read_text())
    expressions += [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return {name for text in expressions for name in metric_names(text)}


@pytest.fixture
def neighbour(host: Host) -> Host:
    """The server of this host's release that is the primary, and has the pooler."""
    name = str(host.backend.get_hostname()).removesuffix("backup1") + "db1"
    return host.get_host(f"docker://{name}")


def addresses(host: Host, port: int) -> set[str]:
    """The addresses that a port is served on."""
    listening = host.check_output("ss -Hltn 'sport = :%s' | awk '{print $4}'", str(port))
    return {line.rpartition(":")[0] for line in listening.splitlines()}


def test_every_host_of_the_release_answers_and_no_other_is_asked(host: Host) -> None:
    cluster = str(host.backend.get_hostname()).removesuffix("backup1")
    expected = {f"{cluster}{name}": 1.0 for name in ("db1", "db2", "backup1")}
    assert eventually(lambda: asked(host, 'up{job="node"}') == expected, 60)
    del expected[f"{cluster}backup1"]
    assert eventually(lambda: asked(host, "pg_up") == expected, 60)
    assert eventually(lambda: asked(host, "pgbouncer_up") == {f"{cluster}db1": 1.0}, 90)


def test_every_metric_that_is_asked_for_is_there(host: Host) -> None:
    def missing() -> set[str]:
        return names_asked() - set(host.check_output("promtool query labels %s __name__", PROMETHEUS).splitlines())

    assert eventually(lambda: missing() == set(), 90), missing()


def test_prometheus_knows_what_the_host_knows(host: Host, neighbour: Host) -> None:
    name = str(neighbour.backend.get_hostname())
    report = json.loads(neighbour.run("health --json --check database_size --check replication_links").stdout)
    states = {check["name"]: check["state"] for check in report["checks"]}
    assert states == {"database_size": "ok", "replication_links": "ok"}
    assert asked(host, 'mltrading_health_state{check="replication_links"}')[name] == 0
    size = asked(host, 'mltrading_health_value{check="database_size", item="mltrading"}')[name]
    assert size == pytest.approx(float(asks(neighbour)("SELECT pg_database_size('mltrading')")), rel=0.2)


def test_the_alert_that_always_fires_has_reached_alertmanager(host: Host) -> None:
    command = "amtool --alertmanager.url=http://127.0.0.1:9093 --output=json alert query alertname=Watchdog"

    def labels() -> list[dict[str, Any]]:
        return [alert["labels"] for alert in json.loads(host.check_output(command))]

    assert eventually(lambda: [found["environment"] for found in labels()] == ["test"], 60)


def test_no_rule_is_broken(host: Host) -> None:
    assert asked(host, "sum(prometheus_rule_evaluation_failures_total)") == {"": 0.0}
    assert asked(host, "prometheus_config_last_reload_successful") == {str(host.backend.get_hostname()): 1.0}


def test_34_35_each_listens_on_the_declared_address_only(host: Host, neighbour: Host) -> None:
    assert addresses(host, 9090) == addresses(host, 9093) == {"127.0.0.1"}
    assert addresses(host, 9094) == set()
    own = neighbour.interface("eth0").addresses[0]
    assert addresses(neighbour, 9100) == addresses(neighbour, 9187) == {own}


@pytest.mark.parametrize("port", [9100, 9187])
def test_34_an_exporter_refuses_who_shows_no_certificate(neighbour: Host, ca: str, port: int) -> None:
    url = f"https://{neighbour.interface('eth0').addresses[0]}:{port}/metrics"
    with pytest.raises(OSError, match=r"BAD_CERTIFICATE|CERTIFICATE_REQUIRED"):
        urllib.request.urlopen(url, context=ssl.create_default_context(cafile=ca), timeout=10).read()


@pytest.mark.parametrize("port", [9100, 9187])
def test_34_an_exporter_speaks_no_plain_text(neighbour: Host, port: int) -> None:
    url = f"http://{neighbour.interface('eth0').addresses[0]}:{port}/metrics"
    with pytest.raises(OSError, match=r"400|Bad Request"):
        urllib.request.urlopen(url, timeout=10).read()


UNITS = ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter")


@pytest.mark.parametrize("unit", UNITS)
def test_27_a_unit_is_nobodys_with_power_and_gains_none(host: Host, unit: str) -> None:
    said = host.check_output("systemctl show --property=User --property=NoNewPrivileges %s", unit)
    assert set(said.splitlines()) == {"User=prometheus", "NoNewPrivileges=yes"}


def test_the_page_of_the_log_has_the_slow_statement(neighbour: Host) -> None:
    asks(neighbour)("SELECT 'slow_and_known', pg_sleep(1.2)")
    said = neighbour.check_output("/usr/local/lib/mltrading-db/dbjob report_queries")
    page = re.search(r"/\S+queries-[\d-]+\.html", said)
    assert page is not None
    assert "slow_and_known" in neighbour.file(page[0]).content_string
    assert neighbour.file(page[0]).mode & 0o077 == 0


def test_33_the_exporters_role_reads_statistics_and_no_rows(neighbour: Host) -> None:
    query = asks(neighbour)
    assert (
        query(
            "SELECT string_agg(r.rolname, ',') FROM pg_auth_members AS m JOIN pg_roles AS r ON r.oid = m.roleid"
            " JOIN pg_roles AS u ON u.oid = m.member WHERE u.rolname = 'prometheus'"
        ).strip()
        == "pg_monitor"
    )
    assert query("SELECT has_database_privilege('prometheus', 'mltrading', 'CONNECT')").strip() == "f"
