"""From nothing to servers that do what the inventory says: init, plan, apply, and a second apply."""

from pathlib import Path

import pytest
import yaml
from canaries import canaries, found_in
from environment import (
    BACKUP1,
    CHECKOUT,
    DB1,
    DB2,
    EPHEMERAL,
    NAME,
    NODES,
    VAULT,
    VAULT_PASSWORD,
    answer,
    command,
    eventually,
    follows,
    mldb,
)

# A blank host takes minutes to provision, longer on a machine that is busy.
pytestmark = pytest.mark.timeout(2400)


def test_init_describes_an_environment_with_a_vault_that_its_own_password_opens(environment: Path) -> None:
    hosts = yaml.safe_load((environment / "hosts.yml").read_text())["all"]
    assert set(hosts["children"]["postgresql"]["hosts"]) == {DB1.name, DB2.name}
    assert set(hosts["children"]["monitoring"]["hosts"]) == {BACKUP1.name}
    assert VAULT.read_text().startswith("$ANSIBLE_VAULT")
    assert VAULT_PASSWORD.stat().st_mode & 0o777 == 0o600
    assert f"mldb plan {NAME}" in (EPHEMERAL / "init").read_text()
    # The vault in use is the test's, which holds canaries: it was encrypted with the password that init made.
    assert len(canaries()) >= 20
    assert found_in(VAULT.read_text()) == set()
    done = mldb("check", NAME)
    assert (done.returncode, "nothing wrong" in done.stdout) == (0, True), done.stdout + done.stderr


def test_a_second_init_leaves_the_environment_as_it_is(environment: Path) -> None:
    done = mldb("init", NAME, "--primary", "a=10.0.0.1")
    assert (done.returncode, done.stderr.strip()) == (2, f"inventories/{NAME} is there already: it is left as it is.")
    assert DB1.name in (environment / "hosts.yml").read_text()


@pytest.mark.usefixtures("environment")
def test_a_change_wants_the_environments_name() -> None:
    done = mldb("apply", NAME)
    assert done.returncode == 2
    assert f"--confirm {NAME}" in done.stderr


@pytest.mark.usefixtures("environment")
def test_a_plan_says_what_would_be_done_and_does_nothing() -> None:
    if (EPHEMERAL / "applied/code").exists():
        pytest.fail("the hosts are no longer blank: molecule destroy and create make them so")
    plan = answer("plan", "--out", str(EPHEMERAL / "plan.json"))
    assert {step["host"] for step in plan["steps"]} == {node.name for node in NODES}
    assert {"packages", "files", "jobs"} <= {step["kind"] for step in plan["steps"]}
    assert [one["kind"] for one in plan["risks"] if one["what"].startswith(f"{DB2.name}: all data of {DB1.name}")] == [
        "copy"
    ]
    for node in NODES:
        assert node.run("test -e /etc/mltrading-db -o -e /var/log/mltrading-db").returncode == 1
        assert "postgresql-" not in node.do("dpkg-query --show --showformat='${Package}\\n'")


@pytest.mark.usefixtures("applied")
def test_apply_makes_a_primary_that_a_standby_follows_and_leaves_a_line_on_every_host() -> None:
    DB1.sql("CREATE TABLE written AS SELECT 1 AS n")
    assert eventually(lambda: follows(DB1, DB2))
    assert DB2.sql("SELECT n FROM written") == "1"
    DB1.sql("DROP TABLE written")
    commit = command("git", "rev-parse", "HEAD", cwd=CHECKOUT).strip()
    for node in NODES:
        line = node.audit()
        assert (line["command"], line["commit"], line["uncommitted"], line["ended"]) == ("apply", commit, False, "well")
        assert len(line["changed"]) > 10
        assert node.do("stat --format=%a /var/log/mltrading-db/audit.log") == "640"


@pytest.mark.usefixtures("applied")
def test_a_second_apply_changes_nothing() -> None:
    again = answer("apply", "--confirm", NAME)
    assert again["changes"] == []
    assert {host: one["changed"] for host, one in again["hosts"].items()} == {node.name: 0 for node in NODES}
