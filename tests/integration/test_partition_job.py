# ruff: noqa: S608 - tests make their own SQL
"""The months of partitioned tables are made ahead of time by pg_partman, and a job says when they are about to run out.

Debian 12's pg_partman, which is 4.7; molecule/default has Debian 13's 5.2.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Database
from job_host import JobHost, install, until
from partitions import partition, trading_table
from test_partitioning import BARS

PARTS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = '{}'::regclass ORDER BY 1"


@pytest.fixture
def host(tmp_path: Path) -> JobHost:
    """Return the role's scripts, with one table."""
    return install("postgresql_partitioning", tmp_path / "host", **tables({"table": "public.bars", "column": "ts"}))


def tables(*declared: dict[str, Any]) -> dict[str, str]:
    return {"PARTITIONS_TABLES": json.dumps(declared), "PARTITIONS_LOCK_WAIT": "0"}


@pytest.fixture
def bars(db15: Database) -> Database:
    """Return a database with pg_partman, and a table that was partitioned by the module."""
    db15.execute(BARS)
    db15.execute("CREATE SCHEMA partman; CREATE EXTENSION pg_partman SCHEMA partman")
    db15.execute("ALTER TABLE bars SET (fillfactor = 80), ALTER symbol SET STATISTICS 200, REPLICA IDENTITY FULL")
    done = partition(db15)
    assert not done.failed, done.msg
    return db15


def test_months_are_made_ahead_and_are_like_those_before_them(bars: Database, host: JobHost) -> None:
    wanted = tables({"table": "public.bars", "column": "ts", "premake": 8})
    first = host.run(bars, "maintain_partitions", **wanted)
    assert first.code == 0, first.output
    assert "owner may use pg_partman" in first.output
    parts = [name for (name,) in bars.rows(PARTS.format("bars"))]
    assert len(parts) >= 1 + 8
    made = bars.rows(
        "SELECT DISTINCT c.relowner::regrole::text, c.reloptions, c.relreplident::text, a.attstattarget FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'symbol' WHERE c.relname ~ '^bars_p20.*[0-9]$'"
        " AND c.relkind = 'r'"
    )
    assert made == [("owner", ["fillfactor=80"], "f", 200)]
    assert bars.value("SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid = 'bars'::regclass") is True
    again = host.run(bars, "maintain_partitions", **wanted)
    assert (again.code, [line for line in again.output.splitlines() if "partitions until" not in line]) == (0, [])
    assert [name for (name,) in bars.rows(PARTS.format("bars"))] == parts
    assert not partition(bars).changed


def test_months_that_are_about_to_run_out_fail_the_job(bars: Database, host: JobHost) -> None:
    run = host.run(bars, "maintain_partitions", PARTITIONS_LEAST_DAYS="4000")
    assert run.code == 1
    assert "the partitions of public.bars end on" in run.output
    assert "every insert of after fails" in run.output


def test_a_gap_ends_what_is_left(bars: Database, host: JobHost) -> None:
    names = [name for (name,) in bars.rows(PARTS.format("bars")) if "_p" in name]
    bars.execute(f"ALTER TABLE bars DETACH PARTITION {names[0]}")
    run = host.run(bars, "maintain_partitions")
    assert run.code == 1, run.output
    assert "public.bars: FAILED: the partitions of public.bars end on" in run.output
    # The way out that it names: a table of that name is nobody's to overwrite, and without it the month is made.
    assert "Run playbooks/partition_table.yml, which makes what is missing" in run.output
    taken = partition(bars)
    assert (taken.failed, f"{names[0]} would be the month from" in taken.msg) == (True, True), taken.msg
    bars.execute(f"DROP TABLE {names[0]}")
    assert partition(bars).said == [("partition", f"public.{names[0]}", "create")]
    assert host.run(bars, "maintain_partitions").code == 0


def test_months_are_made_of_a_table_with_constraints(bars: Database, host: JobHost) -> None:
    bars.execute("ALTER TABLE bars ADD CONSTRAINT positive CHECK (close > 0), ALTER close SET NOT NULL")
    run = host.run(bars, "maintain_partitions", **tables({"table": "public.bars", "column": "ts", "premake": 8}))
    assert run.code == 0, run.output
    assert run.output.count("made public.bars_p") > 0


@pytest.mark.parametrize("seconds", ["172800", "-172800"], ids=["ahead", "behind"])
def test_a_clock_that_was_set_detaches_no_month_and_the_others_are_made(
    bars: Database, host: JobHost, seconds: str
) -> None:
    bars.execute(OLD)
    wanted = tables({"table": "public.old", "column": "ts", "keep_months": 2, "premake": 6})
    run = host.run(bars, "maintain_partitions", DBJOB_CLOCK_STEP=seconds, **wanted)
    assert (run.code, "is not detached: the host's clock was set" in run.output) == (1, True), run.output
    assert run.output.count("made public.old_p") >= 3
    assert bars.value("SELECT count(*) FROM old") == 10
    again = host.run(bars, "maintain_partitions", "--clock-is-right", DBJOB_CLOCK_STEP=seconds, **wanted)
    assert (again.code, again.output.count("detached")) == (0, 4), again.output


def test_what_everybody_waits_behind_waits_shortly_and_again(bars: Database, host: JobHost) -> None:
    # REPLICA IDENTITY of a month that is new takes ACCESS EXCLUSIVE, and a reader is in its way.
    (new,) = [row[0] for row in bars.rows(PARTS.format("bars")) if "_p" in row[0]][-1:]
    bars.execute(f"ALTER TABLE {new} REPLICA IDENTITY DEFAULT")
    with contextlib.closing(bars.connect()) as other, other.cursor() as cursor:
        cursor.execute(f"BEGIN; SELECT count(*) FROM {new}")
        run = host.start(bars, "maintain_partitions")
        waiting = f"SELECT count(*) FROM pg_locks WHERE relation = '{new}'::regclass AND NOT granted"
        until(lambda: bars.value(waiting))
        # Whoever comes behind it is let through while the reader's transaction is still open.
        bars.value(f"SELECT count(*) FROM {new}")
        until(lambda: bars.value(waiting))
        bars.value(f"SELECT count(*) FROM {new}")
        cursor.execute("COMMIT")
        done = run.end()
    assert done.code == 0, done.output
    assert bars.value(f"SELECT relreplident FROM pg_class WHERE relname = '{new}'") == "f"


def test_who_reads_may_go_away(bars: Database, host: JobHost) -> None:
    run = host.start(bars, "maintain_partitions")
    assert run.process.stdout
    run.process.stdout.close()
    assert run.process.wait(60) == 0


def test_a_bound_of_a_year_that_python_does_not_have_ends_nothing(bars: Database, host: JobHost) -> None:
    bars.execute("CREATE TABLE bars_far PARTITION OF bars FOR VALUES FROM ('20000-01-01 00:00+00') TO ('infinity')")
    run = host.run(bars, "maintain_partitions")
    assert "public.bars: partitions until" in run.output
    assert "cannot be held" not in run.output


def test_a_default_partition_is_a_failure(bars: Database, host: JobHost) -> None:
    bars.execute("CREATE TABLE bars_default PARTITION OF bars DEFAULT")
    run = host.run(bars, "maintain_partitions")
    assert run.code == 1
    assert "has a DEFAULT partition" in run.output


def test_one_failing_table_does_not_stop_the_others(bars: Database, host: JobHost) -> None:
    wanted = tables({"table": "public.gone", "column": "ts"}, {"table": "public.bars", "column": "ts", "premake": 6})
    run = host.run(bars, "maintain_partitions", **wanted)
    assert run.code == 1
    assert "public.gone: FAILED: public.gone does not exist" in run.output
    assert "public.bars: made " in run.output


def test_a_table_that_is_not_partitioned_yet_is_passed_over(db15: Database, host: JobHost) -> None:
    db15.execute(BARS)
    run = host.run(db15, "maintain_partitions")
    assert (run.code, run.output) == (
        0, "public.bars: not partitioned yet; playbooks/partition_table.yml does it\n",
    )  # fmt: skip


def test_pg_partman_is_told_once_and_a_check_tells_it_nothing(bars: Database, host: JobHost) -> None:
    config = (
        "SELECT control, premake, retention, retention_keep_table, infinite_time_partitions FROM partman.part_config"
    )
    check = host.run(bars, "maintain_partitions", "--register", "--check")
    assert (check.code, bars.rows(config)) == (0, [])
    assert "pg_partman makes the months of public.bars" in check.output
    assert host.run(bars, "maintain_partitions", "--register").output == check.output
    assert bars.rows(config) == [("ts", 3, None, True, True)]
    assert host.run(bars, "maintain_partitions", "--register").output == ""
    # What somebody set by hand would have pg_partman detach the history, which it takes for one month.
    bars.execute("UPDATE partman.part_config SET retention = '1 month'")
    assert host.run(bars, "maintain_partitions", "--register").output != ""
    assert bars.rows(config) == [("ts", 3, None, True, True)]


OLD = """
SET ROLE owner;
CREATE TABLE old (ts timestamptz NOT NULL, a int) PARTITION BY RANGE (ts);
DO $$
DECLARE month timestamptz;
BEGIN
    SET LOCAL TimeZone = 'UTC';
    FOR number IN -6..3 LOOP
        month := date_trunc('month', now()) + make_interval(months => number);
        EXECUTE format('CREATE TABLE old_p%s PARTITION OF old FOR VALUES FROM (%L) TO (%L)',
                       to_char(month, 'YYYY_MM'), month, month + interval '1 month');
    END LOOP;
END $$;
INSERT INTO old SELECT date_trunc('month', now()) + make_interval(months => n, hours => 12), n
FROM generate_series(-6, 3) n;
RESET ROLE;
"""


def test_months_that_a_table_does_not_keep_are_detached_and_not_dropped(bars: Database, host: JobHost) -> None:
    bars.execute(OLD)
    wanted = tables({"table": "public.old", "column": "ts", "keep_months": 2})
    # Half detached, as by a job that was killed.
    bars.execute("UPDATE pg_inherits SET inhdetachpending = true WHERE inhrelid = (SELECT min(oid) FROM pg_class"
                 " WHERE relname ~ '^old_p')")  # fmt: skip
    run = host.run(bars, "maintain_partitions", **wanted)
    assert run.code == 0, run.output
    assert run.output.count("detached") == 4
    assert [a for (a,) in bars.rows("SELECT a FROM old ORDER BY 1")] == list(range(-2, 4))
    kept = bars.rows("SELECT relname FROM pg_class WHERE relname ~ '^old_p' AND NOT relispartition ORDER BY 1")
    assert sum(bars.value(f"SELECT count(*) FROM {name}") for (name,) in kept) == 4
    assert host.run(bars, "maintain_partitions", **wanted).output.count("detached") == 0


def test_the_history_stays_while_a_part_of_it_is_kept(bars: Database, host: JobHost) -> None:
    run = host.run(bars, "maintain_partitions", **tables({"table": "public.bars", "column": "ts", "keep_months": 1}))
    assert run.code == 0, run.output
    assert "bars_history" in [name for (name,) in bars.rows(PARTS.format("bars"))]


def test_a_deployment_is_waited_for_only_so_long(bars: Database, host: JobHost) -> None:
    with contextlib.closing(bars.connect()) as other, other.cursor() as cursor:
        cursor.execute("SET application_name = 'a deployment'; SELECT pg_advisory_lock(1885826928, 1)")
        run = host.run(bars, "maintain_partitions")
    assert run.code == 75
    assert "a deployment" in run.output


WRONG = {
    "no JSON": ({"PARTITIONS_TABLES": "x"}, "PARTITIONS_TABLES is not JSON"),
    "no list": ({"PARTITIONS_TABLES": "{}"}, "PARTITIONS_TABLES is not a list"),
    "no column": (tables({"table": "public.t"}), "a table has column, keep_months, premake, table"),
    "a name without a schema": (tables({"table": "t", "column": "ts"}), "'t' is not a schema and a name"),
    "no months": (tables({"table": "public.t", "column": "ts", "premake": 0}), "premake of public.t is to be"),
    "nothing kept": (
        tables({"table": "public.t", "column": "ts", "keep_months": 0}),
        "keep_months of public.t is to be",
    ),
    "no days": ({"PARTITIONS_LEAST_DAYS": "many"}, "PARTITIONS_LEAST_DAYS is to be a whole number"),
}


@pytest.mark.parametrize(("given", "reason"), WRONG.values(), ids=WRONG)
def test_wrong_settings_are_refused(db15: Database, host: JobHost, given: dict[str, str], reason: str) -> None:
    run = host.run(db15, "maintain_partitions", **given)
    assert run.code == 2
    assert reason in run.output


def test_the_trading_declaration_finds_nothing_to_do_after_a_month_was_made(db15: Database, host: JobHost) -> None:
    declaration = trading_table(db15, "guide")
    db15.execute("CREATE SCHEMA partman; CREATE EXTENSION pg_partman SCHEMA partman")
    table = {"table": "feature_engineered_data", "column": "timestamp"}
    done = partition(db15, **table)
    assert not done.failed, done.msg
    wanted = tables({"table": "public.feature_engineered_data", "column": "timestamp", "premake": 6})
    run = host.run(db15, "maintain_partitions", **wanted)
    assert run.code == 0, run.output
    assert "made public.feature_engineered_data_p" in run.output
    after = db15.optimise(**declaration)
    assert (after.failed, after.said) == (False, []), after.msg
