"""Wrong inputs are refused before anything runs, each by one line that names variable, value and rule."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

import pytest
import yaml

from mltrading_db.cli import inputs
from mltrading_db.cli.environment import Environment, RefusedError
from mltrading_db.cli.inventory import load
from mltrading_db.cli.vaults import encrypted

Change = Callable[[str, str], None]


# They are steered in group_vars/postgresql, which goes before group_vars/all.
OF_SERVERS = re.compile(r"mltrading_client|postgresql_(access|listen|replica)")


@dataclass(frozen=True)
class Case:
    """A wrong input: where it is written, what, and what the line that refuses it says."""

    name: str
    place: str
    text: str
    says: tuple[str, ...]


def var(name: str, value: str, rule: str, *, shown: str = "") -> Case:
    """A wrong value of one variable, where nothing goes before it."""
    place = "postgresql/zz.yml" if OF_SERVERS.match(name) else "all/zz.yml"
    return Case(f"{name} {value}"[:60], place, f"{name}: {value}\n", (name, shown or value.strip("'\"[]"), rule))


HOSTS = """all:
  hosts:
    t-db1.example.net: {{ansible_host: 10.99.0.11}}
    t-db2.example.net: {{ansible_host: {second}}}
    t-backup1.example.net: {{ansible_host: 10.99.0.41}}
    t-pool1.example.net: {{ansible_host: 10.99.0.21}}
{extra}
  children:
    {servers}: {{hosts: {{t-db1.example.net: , t-db2.example.net: }}}}
    backup_repository: {{hosts: {{t-backup1.example.net: {keeper}}}}}
    pgbouncer: {{hosts: {{t-pool1.example.net: }}}}
"""


def hosts(second: str = "10.99.0.12", extra: str = "", servers: str = "postgresql", keeper: str = "") -> str:
    """A hosts.yml that is right but for what is given."""
    return HOSTS.format(second=second, extra=extra, servers=servers, keeper=keeper)


CASES = [
    # Types, as the roles specify them.
    var("postgresql_port", "fivefour", "unable to convert to int"),
    var("postgresql_max_connections", "[100]", "unable to convert to int", shown="[100]"),
    var("postgresql_memory_mb", "lots", "unable to convert to int"),
    var("postgresql_settings", "fast", "unable to convert to dict"),
    var("pgbackrest_retention_days", "a week", "unable to convert to int"),
    var("pgbackrest_processes", "two", "unable to convert to int"),
    var("pgbackrest_repository_options", "s3", "unable to convert to dict"),
    var("mltrading_partitions_enabled", "perhaps", "unable to convert to bool"),
    var("mltrading_sample_data_enabled", "'maybe'", "unable to convert to bool", shown="maybe"),
    var("mltrading_sample_data_rows", "many", "unable to convert to int"),
    var("mltrading_index_sets", "guide", "unable to convert to dict"),
    var("postgresql_access_roles", "{name: me}", "unable to convert to list", shown="me"),
    var("pgbouncer_settings", "verbose", "unable to convert to dict"),
    var("pgbouncer_default_pool_size", "big", "unable to convert to int"),
    # Choices.
    var("pgbouncer_pool_mode", "statement", "must be one of: session, transaction"),
    var("mltrading_declaration", "fat", "must be one of: guide, lean"),
    # Ranges.
    var("postgresql_port", "0", "a port is 1 to 65535"),
    var("pgbouncer_listen_port", "70000", "a port is 1 to 65535"),
    var("pgbackrest_port", "-1", "a port is 1 to 65535"),
    var("postgresql_max_connections", "0", "more than 0"),
    var("pgbouncer_max_client_connections", "-5", "more than 0"),
    var("pgbackrest_retention_days", "0", "more than 0"),
    var("postgresql_memory_mb", "-1", "more than 0"),
    var("mltrading_sample_data_symbols", "0", "more than 0"),
    var("pgbackrest_archive_timeout", "-60", "0 or more"),
    var("pgbouncer_client_login_timeout", "-1", "0 or more"),
    # Networks and addresses.
    var("mltrading_client_networks", "[10.0.0.0/33]", "a network is written as"),
    var("mltrading_client_networks", "[10.0.0.5/24]", "host bits set"),
    var("mltrading_client_networks", "[0.0.0.0/0]", "lets the whole world in"),
    var("mltrading_client_networks", "['::/0']", "lets the whole world in", shown="::/0"),
    var("mltrading_client_networks", "[office]", "a network is written as"),
    var("postgresql_access_monitor_networks", "[10.0.0.300/32]", "a network is written as"),
    var("postgresql_access_replication_networks", "[10.1.2/24]", "a network is written as"),
    var("pgbouncer_auth_networks", "[10.0.0.1/-1]", "a network is written as"),
    var("postgresql_listen_addresses", "['*']", "never a wildcard", shown="*"),
    var("postgresql_listen_addresses", "[0.0.0.0]", "never a wildcard"),
    var("pgbouncer_listen_addresses", "['::']", "never a wildcard", shown="::"),
    var("pgbackrest_listen_address", "0.0.0.0", "never a wildcard"),  # noqa: S104  # refused, not listened on
    # Names, paths and schedules.
    var("mltrading_database", "ML-Trading", "a name in PostgreSQL"),
    var("mltrading_owner", "1owner", "a name in PostgreSQL"),
    var("mltrading_read_only_role", "a" * 64, "63 at most"),
    var("mltrading_socket_directory", "run/postgresql", "a path begins with /"),
    var("pgbackrest_full_schedule", "30 1 * *", "has not the five fields"),
    var("pgbackrest_diff_schedule", "61 1 * * *", "minute is not what cron takes"),
    var("pgbackrest_drill_schedule", "0 25 * * 0", "hour is not what cron takes"),
    # Secrets, which are never shown.
    var("mltrading_rw_password", "short", "20 characters or more", shown="********"),
    var("monitor_password", "CHANGE_ME", "CHANGE_ME", shown="********"),
    var("pgbackrest_cipher_passphrase", "''", "is not set", shown="role pgbackrest"),
    var("pgbouncer_auth_password", "'{{ nobody_knows }}'", "nobody_knows, which is not set", shown="role pgbouncer"),
    # Names that nobody has.
    var("postgresql_max_conections", "200", "is postgresql_max_connections meant?"),
    var("pgbouncer_poolmode", "session", "is pgbouncer_pool_mode meant?"),
    var("mltradng_database", "mltrading", "is mltrading_database meant?"),
    Case(
        "a misspelled key of a host",
        "hosts.yml",
        hosts(second="10.99.0.12, postgresql_prot: 5433"),
        ("postgresql_prot", "5433", "is postgresql_port meant?", "hosts.yml"),
    ),
    Case("a file that ends in .yaml", "all/zz.yaml", "mltrading_databas: a\n", ("mltrading_databas", "zz.yaml")),
    Case("a file without an ending", "all/zz", "mltrading_databas: a\n", ("mltrading_databas", "no role has")),
    # Parts of a value.
    var("pgbouncer_databases", "[{name: a, host: b, port: 70000}]", "a port is 1 to 65535", shown="70000"),
    var("postgresql_access_roles", "[{name: a, networks: [10.0.0.5/24]}]", "host bits set", shown="10.0.0.5/24"),
    # Hosts, groups and environments.
    var("postgresql_primary", "db9.example.net", "no host of this environment"),
    var("postgresql_primary", "t-backup1.example.net", "not in group postgresql"),
    var("pgbackrest_repository_host", "elsewhere", "no host of this environment"),
    var("postgresql_replica_hosts", "[t-db1.example.net, t-db7.example.net]", "no host", shown="t-db7.example.net"),
    var("common_environment", "production", "the environment is inventories/trial"),
    Case(
        "two primaries",
        "../host_vars/t-db2.example.net.yml",
        "postgresql_primary: t-db2.example.net\n",
        ("postgresql_primary", "t-db1.example.net and t-db2.example.net", "one primary"),
    ),
    Case("an address twice", "hosts.yml", hosts(second="10.99.0.11"), ("ansible_host", "10.99.0.11", "both")),
    Case(
        "a host of production",
        "hosts.yml",
        hosts(extra="    db1.production.example.com:"),
        ("host db1.production.example.com", "production", "one environment"),
    ),
    Case(
        "an address of staging", "hosts.yml", hosts(second="10.20.0.11"), ("t-db2.example.net", "10.20.0.11", "staging")
    ),
    Case("a misspelled group", "hosts.yml", hosts(servers="postgres"), ("group postgres", "is postgresql meant?")),
    Case("no server", "hosts.yml", hosts(servers="servers"), ("group postgresql", "it is empty")),
    Case(
        "a host in no group", "hosts.yml", hosts(extra="    t-spare.example.net:"), ("t-spare.example.net", "no group")
    ),
    Case(
        "two repositories",
        "hosts.yml",
        hosts(keeper=", t-db2.example.net: "),
        ("backup_repository", "t-backup1.example.net, t-db2.example.net", "one host keeps"),
    ),
]


def said_about(environment: Environment) -> list[str]:
    """Every line that refuses the environment."""
    try:
        return inputs.checked(environment)[1]
    except RefusedError as error:
        return error.problems


def test_an_environment_as_init_makes_it_has_nothing_wrong(environment: Environment) -> None:
    assert inputs.checked(environment)[1] == []


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{number}: {case.name}") for number, case in enumerate(CASES)])
def test_a_wrong_input_is_refused_by_a_line_with_variable_value_and_rule(
    environment: Environment, put: Change, case: Case
) -> None:
    put(case.place, case.text)
    lines = said_about(environment)
    assert [line for line in lines if all(part in line for part in case.says)], lines
    assert not [line for line in lines if "\n" in line]


def test_a_value_may_refer_to_what_a_role_says_by_default(environment: Environment, put: Change) -> None:
    put("all/zz.yml", "postgresql_retention_owner: '{{ mltrading_owner }}'\n")
    assert said_about(environment) == []


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("db1: {ansible_host: 10.99.0.77}", id="of a host of the lab"),
        pytest.param("db1.staging.example.com: {ansible_host: 10.99.0.77}", id="of another's name, at another address"),
        pytest.param("monitoring: {ansible_host: 10.99.0.77}", id="of a group's name"),
    ],
)
def test_another_host_of_the_same_name_belongs_to_nobody_else(environment: Environment, put: Change, host: str) -> None:
    put("hosts.yml", hosts(extra=f"    {host}"))
    assert [line for line in said_about(environment) if "one environment" in line] == []


def test_a_host_of_the_same_name_reached_likewise_belongs_to_the_lab(environment: Environment, put: Change) -> None:
    lab = yaml.safe_load((environment.project / "inventories/lab/hosts.yml").read_text())
    reached = lab["all"]["vars"]
    put("hosts.yml", hosts(extra=f"    db1: {json.dumps(reached)}"))
    assert [line for line in said_about(environment) if "db1: it belongs to lab" in line]


def test_there_are_sixty_wrong_inputs() -> None:
    assert len(CASES) >= 60


def test_everything_that_is_missing_is_said_together(checkout: Path) -> None:
    lines = said_about(Environment("production", checkout))
    wanted = [
        "ca_passphrase",
        "monitor_password",
        "replicator_password",
        "cipher_passphrase",
        "auth_password",
        "rw_password",
    ]
    assert [name for name in wanted if not any(name in line for line in lines)] == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("a: [1\n", "zz.yml", id="no YAML"),
        pytest.param("- a\n", "holds no variables", id="a list"),
        pytest.param("$ANSIBLE_VAULT;1.1;AES256\n6162\n", "no password opens it", id="a vault of another password"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(environment: Environment, put: Change, text: str, says: str) -> None:
    put("all/zz.yml", text)
    with pytest.raises(RefusedError, match=says) as refused:
        load(environment)
    assert "inventories/trial/group_vars/all/zz.yml" in str(refused.value)


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        pytest.param("a-Long-Enough-Password-01", "", id="a good one"),
        pytest.param("short", "20 characters or more", id="a short one"),
        pytest.param("pässword-of-Enough-Length", "plain ASCII", id="one beyond ASCII"),
    ],
)
def test_a_single_value_that_is_encrypted_is_judged_and_hidden_as_any(
    environment: Environment, put: Change, secret: str, says: str
) -> None:
    password = environment.vault_password_file.read_text().strip()
    put("all/zz.yml", f"monitor_password: !vault |\n{indent(encrypted(secret, password), '  ')}\n")
    inventory, lines = inputs.checked(environment)
    assert bool(lines) == bool(says)
    assert not says or any(says in line for line in lines)
    assert not any(secret in line for line in lines)
    assert secret in inventory.secrets()


def test_a_single_value_of_another_password_is_named(environment: Environment, put: Change) -> None:
    put("all/zz.yml", f"monitor_password: !vault |\n{indent(encrypted('a' * 20, 'another'), '  ')}\n")
    with pytest.raises(RefusedError, match=r"zz\.yml: monitor_password: encrypted, and no password opens it"):
        load(environment)


def test_a_vault_without_its_password_says_where_it_is_looked_for(environment: Environment) -> None:
    environment.vault_password_file.unlink()
    with pytest.raises(RefusedError) as refused:
        load(environment)
    assert str(environment.vault_password_file) in str(refused.value)


def test_the_lab_makes_no_password_while_it_is_checked(checkout: Path) -> None:
    lab = Environment("lab", checkout)
    assert inputs.checked(lab)[1] == []
    assert not (lab.project / ".lab").exists()
