"""Daily, weekly and monthly maintenance against real servers."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Database, _open
from job_host import Background, JobHost, Latencies, Run, install, until
from servers import Server, running
from standbys import standby_of, wait_for_replay

TABLES = """
SET ROLE owner;
CREATE TABLE bars (id serial PRIMARY KEY, symbol text NOT NULL, day date NOT NULL, close float8);
INSERT INTO bars (symbol, day, close)
SELECT 'S' || s, date '2025-01-01' + d, s * d FROM generate_series(1, 50) s, generate_series(1, 200) d;
CREATE TABLE logs (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), message text);
INSERT INTO logs (message) SELECT 'm' || n FROM generate_series(1, 5000) n;
CREATE MATERIALIZED VIEW summary AS SELECT symbol, count(*) AS bars, max(day) AS newest FROM bars GROUP BY symbol;
CREATE UNIQUE INDEX summary_symbol ON summary (symbol);
CREATE STATISTICS bars_statistics (dependencies) ON symbol, day FROM bars;
RESET ROLE;
CREATE EXTENSION pgstattuple;
CREATE EXTENSION pg_stat_statements;
"""
# A table whose index is nine tenths empty pages.
BLOATED = """
CREATE TABLE bloated (n int);
CREATE INDEX bloated_n ON bloated (n);
INSERT INTO bloated SELECT n FROM generate_series(1, 120000) n;
DELETE FROM bloated WHERE n % 10 <> 0;
"""


@pytest.fixture(
    scope="module",
    params=[15, pytest.param(17, marks=pytest.mark.faults), pytest.param(18, marks=pytest.mark.faults)],
    ids=lambda major: f"pg{major}",
)
def contrib(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Return a server with the extensions that Debian brings; the package of 16 has none."""
    with running(request.param, shared_preload_libraries="pg_stat_statements", wal_level="replica") as server:
        yield server


@pytest.fixture
def db(contrib: Server) -> Iterator[Database]:
    """Return a fresh database with tables."""
    for database in _open(contrib):
        database.execute(TABLES)
        yield database


@pytest.fixture
def host(tmp_path: Path) -> JobHost:
    """Return the role's scripts, with a patience that tests can wait for."""
    return install(
        "postgresql_maintenance",
        tmp_path / "host",
        MAINTENANCE_VACUUM_TABLES="public.logs",
        MAINTENANCE_VIEWS="public.summary",
        MAINTENANCE_REPORTS=str(tmp_path / "host" / "reports"),
        MAINTENANCE_LOCK_WAIT="20",
    )


def steps(host: JobHost) -> dict[str, dict[str, Any]]:
    """Return the steps of the newest report by their titles."""
    return {step["title"]: step for step in host.reports[-1]["steps"]}


def found(host: JobHost, title: str) -> list[dict[str, Any]]:
    """Return the rows of the step whose title begins so."""
    return next(step["rows"] for name, step in steps(host).items() if name.startswith(title))


def succeeded(run: Run) -> str:
    assert run.code == 0, run.output
    return run.output


def failed(run: Run, *words: str) -> None:
    """Hold a run to have failed, and its output to say why."""
    assert run.code == 1, run.output
    assert [word for word in words if word not in run.output] == [], run.output


def invalid(db: Database) -> list[str]:
    """Return the INVALID indexes."""
    return [name for (name,) in db.rows("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid")]


@contextlib.contextmanager
def holding(db: Database, statement: str) -> Iterator[Any]:
    """Hold what a statement takes, in an open transaction of an application."""
    with contextlib.closing(db.connect()) as other, other.cursor() as cursor:
        cursor.execute("SET application_name = 'the application'; BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.execute(statement)
        yield cursor
        cursor.execute("ROLLBACK")


# --- daily


def test_a_day_vacuums_refreshes_and_analyzes(db: Database, host: JobHost) -> None:
    db.execute("DELETE FROM logs WHERE id % 2 = 0; INSERT INTO bars (symbol, day) VALUES ('new', '2026-01-01')")
    # Before the VACUUM reports, and not after it as dead rows that came since.
    db.execute("SELECT pg_stat_force_next_flush()")
    succeeded(host.run(db, "run_maintenance", "daily"))
    assert db.value("SELECT count(*) FROM summary WHERE symbol = 'new'") == 1
    until(
        lambda: db.value("SELECT vacuum_count = 1 AND n_dead_tup = 0 FROM pg_stat_user_tables WHERE relname = 'logs'")
    )
    analyzed = "SELECT relname FROM pg_stat_user_tables WHERE last_analyze IS NOT NULL ORDER BY relname"
    assert db.rows(analyzed) == [("bars",), ("logs",), ("summary",)]
    assert found(host, "Sizes")[0]["name"] == db.name
    assert {row["name"] for row in found(host, "Sizes")} >= {"public.bars", "public.logs", "public.summary"}


def test_a_second_run_is_safe(db: Database, host: JobHost) -> None:
    for job in ("daily", "weekly", "monthly"):
        succeeded(host.run(db, "run_maintenance", job))
        before = db.rows("SELECT oid, relname, relfilenode FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        succeeded(host.run(db, "run_maintenance", job))
        after = db.rows("SELECT oid, relname, relfilenode FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        assert before == after


def test_a_refresh_is_skipped_while_one_is_running(db: Database, host: JobHost) -> None:
    with contextlib.closing(db.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; REFRESH MATERIALIZED VIEW CONCURRENTLY summary")
        run = host.run(db, "run_maintenance", "daily")
        cursor.execute("COMMIT")
    assert "SKIPPED REFRESH public.summary" in succeeded(run)
    assert "has been refreshing it for" in run.output


def test_a_refresh_of_a_deployment_is_not_waited_for(db: Database, host: JobHost) -> None:
    # It holds the lock of the module while it refreshes: to wait for it, and then to refresh again, would be no use.
    with contextlib.closing(db.connect()) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(1885826928, 1)")
        cursor.execute("BEGIN; REFRESH MATERIALIZED VIEW CONCURRENTLY summary")
        begin = time.monotonic()
        wait = {"MAINTENANCE_LOCK_WAIT": "3", "MAINTENANCE_VACUUM_TABLES": ""}
        run = host.run(db, "run_maintenance", "daily", **wait)
        cursor.execute("COMMIT")
    assert "SKIPPED REFRESH public.summary" in run.output, run.output
    assert time.monotonic() - begin > 3


def test_readers_go_on_while_a_view_is_refreshed(db: Database, host: JobHost) -> None:
    with holding(db, "SELECT count(*) FROM summary") as reader:
        succeeded(host.run(db, "run_maintenance", "daily"))
        reader.execute("SELECT count(*) FROM summary")
        assert reader.fetchone()[0] == 50
    assert steps(host)["REFRESH public.summary"]["state"] == "done"


def test_a_view_that_was_never_filled_is_filled(db: Database, host: JobHost) -> None:
    db.execute("REFRESH MATERIALIZED VIEW summary WITH NO DATA")
    assert "for the first time" in succeeded(host.run(db, "run_maintenance", "daily"))
    assert db.value("SELECT count(*) FROM summary") == 50


def test_a_view_that_is_not_there_fails_and_the_others_go_on(db: Database, host: JobHost) -> None:
    run = host.run(db, "run_maintenance", "daily", MAINTENANCE_VIEWS="public.nothing public.summary")
    failed(run, "there is no materialized view public.nothing", "DONE    REFRESH public.summary")


def test_one_table_that_fails_does_not_stop_the_others(db: Database, host: JobHost) -> None:
    run = host.run(db, "run_maintenance", "daily", MAINTENANCE_VACUUM_TABLES="public.gone public.logs")
    failed(run, 'relation "public.gone" does not exist', "DONE    VACUUM (ANALYZE) public.logs", "1 failed")
    assert db.value("SELECT last_vacuum IS NOT NULL FROM pg_stat_user_tables WHERE relname = 'logs'")
    assert host.reports[-1]["failed"]


def test_a_warning_that_something_was_skipped_is_a_failure(db: Database, host: JobHost) -> None:
    # A stranger's VACUUM ends well, and does nothing.
    run = host.run(db, "run_maintenance", "daily", PGUSER="stranger")
    failed(run, "FAILED  VACUUM (ANALYZE) public.logs", "WARNING:", "skipping", "FAILED  ANALYZE public.bars")
    assert db.value("SELECT last_vacuum IS NULL FROM pg_stat_user_tables WHERE relname = 'logs'")


def test_a_table_that_somebody_has_locked_is_a_failure_in_time(db: Database, host: JobHost) -> None:
    statement_timeout = {"MAINTENANCE_STATEMENT_TIMEOUT": "1"}
    with holding(db, "LOCK TABLE logs IN SHARE UPDATE EXCLUSIVE MODE"):
        run = host.run(db, "run_maintenance", "daily", **statement_timeout)
    failed(run, "FAILED  VACUUM (ANALYZE) public.logs", "DONE    ANALYZE public.bars")


@pytest.mark.parametrize(("delay", "seen"), [("3", "3ms"), ("0", "0")])
def test_vacuum_and_analyze_rest_between_their_reads(db: Database, host: JobHost, delay: str, seen: str) -> None:
    # An index's expression is computed by ANALYZE, with the settings of its session.
    db.execute(
        "CREATE FUNCTION told(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN IF current_setting("
        "'application_name') ~ '^maint' THEN RAISE WARNING 'rests %', current_setting('vacuum_cost_delay');"
        " END IF; RETURN $1; END $$; CREATE INDEX ON logs (told(message))"
    )
    run = host.run(db, "run_maintenance", "daily", MAINTENANCE_COST_DELAY=delay)
    failed(run, "FAILED  VACUUM (ANALYZE) public.logs", f"WARNING:  rests {seen}")


def test_long_queries_and_idle_transactions_are_shown(db: Database, host: JobHost) -> None:
    # The query as it is, with a shorter limit: nobody waits thirty seconds.
    query = host.folder / "sql/maintenance/long_queries.sql"
    query.write_text(query.read_text().replace("interval '30 seconds'", "interval '0 seconds'"))
    with holding(db, "SELECT 'kept open'"):
        succeeded(host.run(db, "run_maintenance", "daily"))
    (row,) = [row for row in found(host, "Queries that run") if row["database"] == db.name]
    assert (row["application"], row["state"], row["attention"]) == ("the application", "idle in transaction", True)


# --- weekly


def test_an_index_with_much_bloat_is_rebuilt_and_no_other(db: Database, host: JobHost) -> None:
    db.execute(BLOATED)
    db.execute("VACUUM bloated")
    db.execute(
        "CREATE TABLE full_one AS SELECT n FROM generate_series(1, 100000) n; CREATE INDEX full_n ON full_one (n)"
    )
    before = dict(db.rows("SELECT relname, relfilenode FROM pg_class WHERE relname ~ '^bloated_'"))
    size = db.value("SELECT pg_relation_size('bloated_n')")
    succeeded(host.run(db, "run_maintenance", "weekly", MAINTENANCE_BLOAT_PERCENT="70"))
    assert [title for title in steps(host) if title.startswith("REINDEX")] == ["REINDEX public.bloated_n"]
    assert db.value("SELECT pg_relation_size('bloated_n')") < size / 5
    assert (
        dict(db.rows("SELECT relname, relfilenode FROM pg_class WHERE relname ~ '^bloated_'")).items() ^ before.items()
    )
    assert invalid(db) == []
    succeeded(host.run(db, "run_maintenance", "weekly", MAINTENANCE_BLOAT_PERCENT="70"))
    assert [title for title in steps(host) if title.startswith("REINDEX")] == []


def test_what_is_bloat_after_a_week_is_kept_for_the_checks(db: Database, host: JobHost) -> None:
    db.execute("CREATE TABLE worn (n int, t text) WITH (autovacuum_enabled = false)")
    db.execute("INSERT INTO worn SELECT n, repeat('x', 40) FROM generate_series(1, 400000) n")
    db.execute("CREATE INDEX worn_n ON worn (n)")
    db.execute("DELETE FROM worn WHERE n % 4 <> 0")
    db.execute("VACUUM worn")
    succeeded(host.run(db, "run_maintenance", "weekly"))
    kept = json.loads((host.folder / "reports" / "bloat.measured").read_text())
    assert kept["database"] == db.name
    measured = {row["name"]: (row["kind"], row["percent"]) for row in kept["measured"]}
    assert measured["public.worn"][0] == "table"
    assert 65 < measured["public.worn"][1] < 80
    # It was rebuilt before.
    assert measured["public.worn_n"][0] == "index"
    assert measured["public.worn_n"][1] < 10


@pytest.mark.faults
def test_an_index_that_is_filled_as_it_should_be_is_left(db: Database, host: JobHost) -> None:
    db.execute("CREATE TABLE full_one AS SELECT n FROM generate_series(1, 200000) n")
    db.execute("CREATE INDEX ON full_one (n); CREATE INDEX half ON full_one (n) WITH (fillfactor = 50)")
    succeeded(host.run(db, "run_maintenance", "weekly", MAINTENANCE_BLOAT_PERCENT="10"))
    assert [title for title in steps(host) if title.startswith("REINDEX")] == []
    assert {row["name"] for row in found(host, "B-tree indexes")} == {"public.full_one_n_idx", "public.half"}


def rebuilding(db: Database, host: JobHost) -> Background:
    """Start a weekly run, and wait until its REINDEX waits for an application."""
    run = host.start(db, "run_maintenance", "weekly", MAINTENANCE_BLOAT_PERCENT="70")
    until(lambda: run.process.poll() is not None or db.value("SELECT count(*) FROM pg_stat_progress_create_index"))
    assert run.process.poll() is None, run.end()
    return run


def until_gone(db: Database) -> None:
    """Wait until the server has noticed that its client was killed."""
    until(lambda: not db.value("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'maintenance%'"))


@pytest.mark.parametrize("job", ["daily", "weekly"])
@pytest.mark.parametrize("end", ["kill", pytest.param("terminate", marks=pytest.mark.faults)])
def test_what_a_killed_reindex_leaves_is_cleaned(db: Database, host: JobHost, end: str, job: str) -> None:
    db.execute(BLOATED)
    db.execute("VACUUM bloated")
    with holding(db, "INSERT INTO bloated VALUES (1)"):
        run = rebuilding(db, host)
        done = run.kill() if end == "kill" else run.terminate()
        until_gone(db)
    assert done.code == (-9 if end == "kill" else 1)
    assert invalid(db) == ["bloated_n_ccnew"]
    # An index of that name which is somebody's own is none of ours.
    db.execute("CREATE INDEX mine_ccnew ON bars (close)")
    succeeded(host.run(db, "run_maintenance", job, MAINTENANCE_BLOAT_PERCENT="70"))
    assert invalid(db) == []
    assert "DROP INDEX public.bloated_n_ccnew, left by a killed REINDEX" in steps(host)
    assert db.value("SELECT count(*) FROM pg_class WHERE relname ~ '_cc(new|old)'") == 1
    assert db.value("SELECT pg_relation_size('bloated_n') < 1000000") == (job == "weekly")


@pytest.mark.faults
def test_a_leftover_that_cannot_be_dropped_now_is_left_for_the_next_run(db: Database, host: JobHost) -> None:
    db.execute(BLOATED)
    db.execute("VACUUM bloated")
    script = host.folder / "maintenance_indexes.py"
    script.write_text(script.read_text().replace('"statement_timeout": "60s"', '"statement_timeout": "1s"'))
    with holding(db, "INSERT INTO bloated VALUES (1)"):
        rebuilding(db, host).terminate()
        until_gone(db)
        failed(host.run(db, "run_maintenance", "daily"), "FAILED  DROP INDEX public.bloated_n_ccnew")
    succeeded(host.run(db, "run_maintenance", "daily"))
    assert invalid(db) == []


def test_a_rebuild_is_not_begun_beside_a_transaction_that_is_open_for_long(db: Database, host: JobHost) -> None:
    db.execute(BLOATED)
    db.execute("VACUUM bloated")
    script = host.folder / "maintenance_indexes.py"
    script.write_text(script.read_text().replace("OLD = 60", "OLD = 0"))
    with holding(db, "SELECT 'kept open'"):
        time.sleep(1)
        run = host.run(db, "run_maintenance", "weekly", MAINTENANCE_BLOAT_PERCENT="70")
    failed(run, "not begun, as it would wait for transactions", "the application", "DONE    Indexes that are INVALID")
    assert invalid(db) == []
    succeeded(host.run(db, "run_maintenance", "weekly", MAINTENANCE_BLOAT_PERCENT="70"))


def test_a_rebuild_gives_up_that_does_nothing_but_wait_and_lets_deployments_in(db: Database, host: JobHost) -> None:
    db.execute(BLOATED)
    db.execute("VACUUM bloated")
    with holding(db, "INSERT INTO bloated VALUES (1)"):
        # The limit of a statement is no limit of a build.
        bounds = {"MAINTENANCE_BUILD_WAIT": "2", "MAINTENANCE_STATEMENT_TIMEOUT": "1"}
        run = host.run(db, "run_maintenance", "weekly", MAINTENANCE_BLOAT_PERCENT="70", **bounds)
        failed(run, "given up, as for 2 s it did nothing but wait for pid", "the application", "transaction open for")
        assert db.value("SELECT pg_advisory_unlock(1885826928, 1) FROM pg_advisory_lock(1885826928, 1)") is True
        assert invalid(db) == ["bloated_n_ccnew"]
    succeeded(host.run(db, "run_maintenance", "weekly", MAINTENANCE_BLOAT_PERCENT="70"))
    assert invalid(db) == []


@pytest.mark.faults
def test_no_timeout_of_the_server_ends_a_build(db: Database, host: JobHost) -> None:
    db.execute(BLOATED)
    db.execute("VACUUM bloated")
    limits = ["statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout", "idle_session_timeout"]
    limits += ["transaction_timeout"] if db.server.major >= 17 else []
    for limit in limits:
        db.execute(f"ALTER DATABASE {db.name} SET {limit} = '1s'")
    with holding(db, "SET transaction_timeout = 0" if db.server.major >= 17 else "SELECT") as writer:
        writer.execute("SET idle_in_transaction_session_timeout = 0; INSERT INTO bloated VALUES (1)")
        run = rebuilding(db, host)
        time.sleep(2.5)
        assert run.process.poll() is None
    succeeded(run.end())
    assert invalid(db) == []


def test_somebody_elses_running_build_is_left_alone(db: Database, host: JobHost) -> None:
    db.execute(BLOATED)
    with contextlib.closing(db.connect()) as other, other.cursor() as cursor:
        build = threading.Thread(target=lambda: cursor.execute("REINDEX INDEX CONCURRENTLY bloated_n"))
        with holding(db, "INSERT INTO bloated VALUES (1)"):
            build.start()
            until(lambda: invalid(db) == ["bloated_n_ccnew"])
            run = host.run(db, "run_maintenance", "daily", MAINTENANCE_STATEMENT_TIMEOUT="2")
            assert "ccnew" not in run.output
            assert invalid(db) == ["bloated_n_ccnew"]
        build.join(30)
    assert invalid(db) == []


def test_a_rebuild_that_would_fill_the_disk_is_not_begun(db: Database, host: JobHost) -> None:
    db.execute(BLOATED)
    db.execute("VACUUM bloated")
    script = host.folder / "maintenance_indexes.py"
    script.write_text(script.read_text().replace("2 * row", "10**15 * row"))
    failed(host.run(db, "run_maintenance", "weekly", MAINTENANCE_BLOAT_PERCENT="70"), "not begun")
    assert invalid(db) == []


@pytest.mark.faults
def test_an_index_that_serves_the_replica_is_not_called_unused(db: Database, host: JobHost) -> None:
    db.execute("CREATE INDEX idle ON bars (close); CREATE INDEX serves ON bars (day)")
    with standby_of(db.server) as standby:
        wait_for_replay(db.server, standby)
        with contextlib.closing(standby.connect(db.name)) as connection, connection.cursor() as cursor:
            cursor.execute("SET enable_seqscan = off")
            for _ in range(120):
                cursor.execute("SELECT FROM bars WHERE day = '2025-03-03'")
        with contextlib.closing(standby.connect(db.name)) as connection, connection.cursor() as cursor:
            scans = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'serves'"
            until(lambda: cursor.execute(scans) or cursor.fetchone()[0] >= 100)
        nodes = {"replica": f"host={standby.home} port={standby.port} user=postgres"}
        succeeded(host.run(db, "run_maintenance", "weekly", MAINTENANCE_NODES=json.dumps(nodes)))
        rows = {row["name"]: row["scans"] for row in found(host, "Indexes that hardly any query")}
        assert rows == {"public.idle": "here 0  replica 0"}
    # Nothing is called unused by a node that does not answer.
    run = host.run(db, "run_maintenance", "weekly", MAINTENANCE_NODES=json.dumps(nodes))
    failed(run, "replica does not answer, and an index may serve it")
    assert found(host, "Indexes that hardly any query") == []


PARTS = """
CREATE TABLE parts (at int NOT NULL, read int, unread int) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10000);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10000) TO (20000);
INSERT INTO parts SELECT n, n, n FROM generate_series(1, 9999) n;
CREATE INDEX parts_read ON parts (read); CREATE INDEX parts_unread ON parts (unread);
CREATE TABLE child (id int, bar int REFERENCES bars, other int);
CREATE INDEX child_bar ON child (bar, other); CREATE INDEX child_other ON child (other, bar);
"""


def test_an_index_of_a_partitioned_table_is_one_and_one_of_a_foreign_key_is_needed(db: Database, host: JobHost) -> None:
    db.execute(PARTS)
    with contextlib.closing(db.connect()) as other, other.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        for _ in range(120):
            cursor.execute("SELECT FROM parts WHERE at < 10000 AND read = 77")
    until(lambda: db.value("SELECT max(idx_scan) >= 100 FROM pg_stat_user_indexes WHERE relname = 'parts_1'"))
    succeeded(host.run(db, "run_maintenance", "weekly"))
    rows = {row["name"]: row["table_name"] for row in found(host, "Indexes that hardly any query")}
    assert rows == {"public.parts_unread": "public.parts", "public.child_other": "public.child"}


CHECKS = [
    pytest.param(
        "CREATE INDEX again ON bars (symbol, day); CREATE INDEX first ON bars (symbol, day);"
        "CREATE INDEX beginning ON bars (symbol); CREATE INDEX other_order ON bars (symbol DESC);"
        "CREATE INDEX partial ON bars (symbol) WHERE close > 1; CREATE UNIQUE INDEX rule ON bars (id);"
        "CREATE INDEX key_again ON bars (id)",
        "Indexes that say the same",
        {"public.first", "public.beginning", "public.rule", "public.key_again"},
        id="duplicate indexes",
    ),
    pytest.param(
        "DELETE FROM logs WHERE id <= 2000; SELECT pg_stat_force_next_flush()",
        "Tables with more than 1000 dead rows",
        {"public.logs"},
        id="dead rows",
    ),
    pytest.param(
        "ALTER TABLE bars ADD CONSTRAINT later CHECK (close > -1) NOT VALID, ADD CONSTRAINT held CHECK (close > -2)",
        "Constraints that old rows",
        {"later"},
        id="constraints that are not validated",
    ),
    pytest.param(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'bars_pkey'::regclass",
        "Indexes that are INVALID",
        {"public.bars_pkey"},
        id="INVALID indexes",
    ),
]


@pytest.mark.parametrize(("statements", "title", "names"), CHECKS)
def test_a_week_shows_what_a_person_has_to_look_at(
    db: Database, host: JobHost, statements: str, title: str, names: set[str]
) -> None:
    db.execute(statements)
    succeeded(host.run(db, "run_maintenance", "weekly"))
    rows = found(host, title)
    assert {row.get("name", row.get("table_name")) for row in rows} == names
    assert any(row["attention"] for row in rows)


# --- monthly


def test_extended_statistics_get_their_data(db: Database, host: JobHost) -> None:
    assert db.value("SELECT count(*) FROM pg_statistic_ext_data") == 0
    succeeded(host.run(db, "run_maintenance", "monthly"))
    assert db.value("SELECT count(*) FROM pg_statistic_ext_data") == 1
    assert [(row["name"], row["has_data"]) for row in found(host, "Extended statistics")] == [
        ("public.bars_statistics", True)
    ]


def test_a_slow_query_is_shown(db: Database, host: JobHost) -> None:
    query = host.folder / "sql/maintenance/slow_queries.sql"
    query.write_text(query.read_text().replace("s.mean_exec_time > 100", "s.mean_exec_time > 0"))
    for _ in range(101):
        db.rows("SELECT count(*) AS slow_one FROM bars")
    db.rows("SELECT max(close) AS rare_one FROM bars")
    succeeded(host.run(db, "run_maintenance", "monthly"))
    (row,) = [row for row in found(host, "Queries of this database") if "_one" in row["query"]]
    assert (row["calls"], "slow_one" in row["query"]) == (101, True)


PARTITIONS = """
CREATE TABLE ticks (symbol text, at timestamp NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE ticks_1 PARTITION OF ticks FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE ticks_2 PARTITION OF ticks FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE ticks_3 PARTITION OF ticks FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
INSERT INTO ticks VALUES ('a', '2026-01-05'), ('b', '2026-02-05'), ('c', '2026-02-06');
"""


@pytest.mark.parametrize(("setting", "read", "attention"), [("on", 1, False), ("off", 3, True)])
def test_whether_partitions_are_pruned_is_asked_of_the_planner(
    db: Database, host: JobHost, setting: str, read: int, attention: bool
) -> None:
    db.execute(PARTITIONS)
    db.execute("SELECT pg_stat_force_next_flush()")
    db.execute(f"ALTER DATABASE {db.name} SET enable_partition_pruning = {setting}")
    db.execute(f"ALTER DATABASE {db.name} SET constraint_exclusion = off")
    succeeded(host.run(db, "run_maintenance", "monthly"))
    (row,) = found(host, "Partition pruning")
    assert (row["table_name"], row["partitions"], row["partitions_read"]) == ("public.ticks", 3, read)
    assert row["attention"] is attention
    rows = {row["partition"]: row["inserted"] for row in found(host, "Partitions:")}
    assert rows == {"ticks_1": 1, "ticks_2": 2, "ticks_3": 0}


def test_sequences_near_their_end_and_the_age_of_transactions_are_shown(db: Database, host: JobHost) -> None:
    # The column is an integer; the sequence of a bigserial has room.
    db.execute("SELECT setval('bars_id_seq', 2000000000), setval('logs_id_seq', 3000000000)")
    succeeded(host.run(db, "run_maintenance", "monthly"))
    (row,) = found(host, "Sequences that used")
    assert (row["column_name"], row["used_percent"], row["attention"]) == ("public.bars.id", 93.1, True)
    ages = {row["what"]: row["age"] for row in found(host, "How far the oldest transaction")}
    assert ages[f"database {db.name}"] == db.value(
        "SELECT age(datfrozenxid) FROM pg_database WHERE datname = %s", (db.name,)
    )


def test_a_missing_extension_is_a_failure_of_its_check_alone(db: Database, host: JobHost) -> None:
    db.execute("DROP EXTENSION pgstattuple; DROP EXTENSION pg_stat_statements")
    failed(host.run(db, "run_maintenance", "weekly"), "pgstatindex", "DONE    Indexes that are INVALID")
    failed(host.run(db, "run_maintenance", "monthly"), "pg_stat_statements", "DONE    Sequences")


# --- the lock that deployments take


def test_it_waits_for_a_deployment_and_says_who_holds_the_lock(db: Database, host: JobHost) -> None:
    with contextlib.closing(db.connect()) as other, other.cursor() as cursor:
        cursor.execute("SET application_name = 'a deployment'; SELECT pg_advisory_lock(1885826928, 1)")
        run = host.run(db, "run_maintenance", "daily", MAINTENANCE_LOCK_WAIT="0.3")
        failed(run, "a deployment) held the lock", "DONE    Sizes")
        cursor.execute("SELECT pg_advisory_unlock(1885826928, 1)")
    succeeded(host.run(db, "run_maintenance", "daily"))


@pytest.mark.faults
def test_a_deployment_at_the_same_time_meets_no_deadlock_and_leaves_nothing_invalid(
    db: Database, host: JobHost
) -> None:
    db.execute(f"SET ROLE owner; {BLOATED} RESET ROLE")
    db.execute("VACUUM bloated")
    indexes = [
        {"name": f"deployed_{n}", "table": table, "columns": [column]}
        for n, (table, column) in enumerate([("bars", "close"), ("bloated", "n"), ("logs", "message"), ("bars", "day")])
    ]
    runs = [
        host.start(db, "run_maintenance", job, MAINTENANCE_BLOAT_PERCENT="70", MAINTENANCE_LOCK_WAIT="60")
        for job in ("daily", "weekly", "monthly")
    ]
    first = db.optimise(indexes=indexes, run_wait=60.0)
    second = db.optimise(indexes=[{**index, "include": ["id"]} for index in indexes[2:3]], run_wait=60.0)
    for run in runs:
        succeeded(run.end())
    assert (first.failed, second.failed) == (False, False), first.msg + second.msg
    assert invalid(db) == []
    assert db.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
    assert [action for _, action in first.said] == ["create"] * 4


# --- ends, reports, refusals


def test_who_reads_may_go_away(db: Database, host: JobHost) -> None:
    run = host.start(db, "run_maintenance", "daily")
    assert run.process.stdout
    run.process.stdout.close()
    assert run.process.wait(60) == 0
    assert not host.reports[-1]["failed"]


@pytest.mark.faults
def test_a_client_writes_through_a_day_and_a_week_of_maintenance(db: Database, host: JobHost) -> None:
    db.execute("CREATE INDEX logs_message ON logs (message)")
    db.execute("INSERT INTO logs (message) SELECT md5(n::text) FROM generate_series(1, 300000) n")
    db.execute("DELETE FROM logs WHERE id % 5 <> 0")
    insert = "INSERT INTO logs (message) VALUES (md5(random()::text))"
    client = Latencies(db, lambda cursor: cursor.execute(insert))
    # Who has waited for a lock for a second: one that shuts writers out is held as long as its step.
    waits: list[tuple[Any, ...]] = []
    query = (
        "SELECT a.query, pg_blocking_pids(l.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE NOT l.granted AND l.waitstart < clock_timestamp() - interval '1 second'"
        " AND a.query LIKE 'INSERT INTO logs%'"
    )
    watch = Latencies(db, lambda cursor: cursor.execute(query) or waits.extend(cursor.fetchall()), pause=0.2)
    with client.working(), watch.working():
        for job in ("daily", "weekly"):
            succeeded(host.run(db, "run_maintenance", job, MAINTENANCE_BLOAT_PERCENT="30"))
    assert (client.errors, watch.errors, waits) == ([], [], [])
    assert "REINDEX public.logs_message" in steps(host)
    assert invalid(db) == []


def test_a_signal_ends_a_run_that_waits_and_the_report_is_written(db: Database, host: JobHost) -> None:
    with holding(db, "LOCK TABLE logs IN SHARE UPDATE EXCLUSIVE MODE"):
        run = host.start(db, "run_maintenance", "daily")
        until(lambda: db.value("SELECT count(*) FROM pg_locks WHERE NOT granted"))
        done = run.terminate()
    failed(done, "stopped by a signal")
    assert host.reports[-1]["steps"][-1]["state"] == "failed"
    until_gone(db)
    succeeded(host.run(db, "run_maintenance", "daily"))


@pytest.mark.faults
@pytest.mark.parametrize("job", ["daily", "monthly"])
def test_a_run_that_is_killed_at_any_time_is_simply_run_again(db: Database, host: JobHost, job: str) -> None:
    for step in range(6):
        run = host.start(db, "run_maintenance", job)
        time.sleep(0.12 + 0.03 * step)
        run.kill()
    succeeded(host.run(db, "run_maintenance", job))
    assert invalid(db) == []


def test_a_backend_that_is_terminated_is_a_failure(db: Database, host: JobHost) -> None:
    with holding(db, "LOCK TABLE logs IN SHARE UPDATE EXCLUSIVE MODE"):
        run = host.start(db, "run_maintenance", "daily")
        until(lambda: db.value("SELECT count(*) FROM pg_locks WHERE NOT granted"))
        db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'maintenance%'")
        done = run.end()
    failed(done, "connection")


@pytest.mark.faults
def test_reports_are_kept_to_a_number_and_a_page_needs_nothing_else(db: Database, host: JobHost) -> None:
    db.execute("CREATE INDEX \"<script>alert('x')</script>\" ON bars (close)")
    for _ in range(3):
        succeeded(host.run(db, "run_maintenance", "weekly", MAINTENANCE_REPORTS_KEPT="2"))
    succeeded(host.run(db, "run_maintenance", "monthly"))
    pages = sorted((host.folder / "reports").glob("*.html"))
    assert [path.name.split("-")[0] for path in pages] == ["maintenance_monthly", *["maintenance_weekly"] * 2]
    page = pages[-1].read_text()
    assert "&lt;script&gt;alert(" in page
    assert [word for word in ("<script", "http://", "https://", "src=", "href=") if word in page] == []


def test_every_check_runs_by_hand_in_psql(db: Database, host: JobHost) -> None:
    psql = [
        *shlex.split("psql --no-psqlrc --set=ON_ERROR_STOP=1"),
        "-h",
        str(db.server.home),
        "-p",
        str(db.server.port),
    ]
    for query in sorted((host.folder / "sql/maintenance").glob("*.sql")):
        done = subprocess.run(
            [*psql, "-U", "postgres", "-d", db.name, "-f", str(query)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), query.name
        assert query.read_text().startswith("-- ")


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"MAINTENANCE_VACUUM_TABLES": "logs"}, "'logs' is not a schema and a name"),
        ({"MAINTENANCE_VIEWS": "public.summary;DROP"}, "is not a schema and a name"),
        ({"MAINTENANCE_BLOAT_PERCENT": "0"}, "MAINTENANCE_BLOAT_PERCENT is above 0"),
        ({"MAINTENANCE_BLOAT_PERCENT": "much"}, "could not convert"),
        ({"MAINTENANCE_REPORTS": "/nowhere"}, "/nowhere is not a folder"),
        ({"MAINTENANCE_NODES": "db2"}, "a setting is not what it should be"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_done(
    db: Database, host: JobHost, settings: dict[str, str], word: str
) -> None:
    run = host.run(db, "run_maintenance", "daily", **settings)
    assert (run.code, word in run.output) == (2, True), run.output
    assert host.reports == []


@pytest.mark.faults
def test_a_standby_is_refused(db: Database, host: JobHost) -> None:
    with standby_of(db.server) as standby:
        wait_for_replay(db.server, standby)
        run = host.run_on(standby, db.name, "run_maintenance", "daily")
    failed(run, "this is a standby")
