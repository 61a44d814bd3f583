# ruff: noqa: S608 - tests make their own SQL
"""Rows past their limit go, and no others: batch by batch, archived before, under writers, through kills."""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Database
from job_host import JobHost, Latencies, Run, install, until
from servers import MAJORS, Server, running
from standbys import standby_of, wait_for_replay

INVENTORIES = Path(__file__).resolve().parents[2] / "inventories"
LOGS = """
SET ROLE owner;
CREATE TABLE logs (id bigserial PRIMARY KEY, at timestamptz NOT NULL, message text);
CREATE INDEX logs_at ON logs (at);
RESET ROLE;
"""
FILL = "INSERT INTO logs (at, message) SELECT now() - make_interval(hours => n), 'm' || n FROM generate_series(1, %s) n"
# Eight partitions of ten days, of which the last ends in ten days' time.
PARTITIONED = """
SET ROLE owner;
CREATE TABLE events (id bigserial, at timestamptz NOT NULL, message text) PARTITION BY RANGE (at);
CREATE INDEX events_at ON events (at);
RESET ROLE;
DO $$
BEGIN
    FOR n IN 0..7 LOOP
        EXECUTE format(
            'CREATE TABLE events_%s PARTITION OF events FOR VALUES FROM (%L) TO (%L)',
            n, date_trunc('day', now()) + make_interval(days => 10 * n - 70),
            date_trunc('day', now()) + make_interval(days => 10 * n - 60)
        );
        EXECUTE format('ALTER TABLE events_%s OWNER TO owner', n);
    END LOOP;
END $$;
INSERT INTO events (at, message)
SELECT date_trunc('day', now()) - make_interval(hours => n), E'line\\n"quoted", ' || n FROM generate_series(0, 1600) n;
"""


def policy(**changed: Any) -> dict[str, Any]:
    """Return a policy of 30 days for the table of logs."""
    return {"table": "public.logs", "column": "at", "keep_days": 30, **changed}


EVENTS = policy(table="public.events")


def policies(*declared: dict[str, Any]) -> dict[str, str]:
    """Return the setting that declares them."""
    return {"RETENTION_POLICIES": json.dumps(declared)}


@pytest.fixture
def logs(db15: Database) -> Database:
    """Return a database with a table of 1,000 hours: 281 rows are older than 30 days."""
    db15.execute(LOGS)
    db15.execute(FILL, (1000,))
    return db15


@pytest.fixture
def events(db: Database) -> Database:
    """Return a database of each major with a partitioned table: three partitions end before the limit of 30 days."""
    db.execute(PARTITIONED)
    return db


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Return the folder of the archives."""
    (tmp_path / "archive").mkdir()
    return tmp_path / "archive"


@pytest.fixture
def host(tmp_path: Path, archive: Path) -> JobHost:
    """Return the role's scripts, with a policy of 30 days in small batches."""
    return install(
        "postgresql_retention",
        tmp_path / "host",
        RETENTION_OWNER="owner",
        RETENTION_ARCHIVE=str(archive),
        RETENTION_REPORTS=str(tmp_path / "host" / "reports"),
        RETENTION_BATCH_ROWS="50",
        RETENTION_REST="0",
        RETENTION_LOCK_WAIT="20",
        **policies(policy()),
    )


def succeeded(run: Run) -> str:
    """Hold a run to have succeeded, and return what it said."""
    assert run.code == 0, run.output
    return run.output


def refused(run: Run, code: int, *words: str) -> None:
    """Hold a run to have refused, with words."""
    assert run.code == code, run.output
    assert [word for word in words if word not in run.output] == [], run.output


def count(db: Database, table: str = "logs") -> int:
    return int(db.value(f"SELECT count(*) FROM {table}"))


def audit(db: Database) -> list[tuple[Any, ...]]:
    """Return (state, rows deleted) of each policy and run."""
    return db.rows("SELECT state, rows_deleted FROM retention.retention_run ORDER BY id")


def archived(folder: Path) -> list[list[str]]:
    """Return the rows of all archives, whose checksums hold."""
    rows = []
    for path in sorted(folder.glob("*.csv.gz")):
        checksum = path.with_name(path.name + ".sha256").read_text()
        assert checksum == f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        with gzip.open(path, "rt", newline="") as lines:
            header, *found = csv.reader(lines)
        assert header == ["id", "at", "message"]
        rows += found
    assert list(folder.glob("*.partial")) == []
    return rows


# --- what goes, and what stays


def test_rows_past_the_limit_go_and_no_others(logs: Database, host: JobHost) -> None:
    expected = logs.rows("SELECT id FROM logs WHERE at >= now() - interval '30 days' ORDER BY id")
    assert "281 rows deleted" in succeeded(host.run(logs, "run_retention"))
    assert logs.rows("SELECT id FROM logs ORDER BY id") == expected


def test_a_second_run_finds_nothing(logs: Database, host: JobHost) -> None:
    succeeded(host.run(logs, "run_retention"))
    assert "0 rows deleted" in succeeded(host.run(logs, "run_retention"))
    assert audit(logs) == [("done", 281), ("done", 0)]


def test_a_dry_run_counts_exactly_and_changes_nothing(logs: Database, host: JobHost) -> None:
    before = logs.snapshot()
    said = succeeded(host.run(logs, "run_retention", "--dry-run"))
    oldest = logs.value("SELECT min(at)::text FROM logs WHERE at >= now() - interval '30 days'")
    assert "WOULD" in said
    assert f"1000  281             28.1" in said  # noqa: F541 - the columns of the table
    assert oldest in said
    assert (count(logs), logs.snapshot(), host.reports) == (1000, before, [])


@pytest.mark.parametrize("column_type", ["timestamp", "date"])
def test_a_column_without_a_time_zone_is_utc(logs: Database, host: JobHost, column_type: str) -> None:
    logs.execute(f"ALTER TABLE logs ALTER at TYPE {column_type} USING (at AT TIME ZONE 'UTC')::{column_type}")
    logs.execute(f"ALTER DATABASE {logs.name} SET TimeZone = 'Pacific/Auckland'")
    kept = logs.value(
        f"SELECT count(*) FROM logs WHERE at >= ((now() - interval '30 days') AT TIME ZONE 'UTC')::{column_type}"
    )
    succeeded(host.run(logs, "run_retention"))
    assert count(logs) == kept


def test_one_run_ends_at_its_cap_and_the_next_goes_on(logs: Database, host: JobHost) -> None:
    assert "the cap of one run" in succeeded(host.run(logs, "run_retention", RETENTION_MOST_ROWS="120"))
    assert audit(logs) == [("done", 120)]
    assert logs.value("SELECT max(at) < now() - interval '30 days' FROM (SELECT at FROM logs ORDER BY at LIMIT 161) l")
    succeeded(host.run(logs, "run_retention"))
    assert (count(logs), audit(logs)) == (719, [("done", 120), ("done", 161)])


def test_each_batch_is_a_transaction_of_its_own(logs: Database, host: JobHost) -> None:
    logs.execute(
        "CREATE TABLE seen (transaction bigint, rows int);"
        "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO seen SELECT txid_current(), count(*) FROM gone; RETURN NULL; END $$;"
        "CREATE TRIGGER see AFTER DELETE ON logs REFERENCING OLD TABLE AS gone EXECUTE FUNCTION see();"
        "GRANT ALL ON seen TO owner"
    )
    succeeded(host.run(logs, "run_retention"))
    assert logs.rows("SELECT rows FROM seen ORDER BY transaction") == [(50,)] * 5 + [(31,)]


def test_a_row_that_the_application_has_locked_is_left_for_the_next_run(logs: Database, host: JobHost) -> None:
    with contextlib.closing(logs.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; UPDATE logs SET message = 'in use' WHERE id = 990")
        succeeded(host.run(logs, "run_retention"))
        cursor.execute("COMMIT")
    assert count(logs) == 720
    assert logs.value("SELECT message FROM retention.retention_run").startswith(
        "280 rows deleted, 1 rows past the limit"
    )
    succeeded(host.run(logs, "run_retention"))
    assert count(logs) == 719


def test_rows_that_stay_twice_in_a_row_are_a_failure(logs: Database, host: JobHost) -> None:
    # As a table has it whose audit was made before the number was kept.
    succeeded(host.run(logs, "run_retention", RETENTION_MOST_ROWS="1"))
    logs.execute("ALTER TABLE retention.retention_run DROP COLUMN rows_left")
    with contextlib.closing(logs.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; UPDATE logs SET message = 'in use' WHERE id BETWEEN 990 AND 992")
        assert "3 rows past the limit stayed" in succeeded(host.run(logs, "run_retention"))
        refused(
            host.run(logs, "run_retention"),
            1,
            "0 rows deleted, 3 rows past the limit stayed",
            "3 did in the run before",
        )
        cursor.execute("COMMIT")
    succeeded(host.run(logs, "run_retention"))
    assert logs.rows("SELECT state, rows_left FROM retention.retention_run ORDER BY id") == [
        ("done", None), ("done", 3), ("failed", 3), ("done", 0),
    ]  # fmt: skip


def test_rows_are_deleted_as_the_owner_and_the_audit_is_not_his(logs: Database, host: JobHost) -> None:
    logs.execute(
        "CREATE TABLE seen (who text); GRANT ALL ON seen TO PUBLIC;"
        "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO seen VALUES (current_user); RETURN NULL; END $$;"
        "CREATE TRIGGER see AFTER DELETE ON logs EXECUTE FUNCTION see()"
    )
    succeeded(host.run(logs, "run_retention"))
    assert logs.rows("SELECT DISTINCT who FROM seen") == [("owner",)]
    assert logs.value("SELECT has_table_privilege('owner', 'retention.retention_run', 'UPDATE')") is False


def test_the_audit_says_what_was_deleted_and_why(logs: Database, host: JobHost) -> None:
    succeeded(host.run(logs, "run_retention"))
    assert logs.rows(
        "SELECT table_name, column_name, keep_days, rows_found, rows_expired, rows_deleted, state, message,"
        " now() - cutoff::timestamptz BETWEEN '30 days' AND '30 days 1 minute', ended_at > started_at, confirmed"
        " FROM retention.retention_run"
    ) == [("public.logs", "at", 30, 1000, 281, 281, "done", "281 rows deleted", True, True, False)]


@pytest.mark.faults
def test_the_report_of_a_run_is_kept_and_old_ones_go(logs: Database, host: JobHost) -> None:
    for _ in range(3):
        succeeded(host.run(logs, "run_retention", RETENTION_REPORTS_KEPT="2"))
    assert [report["steps"][0]["rows"][0]["rows_deleted"] for report in host.reports] == [0, 0]
    assert len(list((host.folder / "reports").glob("*.html"))) == 2


# --- what is refused

# All of them in `make test`, some in the quick part.
EVERY = pytest.mark.faults
WRONG = [
    pytest.param(policy(keep_days=0), "keep_days is 0", id="zero days"),
    pytest.param(policy(keep_days=-5), "keep_days is -5", id="negative days", marks=EVERY),
    pytest.param(policy(keep_days=True), "keep_days is True", id="days that are no number", marks=EVERY),
    pytest.param(policy(keep_days="90; DROP TABLE logs"), "keep_days is", id="days that are text", marks=EVERY),
    pytest.param(policy(table="logs"), "not a schema and a name", id="a table without its schema", marks=EVERY),
    pytest.param(
        policy(table="public.logs; DROP TABLE public.logs"), "not a schema and a name", id="SQL as a table", marks=EVERY
    ),
    pytest.param(policy(table="public.nothing"), "there is no table public.nothing", id="an unknown table"),
    pytest.param(policy(column="nothing"), "has no column nothing", id="an unknown column", marks=EVERY),
    pytest.param(policy(column="message"), "is of type text", id="a column that is no time"),
    pytest.param(policy(column="id"), "is of type bigint", id="a column of numbers", marks=EVERY),
    pytest.param(policy(table="public.a_view"), "is not a table", id="a view"),
    pytest.param(policy(table="public.a_materialized_view"), "is not a table", id="a materialized view", marks=EVERY),
    pytest.param(policy(table="public.unindexed"), "CREATE INDEX CONCURRENTLY ON public.unindexed (at)", id="no index"),
    pytest.param(
        policy(table="public.second"), "no index of public.second begins with at", id="another index", marks=EVERY
    ),
    pytest.param(
        policy(table="public.partial"), "no index of public.partial begins with at", id="a partial index", marks=EVERY
    ),
    pytest.param(policy(table="public.part_1"), "is a partition", id="a partition"),
    pytest.param(policy(keep_day=3), "there is no 'keep_day' in a policy", id="a misspelled key", marks=EVERY),
]


@pytest.mark.parametrize(("wrong", "word"), WRONG)
def test_a_wrong_policy_is_refused_before_anything_of_any_is_deleted(
    logs: Database, host: JobHost, wrong: dict[str, Any], word: str
) -> None:
    logs.execute(
        "CREATE TABLE second (id int, at timestamptz); CREATE INDEX ON second (id, at);"
        "CREATE TABLE unindexed (at timestamptz);"
        "CREATE TABLE partial (at timestamptz); CREATE INDEX ON partial (at) WHERE at > '2020-01-01 00:00+00';"
        "CREATE TABLE part (at timestamptz) PARTITION BY RANGE (at);"
        "CREATE TABLE part_1 PARTITION OF part DEFAULT; CREATE VIEW a_view AS SELECT * FROM logs;"
        "CREATE MATERIALIZED VIEW a_materialized_view AS SELECT * FROM logs;"
        "CREATE TABLE other (LIKE logs INCLUDING ALL); INSERT INTO other SELECT * FROM logs"
    )
    good = policy(table="public.other")
    refused(host.run(logs, "run_retention", **policies(good, wrong)), 2, word)
    assert (count(logs), count(logs, "other")) == (1000, 1000)
    # The audit says so, where a row could be left.
    ((state, message),) = logs.rows("SELECT state, message FROM retention.retention_run")
    assert (state, word in message) == ("refused", True)


def test_settings_that_are_none_are_in_the_audit_and_not_those_of_a_dry_run(logs: Database, host: JobHost) -> None:
    wrong = {"RETENTION_MOST_ROWS": "many"}
    refused(host.run(logs, "run_retention", "--dry-run", **wrong), 2, "is not the number")
    assert logs.value("SELECT to_regclass('retention.retention_run')") is None
    refused(host.run(logs, "run_retention", **wrong), 2, "is not the number")
    assert logs.value("SELECT message FROM retention.retention_run").startswith("a setting is not the number")


def test_wrong_settings_are_told_of_also_where_no_server_answers(logs: Database, host: JobHost) -> None:
    refused(host.run(logs, "run_retention", PGPORT="1", RETENTION_MOST_ROWS="many"), 2, "is not the number")
    refused(host.run(logs, "run_retention", PGPORT="1"), 1, "connection")


def test_two_policies_for_one_table_are_refused(logs: Database, host: JobHost) -> None:
    refused(host.run(logs, "run_retention", **policies(policy(), policy(keep_days=60))), 2, "has two policies")
    assert count(logs) == 1000


def test_a_large_share_is_refused_until_somebody_confirms_it(logs: Database, host: JobHost) -> None:
    wanted = policies(policy(keep_days=10))
    refused(host.run(logs, "run_retention", **wanted), 1, "76 % and more than the 50 %", "--confirm public.logs")
    refused(host.run(logs, "run_retention", "--dry-run", **wanted), 1, "REFUSED", "76 %")
    refused(host.run(logs, "run_retention", "--confirm", "public.log", **wanted), 2, "there is no such policy")
    assert (count(logs), audit(logs)) == (1000, [("refused", 0), ("refused", 0)])
    succeeded(host.run(logs, "run_retention", "--confirm", "public.logs", **wanted))
    assert count(logs) == 239


def test_a_share_of_a_few_rows_asks_nobody(logs: Database, host: JobHost) -> None:
    logs.execute("DELETE FROM logs WHERE id > 20 AND id < 981; INSERT INTO logs (at) VALUES (now())")
    logs.execute("UPDATE logs SET at = at - interval '60 days' WHERE id <= 20")
    assert "40 rows deleted" in succeeded(host.run(logs, "run_retention", RETENTION_MOST_PERCENT="10"))


def test_what_was_confirmed_goes_on_unasked_and_no_more_than_that(logs: Database, host: JobHost) -> None:
    wanted = policies(policy(keep_days=10))
    succeeded(host.run(logs, "run_retention", "--confirm", "public.logs", RETENTION_MOST_ROWS="100", **wanted))
    succeeded(host.run(logs, "run_retention", RETENTION_MOST_ROWS="100", **wanted))
    assert count(logs) == 800
    # The same share again, of rows that nobody has been asked about.
    refused(host.run(logs, "run_retention", **policies(policy(keep_days=9))), 1, "--confirm public.logs")
    assert count(logs) == 800


def test_one_refused_policy_does_not_stop_the_others(logs: Database, host: JobHost) -> None:
    logs.execute("CREATE TABLE other (LIKE logs INCLUDING ALL); INSERT INTO other SELECT * FROM logs")
    logs.execute("ALTER TABLE other OWNER TO owner")
    both = policies(policy(keep_days=10), policy(table="public.other"))
    refused(host.run(logs, "run_retention", **both), 1, "FAILED  public.logs", "DONE    public.other")
    assert (count(logs), count(logs, "other")) == (1000, 719)


def test_a_clock_two_days_ahead_deletes_nothing(logs: Database, host: JobHost) -> None:
    # To the server it is as if its clock had been set: every row is two days older.
    logs.execute("UPDATE logs SET at = at - interval '2 days'")
    refused(host.run(logs, "run_retention"), 1, "the clock is ahead, or nothing writes")
    assert count(logs) == 1000
    succeeded(host.run(logs, "run_retention", RETENTION_SILENCE_HOURS="0"))


def test_a_clock_two_days_ahead_drops_no_partition(events: Database, host: JobHost) -> None:
    events.execute("UPDATE events SET at = at - interval '2 days'")
    wanted = {"RETENTION_MOST_PERCENT": "100", **policies(EVENTS)}
    refused(host.run(events, "run_retention", **wanted), 1, "the clock is ahead, or nothing writes")
    assert (len(children(events)), len(tables(events))) == (8, 8)


# The rows of the application are dated by the same clock, so that nothing in the table tells.
FRESH = "INSERT INTO logs (at, message) SELECT now(), 'after the jump'"


def test_a_clock_that_was_set_two_days_ahead_deletes_nothing_though_rows_are_fresh(
    logs: Database, host: JobHost
) -> None:
    logs.execute("UPDATE logs SET at = at - interval '2 days'")
    logs.execute(FRESH)
    jump = {"DBJOB_CLOCK_STEP": "172800"}
    refused(host.run(logs, "run_retention", **jump), 1, "clock was set forward by 48.0 hours", "--clock-is-right")
    refused(host.run(logs, "run_retention", "--dry-run", **jump), 1, "REFUSED", "clock was set forward")
    assert (count(logs), audit(logs)) == (1001, [("refused", 0)])
    succeeded(host.run(logs, "run_retention", "--clock-is-right", **jump))
    assert count(logs) == 1001 - 281 - 48


def test_a_clock_that_was_corrected_by_a_minute_is_believed(logs: Database, host: JobHost) -> None:
    succeeded(host.run(logs, "run_retention", DBJOB_CLOCK_STEP="-60"))
    assert count(logs) == 719


def test_a_clock_two_days_ahead_of_the_replicas_deletes_nothing_though_rows_are_fresh(
    servers: Callable[[int], Server], logs: Database, host: JobHost
) -> None:
    logs.execute(FRESH)
    # The view of the jobs is the server's own, with a replica whose clock is right and the server's is not.
    clock = host.folder / "dbjob_clock.py"
    clock.write_text(clock.read_text().replace("clock_timestamp() -", "clock_timestamp() + interval '2 days' -"))
    with standby_of(servers(MAJORS[0])) as standby:
        wait_for_replay(logs.server, standby)
        until(lambda: logs.value("SELECT count(reply_time) FROM pg_stat_replication"))
        refused(host.run(logs, "run_retention"), 1, "the server's clock is 48.0 hours ahead of that of")
        assert count(logs) == 1001
        # And what the server really says is believed.
        clock.write_text(clock.read_text().replace(" + interval '2 days'", ""))
        succeeded(host.run(logs, "run_retention"))
    assert count(logs) == 720


@pytest.mark.faults
@pytest.mark.parametrize("environment", ["lab", "dev"])
def test_where_nobody_writes_for_weeks_rows_go_to_the_last_and_no_job_fails(
    logs: Database, host: JobHost, environment: str
) -> None:
    given = yaml.safe_load((INVENTORIES / environment / "group_vars/postgresql/postgresql_retention.yml").read_text())
    settings = {name.removeprefix("postgresql_").upper(): str(value) for name, value in given.items()}
    for days in (12, 40):
        logs.execute("UPDATE logs SET at = at - make_interval(days => %s)", (days,))
        succeeded(host.run(logs, "run_retention", **settings))
        succeeded(host.run(logs, "run_retention", **settings))
    assert count(logs) == 0


def test_a_silent_table_is_believed_where_another_one_is_written_to(logs: Database, host: JobHost) -> None:
    logs.execute("CREATE TABLE other (LIKE logs INCLUDING ALL); INSERT INTO other VALUES (1, now(), 'new')")
    logs.execute("ALTER TABLE other OWNER TO owner")
    logs.execute("UPDATE logs SET at = at - interval '2 days'")
    succeeded(host.run(logs, "run_retention", **policies(policy(), policy(table="public.other"))))
    assert count(logs) == 1000 - 281 - 48


def test_a_clock_two_days_behind_is_refused(logs: Database, host: JobHost) -> None:
    logs.execute("UPDATE logs SET at = at + interval '2 days'")
    refused(host.run(logs, "run_retention"), 1, "its newest row is of", "correct the rows or the clock")
    assert count(logs) == 1000


SECURED = (
    "CREATE TABLE odd (LIKE logs INCLUDING ALL); INSERT INTO odd SELECT * FROM logs; ALTER TABLE odd OWNER TO owner;"
    "ALTER TABLE odd ENABLE ROW LEVEL SECURITY; ALTER TABLE odd FORCE ROW LEVEL SECURITY;"
    "CREATE POLICY p ON odd USING (message = current_setting('app.tenant', true))"
)
INHERITED = (
    "CREATE TABLE odd (LIKE logs INCLUDING ALL); INSERT INTO odd SELECT * FROM logs WHERE id < 700;"
    "CREATE TABLE odd_2024 () INHERITS (odd); INSERT INTO odd_2024 SELECT * FROM logs WHERE id >= 700"
)
FOREIGN = (
    "CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER there FOREIGN DATA WRAPPER nowhere;"
    "CREATE TABLE odd (id bigint, at timestamptz, message text) PARTITION BY LIST (id);"
    "CREATE TABLE odd_1 PARTITION OF odd FOR VALUES IN (1); CREATE INDEX ON odd_1 (at);"
    "CREATE FOREIGN TABLE odd_2 PARTITION OF odd FOR VALUES IN (2) SERVER there"
)
HINDERED = [
    pytest.param(SECURED, "ALTER TABLE odd NO FORCE ROW LEVEL SECURITY where owner owns it", id="row-level security"),
    pytest.param(INHERITED, "ALTER TABLE public.odd_2024 NO INHERIT public.odd", id="inheritance"),
    pytest.param(FOREIGN, "public.odd_2 is on another server", id="a foreign partition"),
]


@pytest.mark.parametrize(("odd", "remedy"), HINDERED)
def test_a_table_whose_rows_would_stay_for_ever_is_refused_with_the_way_out(
    logs: Database, host: JobHost, odd: str, remedy: str
) -> None:
    logs.execute(odd)
    both = policies(policy(table="public.odd"), policy())
    refused(
        host.run(logs, "run_retention", "--dry-run", **both), 1, "REFUSED public.odd", "WOULD   public.logs", remedy
    )
    refused(host.run(logs, "run_retention", **both), 1, "FAILED  public.odd", "DONE    public.logs", remedy)
    assert audit(logs) == [("refused", 0), ("done", 281)]


def test_the_remedies_for_hidden_rows_are_ones(logs: Database, host: JobHost) -> None:
    logs.execute(SECURED + ";" + INHERITED.replace("odd", "old"))
    logs.execute("ALTER TABLE odd NO FORCE ROW LEVEL SECURITY; ALTER TABLE old_2024 NO INHERIT old")
    logs.execute("CREATE INDEX ON old_2024 (at); ALTER TABLE old OWNER TO owner; ALTER TABLE old_2024 OWNER TO owner")
    three = policies(*(policy(table=f"public.{name}") for name in ("odd", "old", "old_2024")))
    succeeded(host.run(logs, "run_retention", RETENTION_MOST_PERCENT="100", **three))
    assert [deleted for _, deleted in audit(logs)] == [281, 0, 281]


def test_rows_that_become_hidden_half_way_are_an_error_of_the_server(logs: Database, host: JobHost) -> None:
    with contextlib.closing(logs.connect()) as other, other.cursor() as cursor:
        run = host.start(logs, "run_retention", RETENTION_REST="200")
        until(lambda: count(logs) < 1000)
        cursor.execute("ALTER TABLE logs ENABLE ROW LEVEL SECURITY; ALTER TABLE logs FORCE ROW LEVEL SECURITY")
        run.terminate()
    said = "would be affected by row-level security"
    effects = host.folder / "retention_effects.py"
    effects.write_text(effects.read_text().replace("row_security_active(leaf.oid)", "false"))
    refused(host.run(logs, "run_retention"), 1, said)


# --- what goes with the rows

# A child of rows past the limit, its own child, one that loses its reference, one that is only told of by a trigger.
FAMILY = """
CREATE TABLE child (id bigserial PRIMARY KEY, log bigint REFERENCES logs ON DELETE CASCADE);
CREATE TABLE grandchild (child bigint REFERENCES child ON DELETE CASCADE) PARTITION BY HASH (child);
CREATE TABLE grandchild_0 PARTITION OF grandchild FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE grandchild_1 PARTITION OF grandchild FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE friend (log bigint REFERENCES logs ON DELETE SET NULL);
CREATE TABLE told (log bigint); GRANT ALL ON told TO owner;
INSERT INTO child (log) SELECT n FROM generate_series(900, 999) n; INSERT INTO child (log) VALUES (1);
INSERT INTO grandchild SELECT id FROM child, generate_series(1, 3); INSERT INTO friend VALUES (1), (999), (1000);
ALTER TABLE child OWNER TO owner; ALTER TABLE grandchild OWNER TO owner; ALTER TABLE friend OWNER TO owner;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO told SELECT old.id WHERE old.id > 990; RETURN NULL; END $$;
"""
DEFERRED = (
    "CREATE CONSTRAINT TRIGGER tell AFTER DELETE ON logs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
    " EXECUTE FUNCTION tell()"
)


def test_what_goes_or_changes_with_the_rows_is_told_before_and_afterwards(logs: Database, host: JobHost) -> None:
    logs.execute(FAMILY)
    logs.execute(DEFERRED)
    before = ["100 rows of public.child (ON DELETE CASCADE)", "300 rows of public.grandchild (ON DELETE CASCADE)"]
    before += ["2 rows of public.friend (ON DELETE SET NULL)", "trigger tell would run"]
    said = succeeded(host.run(logs, "run_retention", "--dry-run"))
    assert [word for word in before if word not in said] == [], said
    assert count(logs, "child") == 101
    rows = "281 rows deleted; with them 100 rows of public.child deleted, 2 rows of public.friend updated, "
    parts = logs.rows("SELECT count(*) FROM grandchild WHERE child <= 100 GROUP BY tableoid ORDER BY tableoid")
    rows += ", ".join(f"{n} rows of public.grandchild_{i} deleted" for i, (n,) in enumerate(parts))
    rows += ", 10 rows of public.told inserted"
    assert rows in " ".join(succeeded(host.run(logs, "run_retention")).split())
    assert logs.value("SELECT message FROM retention.retention_run") == rows
    assert (count(logs, "child"), count(logs, "grandchild"), count(logs, "told")) == (1, 3, 10)


def test_a_deferred_trigger_runs_as_the_owner_and_not_as_the_superuser(logs: Database, host: JobHost) -> None:
    logs.execute("CREATE TABLE seen (who text); GRANT ALL ON seen TO owner")
    logs.execute(
        "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO seen VALUES (current_user); RETURN NULL; END $$"
    )
    logs.execute(DEFERRED)
    succeeded(host.run(logs, "run_retention"))
    assert logs.rows("SELECT DISTINCT who FROM seen") == [("owner",)]


def test_a_table_that_refers_to_itself_says_which_more_went(logs: Database, host: JobHost) -> None:
    logs.execute("ALTER TABLE logs ADD parent bigint REFERENCES logs ON DELETE CASCADE")
    logs.execute("UPDATE logs SET parent = 999 WHERE id IN (1, 2)")
    assert "281 rows deleted; with them 2 rows of public.logs deleted" in succeeded(host.run(logs, "run_retention"))
    assert count(logs) == 717


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL"])
def test_an_archive_that_would_not_hold_all_that_goes_is_refused(
    logs: Database, host: JobHost, archive: Path, action: str
) -> None:
    logs.execute(f"CREATE TABLE child (log bigint REFERENCES logs ON DELETE {action}); INSERT INTO child VALUES (999)")
    logs.execute("CREATE TABLE other (LIKE logs INCLUDING ALL); INSERT INTO other SELECT * FROM logs")
    logs.execute("ALTER TABLE other OWNER TO owner")
    both = policies(policy(archive=True), policy(table="public.other", archive=True))
    words = [
        f"public.child (ON DELETE {action} of child_log_fkey)",
        "lose what is in no archive",
        "ON DELETE NO ACTION",
    ]
    refused(host.run(logs, "run_retention", "--dry-run", **both), 1, *words)
    refused(host.run(logs, "run_retention", **both), 1, *words, "DONE    public.other")
    assert (count(logs), count(logs, "child"), len(archived(archive))) == (1000, 1, 281)
    # The way out that it names.
    logs.execute("DELETE FROM child; ALTER TABLE child DROP CONSTRAINT child_log_fkey")
    logs.execute("ALTER TABLE child ADD FOREIGN KEY (log) REFERENCES logs")
    succeeded(host.run(logs, "run_retention", **both))
    assert count(logs) == 719


# Milliseconds that were taken for seconds, a table whose newest row is BC, and days that no timestamp can hold.
FAR = [
    pytest.param("timestamptz", "to_timestamp(1700000000000)", "55840-", id="a far year"),
    pytest.param("date", "date '5874897-12-31'", "5874897-12-31", id="the last date"),
]


@pytest.mark.parametrize(("column_type", "value", "said"), FAR)
def test_a_row_of_a_far_year_refuses_its_own_policy_and_no_other(
    logs: Database, host: JobHost, column_type: str, value: str, said: str
) -> None:
    logs.execute(
        f"CREATE TABLE odd (at {column_type}); CREATE INDEX ON odd (at); ALTER TABLE odd OWNER TO owner;"
        f"INSERT INTO odd VALUES ({value}), (now() - interval '90 days')"
    )
    both = policies(policy(table="public.odd"), policy())
    words = [f"its newest row is of {said}", "correct the rows or the clock"]
    dry = host.run(logs, "run_retention", "--dry-run", **both)
    refused(dry, 1, "REFUSED public.odd", "WOULD   public.logs", *words)
    refused(host.run(logs, "run_retention", **both), 1, "FAILED  public.odd", "DONE    public.logs", *words)
    assert (count(logs, "odd"), audit(logs)) == (2, [("refused", 0), ("done", 281)])
    assert said in logs.value("SELECT message FROM retention.retention_run WHERE state = 'refused'")


@pytest.mark.parametrize(
    ("newest", "said"), [("0044-03-15 BC", "0044-03-15 00:00:00+00 BC"), ("-infinity", "-infinity")]
)
def test_rows_of_before_every_calendar_go_as_others_do(logs: Database, host: JobHost, newest: str, said: str) -> None:
    logs.execute(
        "CREATE TABLE odd (at timestamptz); CREATE INDEX ON odd (at); ALTER TABLE odd OWNER TO owner;"
        f"INSERT INTO odd VALUES ('{newest}')"
    )
    both = policies(policy(table="public.odd"), policy())
    assert said in succeeded(host.run(logs, "run_retention", "--dry-run", **both))
    succeeded(host.run(logs, "run_retention", **both))
    assert audit(logs) == [("done", 1), ("done", 281)]


def test_a_row_of_a_far_year_does_not_vouch_for_the_clock(logs: Database, host: JobHost) -> None:
    logs.execute("UPDATE logs SET at = at - interval '2 days'")
    logs.execute("CREATE TABLE odd (LIKE logs INCLUDING ALL); INSERT INTO odd VALUES (1, to_timestamp(1700000000000))")
    both = policies(policy(table="public.odd"), policy())
    refused(host.run(logs, "run_retention", **both), 1, "the clock is ahead, or nothing writes")
    assert count(logs) == 1000


def test_a_table_that_cannot_be_counted_stops_its_own_policy_alone(logs: Database, host: JobHost) -> None:
    logs.execute("CREATE TABLE odd (LIKE logs INCLUDING ALL)")
    both = policies(policy(table="public.odd", keep_days=2_000_000_000), policy())
    said = "its rows cannot be counted: timestamp out of range"
    refused(host.run(logs, "run_retention", "--dry-run", **both), 1, said, "WOULD   public.logs")
    refused(host.run(logs, "run_retention", **both), 1, said, "DONE    public.logs")
    assert audit(logs) == [("refused", 0), ("done", 281)]


def test_a_trigger_that_keeps_rows_is_told_of(logs: Database, host: JobHost) -> None:
    logs.execute(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
        "CREATE TRIGGER keep BEFORE DELETE ON logs FOR EACH ROW WHEN (old.id = 950) EXECUTE FUNCTION keep()"
    )
    refused(host.run(logs, "run_retention"), 1, "a trigger or a rule keeps them")


def test_a_second_run_at_the_same_time_is_refused(logs: Database, host: JobHost) -> None:
    first = host.start(logs, "run_retention", RETENTION_REST="200")
    until(lambda: count(logs) < 1000)
    refused(host.run(logs, "run_retention"), 75, "(retention) held the lock")
    first.terminate()


@pytest.mark.faults
def test_a_standby_is_refused(servers: Callable[[int], Server], logs: Database, host: JobHost) -> None:
    with standby_of(servers(MAJORS[0])) as standby:
        wait_for_replay(logs.server, standby)
        refused(host.run_on(standby, logs.name, "run_retention"), 1, "this is a standby")


# --- archives


def test_rows_are_archived_before_they_go(logs: Database, host: JobHost, archive: Path) -> None:
    logs.execute("UPDATE logs SET message = E'a \"quoted\", line\\nand another' WHERE id % 7 = 0")
    logs.execute("UPDATE logs SET message = NULL WHERE id % 11 = 0")
    expected = logs.rows("SELECT id, at, message FROM logs WHERE at < now() - interval '30 days' ORDER BY at")
    said = succeeded(host.run(logs, "run_retention", **policies(policy(archive=True))))
    assert "281 rows deleted" in said
    assert [(int(row[0]), row[2]) for row in archived(archive)] == [(row[0], row[2] or "") for row in expected]
    (path,) = archive.glob("*.csv.gz")
    assert path.stat().st_mode & 0o777 == 0o600
    assert logs.value("SELECT archives FROM retention.retention_run") == [str(path)]
    assert f"1 files of 0.0 MB in {archive}, which nothing deletes" in said
    assert "281 of 281 rows were put back" in succeeded(host.run(logs, "put_back_archive", str(path)))
    gone = "SELECT id, at, message FROM logs WHERE at < now() - interval '30 days' ORDER BY at"
    assert logs.rows(gone) == expected


# What a plain INSERT of all columns is refused for, or loses.
ODD_COLUMNS = """
CREATE TABLE "Odd" (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL, n int,
    twice int GENERATED ALWAYS AS (n * 2) STORED, "a ""name"" x" text, gone int
);
ALTER TABLE "Odd" DROP gone;
CREATE INDEX ON "Odd" (at); ALTER TABLE "Odd" OWNER TO owner;
INSERT INTO "Odd" (at, n, "a ""name"" x")
SELECT now() - make_interval(hours => n), n, CASE WHEN n % 3 = 0 THEN E'a "b",\\nc' WHEN n % 3 = 1 THEN '' END
FROM generate_series(1, 1000) AS n;
"""


def test_an_archive_is_put_back_by_the_documented_command(db: Database, host: JobHost, archive: Path) -> None:
    db.execute(ODD_COLUMNS)
    before = db.rows('SELECT * FROM "Odd" ORDER BY id')
    wanted = policies(policy(table='public."Odd"', archive=True))
    succeeded(host.run(db, "run_retention", **wanted))
    (path,) = archive.glob("*.csv.gz")
    # The command of the page, with the paths of the test.
    page = (INVENTORIES.parent / "docs/operations/retention.md").read_text()
    assert f"/usr/local/lib/mltrading-db/put_back_archive {Path('/var/lib/mltrading-db/archive/FILE')}" in page
    assert "281 of 281 rows were put back" in succeeded(host.run(db, "put_back_archive", str(path)))
    assert db.rows('SELECT * FROM "Odd" ORDER BY id') == before
    # Again, and after a column was added that may not be null.
    db.execute('ALTER TABLE "Odd" ADD since text; DELETE FROM "Odd" WHERE n IN (999, 1000)')
    db.execute("""ALTER TABLE "Odd" ALTER since SET DEFAULT 'new'""")
    db.execute("""UPDATE "Odd" SET since = 'old'; ALTER TABLE "Odd" ALTER since SET NOT NULL""")
    assert "2 of 281 rows were put back" in succeeded(host.run(db, "put_back_archive", str(path)))
    assert db.value('SELECT count(*) FROM "Odd"') == 1000


def test_an_archive_that_cannot_be_put_back_is_not_in_part(logs: Database, host: JobHost, archive: Path) -> None:
    succeeded(host.run(logs, "run_retention", **policies(policy(archive=True))))
    (path,) = archive.glob("*.csv.gz")
    refused(host.run(logs, "put_back_archive", str(path.with_name("logs.csv.gz"))), 2, "is not the name of an archive")
    refused(
        host.run(logs, "put_back_archive", str(path.with_name(path.name.replace("logs", "log")))), 1, "No such file"
    )
    logs.execute("ALTER TABLE logs RENAME message TO words")
    refused(host.run(logs, "put_back_archive", str(path)), 2, "has no column message any more")
    logs.execute("ALTER TABLE logs RENAME words TO message; ALTER TABLE logs ADD CHECK (id <> 950) NOT VALID")
    refused(host.run(logs, "put_back_archive", str(path)), 1, "nothing was put back", "violates check constraint")
    assert count(logs) == 719
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + b"x" + whole[-8:])
    refused(host.run(logs, "put_back_archive", str(path)), 2, "is not what was written")


def test_nothing_is_deleted_that_cannot_be_archived(logs: Database, host: JobHost, archive: Path) -> None:
    logs.execute("UPDATE logs SET message = md5(id::text)")
    wanted = policies(policy(archive=True))
    run = host.run(logs, "run_retention", largest_file="6000", **wanted)
    assert (run.code, "File too large" in run.output) == (1, True), run.output
    left = count(logs)
    assert 719 < left < 1000
    assert len(archived(archive)) == 1000 - left
    succeeded(host.run(logs, "run_retention", **wanted))
    assert len(archived(archive)) == 281


def test_nothing_is_deleted_where_an_archive_would_fill_the_disk(logs: Database, host: JobHost, archive: Path) -> None:
    logs.execute("CREATE TABLE other (LIKE logs INCLUDING ALL); INSERT INTO other SELECT * FROM logs")
    logs.execute("ALTER TABLE other OWNER TO owner")
    both = policies(policy(archive=True), policy(table="public.other"))
    refused(host.run(logs, "run_retention", RETENTION_RESERVE_MB="100000000", **both), 1, f"{archive} has", "MB free")
    assert (count(logs), count(logs, "other"), list(archive.iterdir())) == (1000, 719, [])
    succeeded(host.run(logs, "run_retention", **both))
    assert (count(logs), len(archived(archive))) == (719, 281)


def test_nothing_is_archived_where_nothing_goes(logs: Database, host: JobHost, archive: Path) -> None:
    succeeded(host.run(logs, "run_retention", **policies(policy(keep_days=300, archive=True))))
    assert list(archive.iterdir()) == []


# --- ends that nobody asked for


@pytest.mark.parametrize("with_archive", [False, True], ids=["without an archive", "with an archive"])
@pytest.mark.parametrize("batches", [1, pytest.param(3, marks=pytest.mark.faults)])
def test_a_killed_run_is_gone_on_with(
    logs: Database, host: JobHost, archive: Path, batches: int, with_archive: bool
) -> None:
    wanted = policies(policy(archive=with_archive))
    expected = logs.rows("SELECT id FROM logs WHERE at < now() - interval '30 days' ORDER BY id")
    run = host.start(logs, "run_retention", RETENTION_REST="30", **wanted)
    until(lambda: count(logs) <= 1000 - 50 * batches)
    run.kill()
    assert audit(logs)[0][0] == "running"
    succeeded(host.run(logs, "run_retention", **wanted))
    assert count(logs) == 719
    assert [state for state, _ in audit(logs)] == ["killed", "done"]
    assert sum(rows for _, rows in audit(logs)) == 281
    if with_archive:
        assert sorted({int(row[0]) for row in archived(archive)}) == [row[0] for row in expected]
        # Also what the killed run left is named, with that run.
        named = logs.rows("SELECT unnest(archives) FROM retention.retention_run ORDER BY id")
        assert [name for (name,) in named] == [str(path) for path in sorted(archive.glob("*.csv.gz"))]


def test_a_kill_between_archive_and_delete_loses_no_row(logs: Database, host: JobHost, archive: Path) -> None:
    # The delete waits for a lock: the archive of its batch is written and read back by then.
    wanted = policies(policy(archive=True))
    logs.execute(
        "CREATE TABLE gate (); CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN LOCK TABLE gate IN ACCESS SHARE MODE; RETURN NULL; END $$;"
        "CREATE TRIGGER wait AFTER DELETE ON logs EXECUTE FUNCTION wait(); GRANT SELECT ON gate TO owner"
    )
    with contextlib.closing(logs.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE gate IN ACCESS EXCLUSIVE MODE")
        run = host.start(logs, "run_retention", **wanted)
        waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'gate'::regclass AND NOT granted"
        until(lambda: logs.value(waiting))
        run.kill()
        logs.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'retention'")
    assert count(logs) == 1000
    succeeded(host.run(logs, "run_retention", **wanted))
    rows = [int(row[0]) for row in archived(archive)]
    # The fifty of the killed batch are in two archives.
    assert (count(logs), len(rows), len(set(rows))) == (719, 331, 281)


def test_a_torn_archive_is_kept_up_to_its_last_whole_batch(logs: Database, host: JobHost, archive: Path) -> None:
    wanted = policies(policy(archive=True))
    run = host.start(logs, "run_retention", RETENTION_REST="30", **wanted)
    until(lambda: count(logs) <= 900)
    run.kill()
    (torn,) = archive.glob("*.partial")
    with torn.open("ab") as file:
        file.write(gzip.compress(b"half a batch" * 100)[:40])
    succeeded(host.run(logs, "run_retention", **wanted))
    assert len({row[0] for row in archived(archive)}) == 281


def test_a_signal_ends_a_run_after_what_it_is_at(logs: Database, host: JobHost) -> None:
    run = host.start(logs, "run_retention", RETENTION_REST="30")
    until(lambda: count(logs) < 1000)
    done = run.terminate()
    assert (done.code, "stopped by a signal" in done.output) == (1, True), done.output
    (state, rows), *_ = audit(logs)
    assert (state, rows) == ("stopped", 1000 - count(logs))
    assert host.reports[-1]["failed"]


def test_a_backend_that_is_terminated_is_a_failure_and_the_next_run_goes_on(logs: Database, host: JobHost) -> None:
    run = host.start(logs, "run_retention", RETENTION_REST="30")
    until(lambda: count(logs) < 1000)
    logs.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'retention'")
    assert run.end().code == 1
    succeeded(host.run(logs, "run_retention"))
    assert count(logs) == 719


# --- partitions


def children(db: Database) -> list[str]:
    """Return the partitions of events."""
    query = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass ORDER BY 1"
    return [name for (name,) in db.rows(query)]


def tables(db: Database) -> list[str]:
    """Return every table that was ever a partition of events."""
    return [name for (name,) in db.rows("SELECT relname FROM pg_class WHERE relname ~ '^events_[0-9]$' ORDER BY 1")]


LEFT = [f"events_{n}" for n in range(4, 8)]


def test_whole_partitions_are_dropped_and_the_one_across_the_limit_stays(events: Database, host: JobHost) -> None:
    # The first four end 60, 50, 40 and 30 days ago.
    wanted = policies({**EVENTS})
    stay = events.rows("SELECT id FROM events WHERE at >= date_trunc('day', now()) - interval '30 days' ORDER BY id")
    dry = host.run(events, "run_retention", "--dry-run", "--confirm", "public.events", **wanted)
    assert len(children(events)) == 8
    said = succeeded(host.run(events, "run_retention", "--confirm", "public.events", **wanted))
    assert "4 partitions dropped" in said
    assert (children(events), tables(events)) == (LEFT, LEFT)
    assert events.rows("SELECT id FROM events ORDER BY id") == stay
    expired, deleted = events.rows("SELECT rows_expired, rows_deleted FROM retention.retention_run")[0]
    assert expired == deleted == 1601 - len(stay)
    assert str(expired) in succeeded(dry)
    assert events.value("SELECT count(*) FROM retention.retention_partition WHERE dropped_at IS NOT NULL") == 4


def test_a_partition_is_archived_before_it_is_dropped(events: Database, host: JobHost, archive: Path) -> None:
    # One has its columns in another order.
    events.execute(
        "ALTER TABLE events DETACH PARTITION events_1;"
        "CREATE TABLE mixed (message text, at timestamptz NOT NULL, id bigint NOT NULL);"
        "INSERT INTO mixed SELECT message, at, id FROM events_1; DROP TABLE events_1;"
        "ALTER TABLE mixed RENAME TO events_1; ALTER TABLE events_1 OWNER TO owner"
    )
    events.execute(
        "DO $$ BEGIN EXECUTE format('ALTER TABLE events ATTACH PARTITION events_1 FOR VALUES FROM (%L) TO (%L)',"
        " date_trunc('day', now()) - interval '60 days', date_trunc('day', now()) - interval '50 days'); END $$"
    )
    gone = events.rows(
        "SELECT id::text, message FROM events WHERE at < date_trunc('day', now()) - interval '30 days'"
        " ORDER BY events.id"
    )
    wanted = policies({**EVENTS, "archive": True})
    succeeded(host.run(events, "run_retention", "--confirm", "public.events", **wanted))
    assert sorted(((row[0], row[2]) for row in archived(archive)), key=lambda row: int(row[0])) == gone
    assert events.value("SELECT count(DISTINCT archive) FROM retention.retention_partition") == 4


def test_a_reader_keeps_a_partition_from_being_detached_and_a_later_run_finishes_it(
    events: Database, host: JobHost
) -> None:
    wanted = {"RETENTION_MOST_PERCENT": "100", **policies(EVENTS)}
    with contextlib.closing(events.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM events")
        run = host.start(events, "run_retention", **wanted)
        until(lambda: events.value("SELECT count(*) FROM pg_inherits WHERE inhdetachpending"))
        done = run.terminate()
        assert done.code == 1, done.output
        cursor.execute("SELECT count(*) FROM events")
        assert cursor.fetchone()[0] == 1601
        cursor.execute("COMMIT")
    assert events.value("SELECT count(*) FROM pg_inherits WHERE inhdetachpending") == 1
    succeeded(host.run(events, "run_retention", **wanted))
    assert (children(events), tables(events)) == (LEFT, LEFT)


@pytest.mark.parametrize("with_archive", [False, True], ids=["without an archive", "with an archive"])
def test_a_run_killed_between_detach_and_drop_is_finished(
    events: Database, host: JobHost, archive: Path, with_archive: bool
) -> None:
    wanted = {"RETENTION_MOST_PERCENT": "100", **policies({**EVENTS, "archive": with_archive})}
    gone = events.value("SELECT count(*) FROM events WHERE at < date_trunc('day', now()) - interval '30 days'")
    events.execute(
        "CREATE TABLE gate (); CREATE FUNCTION wait() RETURNS event_trigger LANGUAGE plpgsql AS"
        " $$ BEGIN LOCK TABLE gate IN ACCESS SHARE MODE; END $$;"
        "CREATE EVENT TRIGGER wait ON ddl_command_start WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION wait()"
    )
    with contextlib.closing(events.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE gate IN ACCESS EXCLUSIVE MODE")
        run = host.start(events, "run_retention", **wanted)
        until(lambda: events.value("SELECT count(*) FROM pg_locks WHERE relation = 'gate'::regclass AND NOT granted"))
        run.kill()
        events.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'retention'")
    assert (len(children(events)), len(tables(events))) == (7, 8)
    succeeded(host.run(events, "run_retention", **wanted))
    assert (children(events), tables(events)) == (LEFT, LEFT)
    assert len({row[0] for row in archived(archive)}) == (gone if with_archive else 0)


def test_a_partition_that_an_earlier_run_detached_stays_where_the_policy_keeps_it_by_now(
    events: Database, host: JobHost
) -> None:
    wanted = {"RETENTION_MOST_PERCENT": "100", **policies(EVENTS)}
    # As a run leaves it that was killed between the detaching and the drop.
    succeeded(host.run(events, "run_retention", RETENTION_MOST_PERCENT="100", **policies({**EVENTS, "keep_days": 999})))
    events.execute(
        "INSERT INTO retention.retention_partition (partition_oid, partition_name, table_name, bounds)"
        " SELECT oid, 'public.' || relname, 'public.events', pg_get_expr(relpartbound, oid) FROM pg_class"
        " WHERE relname IN ('events_0', 'events_3')"
    )
    events.execute("ALTER TABLE events DETACH PARTITION events_0; ALTER TABLE events DETACH PARTITION events_3")
    longer = {**wanted, **policies({**EVENTS, "keep_days": 45})}
    said = succeeded(host.run(events, "run_retention", **longer))
    assert "public.events_3 was detached by an earlier run and is kept longer now" in said
    assert tables(events) == ["events_2", "events_3", *LEFT]
    succeeded(host.run(events, "run_retention", **wanted))
    assert tables(events) == LEFT


def test_a_table_with_a_default_partition_is_detached_plainly_and_the_default_deleted_from(
    events: Database, host: JobHost
) -> None:
    events.execute("CREATE TABLE events_d PARTITION OF events DEFAULT; ALTER TABLE events_d OWNER TO owner")
    events.execute("INSERT INTO events (at) VALUES (now() - interval '200 days'), (now() + interval '12 hours')")
    succeeded(host.run(events, "run_retention", RETENTION_MOST_PERCENT="100", **policies(EVENTS)))
    assert children(events) == [*LEFT, "events_d"]
    assert count(events, "events_d") == 0


def test_a_table_partitioned_by_something_else_loses_rows(db15: Database, host: JobHost) -> None:
    db15.execute(
        "CREATE TABLE logs (id bigint, at timestamptz, message text) PARTITION BY HASH (id);"
        "CREATE INDEX ON logs (at); ALTER TABLE logs OWNER TO owner"
    )
    for n in range(3):
        db15.execute(f"CREATE TABLE logs_{n} PARTITION OF logs FOR VALUES WITH (MODULUS 3, REMAINDER {n})")
        db15.execute(f"ALTER TABLE logs_{n} OWNER TO owner")
    db15.execute("INSERT INTO logs SELECT n, now() - make_interval(hours => n), 'm' FROM generate_series(1, 1000) n")
    succeeded(host.run(db15, "run_retention"))
    assert count(db15) == 719


# --- others are at work


@pytest.mark.faults
def test_it_waits_for_a_replica_that_is_behind(servers: Callable[[int], Server], logs: Database, host: JobHost) -> None:
    server = servers(MAJORS[0])
    logs.execute("UPDATE logs SET message = repeat('x', 2000)")
    with standby_of(server) as standby, contextlib.closing(standby.connect("postgres")) as connection:
        with connection.cursor() as cursor:
            wait_for_replay(server, standby)
            cursor.execute("SELECT pg_wal_replay_pause()")
            # Two megabytes that the replica has and has not replayed.
            logs.execute("CREATE TABLE ballast AS SELECT repeat('x', 1000) FROM generate_series(1, 2000)")
            waits = {"RETENTION_LAG_MB": "1", "RETENTION_LONGEST_WAIT": "1"}
            run = host.run(logs, "run_retention", **waits)
            assert (run.code, "MB behind" in run.output) == (1, True), run.output
            assert audit(logs) == [("failed", 50)]
            cursor.execute("SELECT pg_wal_replay_resume()")
        succeeded(host.run(logs, "run_retention", **{**waits, "RETENTION_LONGEST_WAIT": "30"}))
        assert count(logs) == 719


@pytest.mark.faults
def test_it_waits_for_an_archive_that_is_behind(host: JobHost) -> None:
    with running(MAJORS[0], archive_mode="on", archive_command="false", wal_level="replica") as server:
        name = server.create_database()
        with contextlib.closing(server.connect(name)) as connection:
            db = Database(server, name, connection)
            db.execute(LOGS)
            db.execute(FILL, (1000,))
            for _ in range(3):
                db.execute("SELECT pg_switch_wal(); CREATE TABLE IF NOT EXISTS t (); DROP TABLE t")
            waits = {"RETENTION_BACKLOG_FILES": "1", "RETENTION_LONGEST_WAIT": "1"}
            run = host.run(db, "run_retention", **waits)
            assert (run.code, "WAL files wait to be archived" in run.output) == (1, True), run.output
            assert audit(db) == [("failed", 50)]


@pytest.fixture
def durable() -> Iterator[Database]:
    """Return a database of a server that waits for its disk, as those of the tests do not and production's does."""
    safe = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
    # The standby has no slot, and is not to be left behind while millions of rows are made.
    with running(MAJORS[0], **safe, max_wal_size="1GB", wal_keep_size="8GB") as server:
        name = server.create_database()
        with contextlib.closing(server.connect(name)) as connection:
            yield Database(server, name, connection)


@contextlib.contextmanager
def watched_lag(db: Database) -> Iterator[list[int]]:
    """Give a list that fills with the bytes that a replica has not replayed."""
    seen = [0]
    query = "SELECT coalesce(max(pg_current_wal_lsn() - replay_lsn), 0)::bigint FROM pg_stat_replication"
    watch = Latencies(db, lambda cursor: cursor.execute(query) or seen.append(cursor.fetchone()[0]), pause=0.05)
    with watch.working():
        yield seen
    assert watch.errors == []


@pytest.mark.faults
def test_many_rows_go_under_a_writing_client(durable: Database, host: JobHost) -> None:
    rows, runs = 200_000, 4
    durable.execute(LOGS)
    durable.execute(
        "INSERT INTO logs (at, message) SELECT now() - n * interval '60 days' / %s, repeat('m', 100)"
        " FROM generate_series(1, %s) n",
        (rows, rows),
    )
    durable.execute("VACUUM ANALYZE logs")
    settings = {"RETENTION_BATCH_ROWS": "1000", "RETENTION_REST": "2", "RETENTION_MOST_PERCENT": "60"}
    # With room for the rows that come of age meanwhile.
    cap = str(rows // 2 // runs + 100)
    client = Latencies(
        durable, lambda cursor: cursor.execute("INSERT INTO logs (at, message) VALUES (now(), repeat('m', 100))")
    )
    with standby_of(durable.server) as standby:
        wait_for_replay(durable.server, standby, 600)
        with client.working(), watched_lag(durable) as lag:
            for _ in range(runs):
                succeeded(host.run(durable, "run_retention", RETENTION_MOST_ROWS=cap, **settings))
        with contextlib.closing(standby.connect(durable.name)) as connection, connection.cursor() as cursor:
            old = "SELECT NOT EXISTS (SELECT FROM logs WHERE at < (SELECT min(cutoff) FROM retention.retention_run)"
            until(lambda: cursor.execute(f"{old}::timestamptz)") or cursor.fetchone()[0], 120)
    assert client.errors == []
    assert durable.value("SELECT sum(rows_deleted)::int FROM retention.retention_run") >= rows // 2
    assert max(lag) < 100 * 2**20
