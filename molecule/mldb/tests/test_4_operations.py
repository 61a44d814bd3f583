"""What is done to an environment that lives: backup, restore, a host built anew, a promotion, a drill, its health."""

import json
from typing import Any

import pytest
from environment import BACKUP1, CHECKOUT, DB1, DB2, NAME, NODES, Node, answer, eventually, follows, mldb, set_primary

pytestmark = [pytest.mark.timeout(2400), pytest.mark.usefixtures("applied")]


def backups() -> list[str]:
    """The backups that the repository has."""
    stanzas = json.loads(BACKUP1.do("cd / && runuser -u pgbackrest -- pgbackrest info --output=json"))
    return [str(one["label"]) for one in stanzas[0]["backup"]]


def archive(primary: Node) -> None:
    """Have all that was written archived."""
    primary.sql("SELECT pg_create_restore_point('all of it')")
    segment = primary.sql("SELECT pg_walfile_name(pg_switch_wal())")
    assert eventually(lambda: primary.sql("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver") >= segment)


def rows(node: Node) -> str:
    """How many rows the oracle has, and the last."""
    return node.sql("SELECT count(*), max(n) FROM oracle")


def test_a_backup_is_taken() -> None:
    before = backups()
    answer("backup", "--type", "full", "--confirm", NAME)
    new = [label for label in backups() if label not in before]
    assert [label[-1] for label in new] == ["F"]


def test_a_restore_brings_the_rows_back_that_were_there_at_a_time() -> None:
    DB1.sql("CREATE TABLE oracle (n int); INSERT INTO oracle SELECT generate_series(1, 1000);")
    moment = DB1.sql("SELECT clock_timestamp()")
    DB1.sql("SELECT pg_sleep(1); INSERT INTO oracle SELECT generate_series(1001, 2000);")
    archive(DB1)
    options = ["restore", NAME, DB1.name, "--to-time", moment]
    refused = mldb(*options, "--confirm", DB2.name)
    assert (refused.returncode, f"--confirm {DB1.name}" in refused.stderr) == (2, True), refused.stdout
    assert rows(DB1) == "2000|2000"
    possible = mldb(*options, "--check")
    assert possible.returncode == 0, possible.stdout + possible.stderr
    assert rows(DB1) == "2000|2000"
    done = mldb(*options, "--confirm", DB1.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(DB1) == "1000|1000"
    assert eventually(lambda: follows(DB1, DB2))
    assert rows(DB2) == "1000|1000"
    assert DB1.audit()["command"] == "restore"


def test_a_destroyed_host_is_built_anew() -> None:
    DB2.destroy()
    assert DB2.run("test -e /etc/postgresql").returncode != 0
    answer("rebuild", DB2.name, "--confirm", DB2.name)
    assert eventually(lambda: follows(DB1, DB2))
    assert rows(DB2) == rows(DB1)


def test_a_standby_is_promoted_and_the_inventory_follows() -> None:
    answer("promote", DB2.name, "--confirm", DB2.name)
    DB2.sql("INSERT INTO oracle VALUES (0)")
    assert eventually(lambda: follows(DB2, DB1))
    assert rows(DB1) == rows(DB2)
    # The inventory names the former primary: a run stops instead of undoing the promotion.
    stopped = answer("apply", "--confirm", NAME, code=1)
    assert DB2.name in json.dumps(stopped["failures"])
    set_primary(DB2)
    answer("apply", "--confirm", NAME)
    # Through the pooler, which stands on the former primary's host.
    assert f"host={DB2.name}" in DB1.do("grep '^mltrading = ' /etc/pgbouncer/pgbouncer.ini")


def test_a_drill_restores_what_was_backed_up() -> None:
    said = answer("drill")
    assert said["failures"] == []
    status = json.loads(BACKUP1.do("cat /var/lib/mltrading-db/status/drill_restore.json"))
    assert status["exit_code"] == 0


def test_health_asks_every_host() -> None:
    said = mldb("health", NAME)
    assert said.returncode in (0, 1), said.stderr
    for node in NODES:
        assert node.name in said.stdout


@pytest.fixture
def listed() -> list[dict[str, Any]]:
    """The runs that are kept."""
    done = mldb("runs", NAME, "--json")
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_every_run_left_its_record(listed: list[dict[str, Any]]) -> None:
    assert {"apply", "backup", "restore", "rebuild", "promote", "drill", "health"} <= {one["command"] for one in listed}
    assert len(listed) <= 30
    assert CHECKOUT.is_dir()
