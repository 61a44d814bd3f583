# ruff: noqa: S608 - tests make their own SQL
"""The trading table is partitioned on a whole host, and Debian's pg_partman makes its months: 4.7 on 12, 5.2 on 13."""

from pathlib import Path

from conftest import PROJECT, Play, Query
from testinfra.host import Host

# The primaries. A standby has all of it from them.
testinfra_hosts = ["pgbouncer"]

CONVERT = PROJECT / "playbooks/partition_table.yml"
TRADING = PROJECT / "playbooks/mltrading.yml"
PROBE = Path(__file__).parent / "probe_jobs.yml"
DBJOB = "/usr/local/lib/mltrading-db/dbjob"
TABLE = "feature_engineered_data"
KIND = f"SELECT relkind FROM pg_class WHERE relname = '{TABLE}'"
ROWS = f"SELECT count(*), sum(id), max(timestamp) FROM {TABLE}"
PARTITIONS = f"SELECT count(*) FROM pg_inherits WHERE inhparent = '{TABLE}'::regclass"
NEWEST = f"SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = '{TABLE}'::regclass"


def test_the_trading_table_is_partitioned_where_it_is_confirmed_and_the_declaration_holds(
    host: Host, standby: Host, play: Play, query: Query, query_standby: Query
) -> None:
    name = host.backend.get_hostname()
    wanted = {"partition_table_name": TABLE}
    before = query(ROWS, "mltrading")
    unconfirmed = play(CONVERT, "--limit", name, variables=wanted)
    assert unconfirmed.returncode != 0
    assert f"-e partition_table_confirm={name}" in " ".join(unconfirmed.stdout.split())
    assert query(KIND, "mltrading") == "r"

    confirmed = play(CONVERT, "--limit", name, variables=wanted | {"partition_table_confirm": name})
    assert confirmed.returncode == 0, confirmed.stdout
    assert "The table was locked for" in confirmed.stdout
    assert (query(KIND, "mltrading"), query(ROWS, "mltrading")) == ("p", before)
    assert query("SELECT count(*) > 0 FROM mv_features_dashboard_summary", "mltrading") == "t"

    # A month that is missing at the end is the job's to make, once.
    query(f"DROP TABLE {query(NEWEST, 'mltrading')}", "mltrading")
    missing = int(query(PARTITIONS, "mltrading"))
    runs = [host.run("env -i PATH=/usr/bin:/bin %s partitions", DBJOB) for _ in range(2)]
    assert [run.rc for run in runs] == [0, 0], [run.stdout + run.stderr for run in runs]
    assert ["made public." in run.stdout for run in runs] == [True, False]
    assert int(query(PARTITIONS, "mltrading")) > missing
    assert query("SELECT retention IS NULL AND retention_keep_table FROM partman.part_config", "mltrading") == "t"
    left = standby.run("env -i PATH=/usr/bin:/bin %s partitions", DBJOB)
    assert (left.rc, "not my role" in left.stdout) == (0, True)

    for playbook, variables in ((CONVERT, wanted), (TRADING, None)):
        again = play(playbook, "--limit", f"{name},{standby.backend.get_hostname()}", variables=variables)
        assert again.returncode == 0, again.stdout
        assert again.stdout.count("changed=0") == 2, again.stdout
    assert query_standby(ROWS, "mltrading") == query(ROWS, "mltrading")


def test_two_rules_for_the_months_of_one_table_are_refused(host: Host, play: Play) -> None:
    twice = {"table": "system_logs", "column": "timestamp", "keep_months": 3}
    run = play(PROBE, "--limit", host.backend.get_hostname(), variables={"mltrading_partitions": [twice]})
    assert run.returncode != 0
    assert "public.system_logs has keep_months in mltrading_partitions and a policy" in " ".join(run.stdout.split())
    assert "changed: [" not in run.stdout


def test_the_job_of_the_months_goes_where_it_is_switched_off_and_comes_back(host: Host, play: Play) -> None:
    name = host.backend.get_hostname()
    files = [f"/etc/cron.d/mltrading-db-{job}" for job in ("partitions", "retention")]
    off = play(PROBE, "--limit", name, variables={"mltrading_partitions_enabled": False})
    assert off.returncode == 0, off.stdout
    assert [host.file(path).exists for path in files] == [False, True]
    on = play(PROBE, "--limit", name)
    assert on.returncode == 0, on.stdout
    assert [host.file(path).exists for path in files] == [True, True]
