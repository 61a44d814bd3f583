"""What the roles refuse is refused before anything runs: their own assertions, with the variables of each host."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mltrading_db.cli import expressions, inputs, problems
from mltrading_db.cli.environment import Environment, RefusedError
from mltrading_db.cli.inventory import load, templates_of

PROJECT = Path(__file__).parents[3]
Change = Callable[[str, str], None]
PASSWORD = "a-Long-Enough-Password-01"  # noqa: S105  # of no server
NO_ASCII = "pässword-of-Enough-Length"
TWO_LINES = r"one-line-of-a-password\ntwo-lines-of-it"


def said_about(environment: Environment) -> list[str]:
    """Every line that refuses the environment."""
    try:
        return inputs.checked(environment)[1]
    except RefusedError as error:
        return error.problems


# Where a variable is written, the text, and what one line says: what it is about, the rule, and the hosts.
CASES = {
    "a password beyond ASCII": ("all/zz.yml", f"mltrading_rw_password: {NO_ASCII}", ("mltrading_rw_password", "ASCII")),
    "a password of two lines": (
        "all/zz.yml",
        f'mltrading_ro_password: "{TWO_LINES}"',
        ("mltrading_ro_password", "one line"),
    ),
    "a password that is a number": (
        "all/zz.yml",
        "mltrading_rw_password: 123456789012345678901234567890",
        ("mltrading_rw_password", "number", "quotes"),
    ),
    "the pooler's password beyond ASCII": (
        "all/zz.yml",
        f"pgbouncer_auth_password: {NO_ASCII}",
        ("pgbouncer_auth_password", "ASCII", "t-pool1.example.net"),
    ),
    "a passphrase with a space": (
        "all/zz.yml",
        "pgbackrest_cipher_passphrase: one passphrase of enough length",
        ("pgbackrest_cipher_passphrase", "without spaces", "t-backup1.example.net"),
    ),
    "a role's password that is its name": (
        "postgresql/zz.yml",
        "mltrading_roles: [{name: a_role_of_twenty_letters, password: a_role_of_twenty_letters}]",
        ("mltrading_roles", "role 'a_role_of_twenty_letters'", "its own name", "t-db1.example.net, t-db2.example.net"),
    ),
    "a role with networks and no database": (
        "postgresql/zz.yml",
        f"mltrading_roles: [{{name: one, password: {PASSWORD}, networks: [10.0.0.0/24]}}, {{name: two, login: false}}]",
        ("mltrading_roles", "role 'one'", "networks and no databases"),
    ),
    "a second superuser": (
        "postgresql/zz.yml",
        "mltrading_roles: [{name: one, attributes: [SUPERUSER]}]",
        ("mltrading_roles", "role 'one'", "attribute SUPERUSER"),
    ),
    "another role's own roles": (
        "postgresql/zz.yml",
        "postgresql_access_roles: [{name: Upper}]",
        ("postgresql_access_roles", "role 'Upper'", "lower-case letters"),
    ),
    "a misspelled setting": (
        "all/zz.yml",
        "postgresql_settings: {shared_bufers: 1GB}",
        ("postgresql_settings", "shared_bufers", "is shared_buffers meant?", "t-db1.example.net"),
    ),
    "a setting of another unit": (
        "all/zz.yml",
        "postgresql_settings: {work_mem: 4 seconds}",
        ("postgresql_settings", "work_mem = '4 seconds'", "with B, kB, MB, GB, TB"),
    ),
    "a misspelled setting of a role": (
        "postgresql/zz.yml",
        "mltrading_roles: [{name: one, login: false, settings: {statement_timout: 5s}}]",
        ("role 'one'", "statement_timout", "is statement_timeout meant?", "t-db1.example.net"),
    ),
    "a setting of the server for a role": (
        "postgresql/zz.yml",
        "mltrading_roles: [{name: one, login: false, settings: {max_wal_size: 4GB}}]",
        ("role 'one'", "max_wal_size", "the whole server"),
    ),
    "a setting with a variable of its own": (
        "all/zz.yml",
        "postgresql_settings: {port: 5433}",
        ("postgresql_settings", "port has a variable of its own", "t-db1.example.net"),
    ),
    "a setting without which no standby follows": (
        "all/zz.yml",
        "postgresql_settings: {wal_level: minimal}",
        ("postgresql_settings", "no standby can follow", "t-db1.example.net"),
    ),
    "a setting of the pooler on which a control stands": (
        "all/zz.yml",
        "pgbouncer_settings: {auth_type: any}",
        ("pgbouncer_settings.auth_type", "not to be weakened"),
    ),
    "every database by the pooler": (
        "all/zz.yml",
        "pgbouncer_databases: [{name: '*', host: t-db1.example.net, port: 5432}]",
        ("pgbouncer_databases", "name each database"),
    ),
    "two targets of one name": (
        "monitoring/zz.yml",
        "monitoring_targets: [{name: one, address: 10.0.0.1}, {name: one, address: 10.0.0.2}]",
        ("monitoring_targets", "two hosts of one name", "t-backup1.example.net"),
    ),
    "a receiver with a name": (
        "monitoring/zz.yml",
        "monitoring_receiver: {name: mine}",
        ("monitoring_receiver", "without a name", "t-backup1.example.net"),
    ),
    "a level that is none": (
        "all/zz.yml",
        "postgresql_health_levels: {dump_age: {warning: soon}}",
        ("postgresql_health_levels", "dump_age", "a level is", "t-pool1.example.net"),
    ),
    "an option that would lose WAL": (
        "all/zz.yml",
        "pgbackrest_repository_options: {archive-push-queue-max: 1GB}",
        ("pgbackrest_repository_options.archive-push-queue-max", "lose WAL"),
    ),
    "a stanza with a space": ("all/zz.yml", "pgbackrest_stanza: my stanza", ("pgbackrest_stanza", "lower-case")),
    "a job outside the window": (
        "all/zz.yml",
        "pgbackrest_full_schedule: 0 12 * * 0",
        ("backup_full", "outside 22:00-06:00", "t-backup1.example.net"),
    ),
    "half a certificate": ("all/zz.yml", "tls_provided_certificate: /tmp/a.crt", ("tls_provided", "1 of 3")),
    "a short passphrase": ("all/zz.yml", "ca_passphrase: short", ("tls_ca_passphrase", "20 characters")),
    "a policy without a schema": (
        "postgresql/zz.yml",
        "mltrading_retention: [{table: bars, column: time, keep_days: 30}]",
        ("postgresql_retention_policies", "schema.table", "bars"),
    ),
    "a dump without a schema": (
        "postgresql/zz.yml",
        "mltrading_dump_tables: [bars]",
        ("postgresql_dump_tables", "schema.table", "bars"),
    ),
    "a limit of WAL without a unit": (
        "postgresql/zz.yml",
        "postgresql_replica_wal_limit: '100'",
        ("postgresql_replica_wal_limit", "number of MB, GB or TB"),
    ),
    "too little memory": ("all/zz.yml", "postgresql_memory_mb: 256", ("postgresql_memory_mb (256)", "512 or more")),
    "levels of compression": (
        "postgresql/zz.yml",
        "postgresql_dump_compression: 19",
        ("postgresql_dump_compression (19)", "1 to 9"),
    ),
    "a share of bloat": (
        "postgresql/zz.yml",
        "postgresql_maintenance_bloat_percent: 120",
        ("postgresql_maintenance_bloat_percent (120)", "at most 100"),
    ),
    "an exporter everywhere": (
        "all/zz.yml",
        "monitoring_exporters_listen_address: '*'",
        ("monitoring_exporters_listen_address", "wildcard"),
    ),
}


@pytest.mark.parametrize(("place", "text", "says"), [pytest.param(*case, id=name) for name, case in CASES.items()])
def test_what_a_role_refuses_is_refused_before_anything_runs(
    environment: Environment, put: Change, place: str, text: str, says: tuple[str, ...]
) -> None:
    put(place, text + "\n")
    lines = said_about(environment)
    assert [line for line in lines if all(part in line for part in says)], lines
    assert not [line for line in lines if "\n" in line or "cannot be worked out" in line], lines
    assert not [line for line in lines if NO_ASCII in line or "two-lines" in line or PASSWORD in line], lines


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("pgbouncer_auth_password", 'a-quote-"-within-20-letters', id="a quote for the pooler"),
        pytest.param("mltrading_rw_password", "a-brace-{{-within-20-letters'", id="braces and a quote"),
        pytest.param("monitor_password", "a-colon-:-a-backslash-\\-and-more", id="a colon and a backslash"),
    ],
)
def test_a_password_of_plain_ascii_is_taken_whatever_its_signs(
    environment: Environment, put: Change, name: str, value: str
) -> None:
    put("all/zz.yml", f"{name}: !unsafe {json.dumps(value)}\n")
    assert said_about(environment) == []


def test_a_problem_is_said_once_though_several_roles_need_the_variable(environment: Environment, put: Change) -> None:
    put("all/zz.yml", f"mltrading_rw_password: {NO_ASCII}\nmonitor_password: {NO_ASCII}\n")
    lines = said_about(environment)
    assert len([line for line in lines if line.startswith("mltrading_rw_password")]) == 1
    assert [line for line in lines if "role 'mltrading_rw'" in line] == []


def test_one_role_that_is_wrong_hides_no_other(environment: Environment, put: Change) -> None:
    put("postgresql/zz.yml", "mltrading_roles: [{name: One}, {name: Two}, {name: '{{ nobody_says }}'}]\n")
    lines = said_about(environment)
    assert [name for name in ("'One'", "'Two'") if not any(name in line for line in lines)] == []


@pytest.mark.parametrize("name", ["lab", "dev", "staging", "production"])
def test_an_inventory_of_the_repository_has_nothing_wrong(environment: Environment, name: str) -> None:
    """Each with secrets of enough length, where it has none of its own."""
    folder = environment.folder.parent / name
    if not folder.exists():
        shutil.copytree(PROJECT / "inventories" / name, folder)
    example = folder / "group_vars/all/vault.yml.example"
    if example.exists():
        secrets = example.read_text().replace("CHANGE_ME", PASSWORD)
        (folder / "group_vars/all/vault.yml").write_text(secrets)
    assert said_about(Environment(name, environment.project)) == []


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        pytest.param("{{ hostvars['t-db2.example.net'].own_port }}", True, id="a template of the other host"),
        pytest.param("{{ hostvars['t-db1.example.net'].own_port }}", False, id="a template of the host itself"),
        pytest.param("{{ groups['all'] | map('extract', hostvars, 'own_port') | max }}", True, id="of every host"),
    ],
)
def test_the_variables_of_another_host_are_templated_as_its_own(
    environment: Environment, put: Change, address: str, *, refused: bool
) -> None:
    put("all/zz.yml", "own_port: '{{ 5432 + (inventory_hostname == \"t-db2.example.net\") | int * 70000 }}'\n")
    put("postgresql/zz.yml", f'postgresql_port: "{address}"\n')
    assert bool([line for line in said_about(environment) if "75432" in line]) == refused


PLACE = problems.Place(
    "one",
    {
        "plain": "a text with {{ other }}",
        "other": [{"deep": "{{ of_facts }}"}],
        "of_facts": "{{ ansible_facts['default_ipv4'] }}",
        "of_a_question": "{{ __tls_held.stdout }}",
        "of_another_host": "{{ hosts | map('extract', hostvars) | map(attribute='__tls_held') }}",
        "text": "ansible_facts are words here",
        "itself": "{{ itself | default(1) }}",
    },
)


@pytest.mark.parametrize(
    ("condition", "on_the_host"),
    [
        pytest.param("plain | length > 0", True, id="a fact, three variables on"),
        pytest.param("of_facts", True, id="a fact"),
        pytest.param("of_a_question", True, id="what a task registers"),
        pytest.param("of_another_host", True, id="what a task registers, by its name as a text"),
        pytest.param("ansible_facts['os_family'] == 'Debian'", True, id="a fact in the condition"),
        pytest.param("item > 1", True, id="an item of a loop that is not known"),
        pytest.param("text == 'a'", False, id="a word of a text that is no expression"),
        pytest.param("itself", False, id="a variable that refers to itself"),
        pytest.param("not_known", False, id="a name that nobody has"),
    ],
)
def test_only_what_a_run_knows_is_left_to_the_host(checkout: Path, condition: str, *, on_the_host: bool) -> None:
    names = expressions.names_in(condition, bare=True)
    assert problems.waits(names, PLACE, checkout) == on_the_host


@pytest.mark.parametrize(
    ("template", "parts"),
    [
        pytest.param("{{ a }}", ["{{ a }}"], id="an expression"),
        pytest.param("{% if a %}b{% endif %}", ["{% if a %}b{% endif %}"], id="one"),
        pytest.param(
            "{% if a %}b{% endif %}\n{% for c in d %}{% if e %}f{% endif %}{% endfor %}\n",
            ["{% if a %}b{% endif %}", "{% for c in d %}{% if e %}f{% endif %}{% endfor %}"],
            id="two, one with another in it",
        ),
        pytest.param(
            "{% set a = 1 %}{%- if a -%}b{%- endif -%}{% if a %}c{% endif %}",
            ["{% set a = 1 %}{%- if a -%}b{%- endif -%}", "{% set a = 1 %}{% if a %}c{% endif %}"],
            id="with a variable of both",
        ),
        pytest.param("{% if a %}b{% endif %} and c", ["{% if a %}b{% endif %} and c"], id="a text behind it"),
        pytest.param("a {% if a %}b{% endif %}", ["a {% if a %}b{% endif %}"], id="a text before it"),
    ],
)
def test_a_list_of_problems_falls_into_parts_that_stand_for_themselves(template: str, parts: list[str]) -> None:
    assert expressions.segments(template) == parts


def test_every_check_of_inputs_is_asked_of_an_environment(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[str] = set()

    def note(task: dict[str, Any], *_: object) -> Iterator[str]:
        asked.add(str(task["name"]))
        return iter(())

    monkeypatch.setattr(problems, "refused", note)
    inventory = load(environment)
    assert [line for host in inventory.hosts for line in problems.refusals(inventory, host, [])] == []
    declared = {
        str(task["name"])
        for path in environment.project.glob("roles/*/tasks/preflight.yml")
        for task in expressions.every_task(templates_of(path))
        if problems.ASSERT in task and "when" not in task and "loop" not in task
    }
    assert declared - asked == set()
    assert {"Jobs | Refuse a job that could not run", "jobs | Refuse two rules for the months of one table"} <= asked
