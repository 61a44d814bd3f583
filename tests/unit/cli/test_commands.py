"""What the commands take, and what they refuse."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from typer.testing import CliRunner

from mltrading_db.cli import compare, inputs, masks, new, operations
from mltrading_db.cli.app import app
from mltrading_db.cli.environment import DONE, Environment, RefusedError, locked
from mltrading_db.cli.inventory import load
from mltrading_db.cli.runner import programs
from mltrading_db.cli.session import session
from mltrading_db.remedies import completed

PROJECT = Path(__file__).parents[3]
CHANGES, LOOKS = ("apply", "plan", "init", "lab"), ("drift", "diff", "check", "runs", "health", "report")
COMMANDS = (*CHANGES, *LOOKS, "backup", "restore", "rebuild", "promote", "drill", "partition")


def mldb(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does."""
    code = "from mltrading_db.cli.app import main; main()"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [("mldb dr", ["drift", "drill"]), ("mldb apply st", ["staging"]), ("mldb restore tr", ["trial"])],
)
def test_the_shell_completes_commands_and_environments(typed: str, offered: list[str]) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    assert sorted(mldb(_MLDB_COMPLETE="complete_bash", **words).stdout.split()) == offered


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("arguments", "code"), [(["apply", "nowhere"], 2), (["backup", "trial"], 2), (["check", "trial"], 0)], ids=str
)
def test_a_program_gets_one_document_also_where_it_is_refused(arguments: list[str], code: int) -> None:
    done = mldb(*arguments, "--json")
    said = json.loads(done.stdout)
    assert (done.returncode, said.get("exit_code", 0)) == (code, code)
    assert bool(said.get("refused")) is (code == 2)


def test_a_program_is_told_where_a_new_environment_is(checkout: Path) -> None:
    hosts = ("--primary", "a=10.98.0.1", "--repository", "b=10.98.0.2", "--pooler", "a=10.98.0.1")
    done = mldb("init", "fresh", *hosts, "--clients", "10.98.1.0/24", "--monitoring", "10.98.0.9/32", "--json")
    assert json.loads(done.stdout)["folder"] == str(checkout / "inventories/fresh"), done.stderr


@pytest.mark.parametrize("command", ["status", "shell"])
def test_a_lab_without_docker_is_said_in_a_line(environment: Environment, tmp_path: Path, command: str) -> None:
    (environment.project / "molecule").symlink_to(PROJECT / "molecule")
    done = mldb("lab", command, PATH=str(tmp_path))
    assert done.returncode == 2
    assert "there is no docker here" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_lab_is_held_while_it_is_made(environment: Environment) -> None:
    with locked(Environment("lab", environment.project), "apply"):
        done = mldb("lab", "up")
    assert done.returncode == 75
    assert "lab is being worked on by `mldb apply`" in done.stderr


OPERATIONS = [
    (["rebuild", "e", "h", "--confirm", "h", "--despite-standby"], "rebuild_despite_standby", True),
    (["rebuild", "e", "h", "--confirm", "h", "--expected-end", "2026-11-24 03:00:00+00"], "rebuild_expected_end", None),
    (["restore", "e", "h", "--latest", "--confirm", "h", "--expected-end", "x"], "restore_expected_end", "x"),
    (["restore", "e", "h", "--latest", "--confirm", "h", "--replaces", "742"], "restore_replaces", "742"),
    (["rebuild", "e", "h", "--check"], "rebuild_confirm", "h"),
    (["promote", "e", "h", "--check"], "promote_confirm", "h"),
]


@pytest.mark.parametrize(("arguments", "variable", "value"), OPERATIONS, ids=[" ".join(one[0]) for one in OPERATIONS])
def test_what_a_playbook_takes_is_an_option(
    arguments: list[str], variable: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def operate(_command: str, _env: str, _playbook: str, variables: dict[str, object], **options: object) -> None:
        asked.update(variables, **options)

    monkeypatch.setattr(operations, "operate", operate)
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert asked[variable] == (value or arguments[-1])
    assert asked["check"] is ("--check" in arguments)


@pytest.mark.parametrize("command", ["rebuild", "promote"])
def test_a_lost_host_is_left_out_of_an_operation(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr(operations, "operate", lambda *_, **options: asked.update(options))
    CliRunner().invoke(app, [command, "e", "h", "--confirm", "h", "--limit", "!db2"])
    assert asked["limit"] == "!db2"


def test_help_names_every_command_and_the_exit_codes() -> None:
    said = mldb("--help").stdout
    assert [name for name in COMMANDS if f" {name} " not in said] == []
    for code in ("0 done", "1 a host failed", "2 refused", "3 drift", "75 another run", "130 stopped"):
        assert code in " ".join(said.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["apply", "stagign"], "'stagign' is no environment"),
        (["apply", "production"], "ca_passphrase, which is not set"),
        (["restore", "trial", "t-db1.example.net", "--latest"], "--confirm t-db1.example.net"),
        (["restore", "trial", "t-db1.example.net", "--latest", "--confirm", "t-db2.example.net"], "given: 't-db2"),
        (["rebuild", "trial", "t-db1.example.net"], "--confirm t-db1.example.net"),
        (["promote", "trial", "t-db2.example.net"], "--confirm t-db2.example.net"),
        (["apply", "trial"], "--confirm trial"),
        (["backup", "trial"], "--confirm trial"),
        (["lab", "down"], "--confirm lab"),
        (["lab", "shell", "db9"], "'db9' is no host of the lab"),
        (["init", "Trial"], "an environment's name is"),
        (["init", "trial"], "is there already"),
        (["init", "other"], "--primary is missing"),
    ],
    ids=" ".join,
)
def test_what_is_not_said_clearly_is_refused_before_anything_runs(
    environment: Environment, arguments: list[str], says: str
) -> None:
    (environment.project / "molecule").symlink_to(PROJECT / "molecule")
    done = mldb(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_host_is_refused_and_leaves_no_environment_behind(checkout: Path) -> None:
    with pytest.raises(RefusedError, match="HOST=ADDRESS"):
        new.init("other", new.Answers("db1", (), "b=10.0.0.1", "p=10.0.0.2", ("10.0.0.0/24",), ("10.0.0.9/32",)))
    with pytest.raises(RefusedError, match="belongs to trial too"):
        new.init(
            "other",
            new.Answers("a=10.99.0.11", (), "b=10.0.0.4", "p=10.0.0.2", ("10.0.0.0/24",), ("10.0.0.9/32",)),
        )
    assert not (checkout / "inventories/other").exists()


def test_the_vault_of_a_new_environment_is_encrypted_and_opened_by_a_file_outside_the_checkout(
    environment: Environment,
) -> None:
    vault = environment.folder / "group_vars/all/vault.yml"
    assert vault.read_text().startswith("$ANSIBLE_VAULT;1.1;AES256\n")
    assert stat.S_IMODE(environment.vault_password_file.stat().st_mode) == 0o600
    assert environment.project not in environment.vault_password_file.parents
    password = environment.vault_password_file.read_text().strip().encode()
    secrets = yaml.safe_load(VaultLib([("default", VaultSecret(password))]).decrypt(vault.read_text()))
    example = yaml.safe_load((PROJECT / "inventories/production/group_vars/all/vault.yml.example").read_text())
    assert secrets.keys() == example.keys()
    assert len(set(secrets.values())) == len(secrets)
    assert min(map(len, secrets.values())) >= 20


def test_a_new_environment_names_nothing_of_the_one_it_was_made_of(environment: Environment) -> None:
    texts = {path: path.read_text() for path in environment.folder.rglob("*.yml") if path.name != "vault.yml"}
    values = {path: [line for line in text.splitlines() if not line.startswith("#")] for path, text in texts.items()}
    assert [
        path for path, lines in values.items() if any("production" in line or "10.30." in line for line in lines)
    ] == []


def test_a_new_environment_has_the_groups_and_login_rules_of_the_example(environment: Environment) -> None:
    made, example = load(environment), load(Environment("staging", environment.project))
    assert made.groups.keys() == example.groups.keys()
    assert made.groups["monitoring"] == ["t-backup1.example.net"]
    name = "postgresql_access_monitor_networks"
    servers = ["10.99.0.11/32", "10.99.0.12/32"]
    assert made.value("t-db1.example.net", name) == ["10.99.0.31/32", *servers]


@pytest.mark.parametrize("address", ["fd00::11", "10.0.0", "db1.example.net"])
def test_an_address_is_one_of_ipv4(address: str) -> None:
    with pytest.raises(RefusedError, match="IPv4"):
        new.host_and_address(f"db1={address}")


def test_a_container_is_reached_by_its_own_name_whoever_delegates_to_it(checkout: Path) -> None:
    places = ("10.0.0.1", "10.0.0.4", "10.0.0.2")
    one, keeper, pooler = (f"c{number}={place}" for number, place in enumerate(places))
    docker = "community.docker.docker"
    new.init("boxes", new.Answers(one, (), keeper, pooler, ("10.0.0.0/24",), ("10.0.0.9/32",), connection=docker))
    hosts = yaml.safe_load((checkout / "inventories/boxes/hosts.yml").read_text())["all"]["hosts"]
    assert {host: said["ansible_docker_host"] for host, said in hosts.items()} == {"c0": "c0", "c1": "c1", "c2": "c2"}


def test_two_environments_differ_by_what_is_written_and_no_secret_is_shown(environment: Environment) -> None:
    one, other = load(environment), load(Environment("staging", environment.project))
    found = {(line.scope, line.name): (line.one, line.other) for line in compare.differences(one, other)}
    assert found["all", "common_environment"] == ("trial", "staging")
    assert found["all", "replicator_password"] == (masks.MASK, compare.MISSING)
    assert ("all", "pgbackrest_database_hosts") not in found
    assert [secret for secret in one.secrets() if secret in str(found)] == []


NESTED = {
    "monitoring_receiver": "{email_configs: [{auth_password: the-nested-one, to: a@example.net}]}",
    "pgbackrest_repository_options": "{repo1-type: s3, repo1-s3-key-secret: the-nested-one}",
    "ansible_become_pass": "the-nested-one",
}


@pytest.mark.parametrize(("name", "value"), NESTED.items(), ids=NESTED)
def test_a_secret_within_a_variable_is_shown_by_nothing_and_masked_everywhere(
    environment: Environment, name: str, value: str
) -> None:
    (environment.folder / "group_vars/all/zz.yml").write_text(f"{name}: {value}\n")
    made = load(environment)
    assert "the-nested-one" in made.secrets()
    found = compare.differences(made, load(Environment("staging", environment.project)))
    assert [line for line in found if line.name == name]
    assert "the-nested-one" not in str(found)
    (environment.folder / "group_vars/all/zz.yml").write_text(f"monitoring_receiver: [{{{name}: {value}}}]\n")
    [line] = inputs.checked(environment)[1]
    assert masks.MASK in line
    assert "the-nested-one" not in line


def test_the_password_of_the_vault_is_masked(environment: Environment) -> None:
    assert environment.vault_password_file.read_text().strip() in load(environment).secrets()


def test_a_secret_is_masked_in_the_forms_that_others_give_it() -> None:
    masker = masks.Masker([secret := 'pä"ss\\wörd/ of mine'])
    for text in (
        json.dumps({"a": secret}),
        json.dumps({"a": json.dumps({"b": secret})}),
        json.dumps({"a": secret}, ensure_ascii=False),
        quote(secret, safe=""),
        base64.b64encode(secret.encode()).decode(),
    ):
        assert masks.MASK in masker.text(text)
        assert "rd/ of" not in masker.text(text)
        assert "wö" not in masker.text(text)


def test_a_secret_that_two_environments_share_is_said(environment: Environment) -> None:
    for name in ("trial", "staging"):
        path = environment.project / f"inventories/{name}/group_vars/all/zz.yml"
        path.write_text("probe_password: the-same-one-in-both-of-them\n")
    one, other = load(environment), load(Environment("staging", environment.project))
    [line] = [line for line in compare.differences(one, other) if line.name == "probe_password"]
    assert line.other == "the same secret: make another"


def test_an_environment_differs_from_itself_in_nothing_but_its_secrets(environment: Environment) -> None:
    one = load(environment)
    assert {line.other for line in compare.differences(one, one)} == {"the same secret: make another"}


@pytest.mark.parametrize(
    ("name", "secret"),
    [("monitor_password", True), ("ca_passphrase", True), ("local_password_form", False), ("tls_ca_dir", False)],
)
def test_a_secret_is_told_by_its_name(name: str, secret: bool) -> None:
    assert masks.is_secret(name) is secret


def test_secrets_are_masked_wherever_they_stand() -> None:
    masker = masks.Masker(["canary-one", "canary-one-and-more", "short"])
    value = {"a": ["xcanary-one-and-morex", {"canary-one": 1}], "b": "short", "c": None}
    assert masker.value(value) == {"a": ["x********x", {"********": 1}], "b": "short", "c": None}


def test_the_runs_are_listed(environment: Environment) -> None:
    done = mldb("runs", environment.name, "--json")
    assert (done.returncode, json.loads(done.stdout)) == (DONE, [])


@pytest.mark.parametrize("name", ["trial", "lab"])
def test_a_remedy_opens_the_vault_where_there_is_one(environment: Environment, name: str) -> None:
    one = Environment(name, environment.project)
    said = completed("playbooks/site.yml -e a=1", name, **programs(one))
    assert f"-i inventories/{name} playbooks/site.yml -e a=1" in said
    assert (f"--vault-password-file {one.vault_password_file}" in said) == (name == "trial")


def test_what_a_role_advises_is_a_whole_command_where_mldb_shows_it(
    environment: Environment,
) -> None:
    (environment.project / "playbooks").unlink()
    shutil.copytree(PROJECT / "playbooks", environment.project / "playbooks")
    advice = [{"name": "Try", "hosts": "localhost", "gather_facts": False, "connection": "local", "tasks": [
        {"name": "Fail", "ansible.builtin.fail": {"msg": "Run playbooks/promote_replica.yml -e promote_to=db2."}},
    ]}]  # fmt: skip
    (environment.project / "playbooks/try.yml").write_text(yaml.safe_dump(advice))
    with session("try", environment.name) as made:
        recap = made.run("try")
    [failure] = recap.failures.values()
    assert "-i inventories/trial playbooks/promote_replica.yml -e promote_to=db2." in failure.reason
