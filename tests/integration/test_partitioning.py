# ruff: noqa: S311, S608 - tests make their own SQL, and no secrets
"""A live table becomes partitioned by month: nobody sees an error, no row is lost, and everything on it comes along."""

from __future__ import annotations

import contextlib
import random
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import psycopg2
import pytest
from ansible.module_utils.pg_optimization import apply, connection
from conftest import Database
from partitions import ROOT, Conversion, partition, settle, trading_declaration, trading_table
from servers import MAJORS, Server
from test_under_load import Client, working

BARS = """
SET ROLE owner;
CREATE TABLE bars (id serial PRIMARY KEY, symbol varchar(10) NOT NULL, ts timestamp NOT NULL, source text NOT NULL,
                   close float8, CONSTRAINT bars_key UNIQUE (symbol, ts, source));
INSERT INTO bars (symbol, ts, source, close)
SELECT 'S' || s, date_trunc('hour', now()::timestamp) - t * interval '1 hour', 'yahoo', t
FROM generate_series(1, 20) s, generate_series(1, 200) t;
CREATE INDEX bars_time ON bars (ts);
ANALYZE bars;
RESET ROLE;
"""


def test_a_table_is_partitioned_as_the_plan_said_and_a_second_run_finds_nothing(db: Database) -> None:
    db.execute(BARS)
    before = db.rows("SELECT * FROM bars ORDER BY id")
    done = settle(db)
    assert [action for _, _, action in done.said] == [
        "create", "create", "validate", "replace", "create", "partition", "analyze",
    ]  # fmt: skip
    assert db.rows("SELECT * FROM bars ORDER BY id") == before
    assert db.value("SELECT pg_get_partkeydef('bars'::regclass)") == "RANGE (ts)"
    assert db.value("SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid = 'bars'::regclass") is True
    assert done.result["write_stall_seconds"] > 0
    assert done.result["history"] == "public.bars_history"


def test_a_plan_changes_nothing(db: Database) -> None:
    db.execute(BARS)
    before = db.snapshot()
    planned = partition(db, check=True)
    assert (planned.failed, planned.changed, len(planned.said)) == (False, True, 7)
    assert db.snapshot() == before


PARTS = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'bars'::regclass"


def created(db: Database, premake: int) -> int:
    """Have so many months stand ready, and return how many were made; the last one holds the rows of then."""
    before = db.value(PARTS)
    said = settle(db, premake=premake).said
    assert {action for _, _, action in said} == {"create"}
    assert len(said) == db.value(PARTS) - before
    then = f"date_trunc('month', now() AT TIME ZONE 'UTC') + interval '{premake} months 27 days'"
    db.execute(f"INSERT INTO bars (symbol, ts, source, close) VALUES ('S1', {then}, 'then', 1)")
    with pytest.raises(psycopg2.errors.CheckViolation):
        db.execute(f"INSERT INTO bars (symbol, ts, source) VALUES ('S1', {then} + interval '1 month', 'later')")
    db.execute("DELETE FROM bars WHERE source = 'then'")
    return len(said)


def test_three_months_stand_ready_and_missing_ones_are_made_again(db: Database) -> None:
    db.execute(BARS)
    settle(db)
    assert db.value(PARTS) == 4
    # The months to come are counted from today's, and the cut may be the second one.
    assert created(db, 12) in (8, 9)
    last = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'bars'::regclass ORDER BY 1 DESC LIMIT 1"
    db.execute(f"DROP TABLE {db.value(last)}")
    assert created(db, 12) == 1


def test_months_are_added_to_a_table_with_constraints(db: Database) -> None:
    db.execute(BARS)
    named = "ALTER TABLE bars ADD CONSTRAINT close_given NOT NULL close;" if db.server.major >= 18 else ""
    db.execute(f"ALTER TABLE bars ADD CONSTRAINT positive CHECK (close > -1), ALTER source SET NOT NULL; {named}")
    settle(db)
    assert created(db, 6) in (2, 3)
    held = "SELECT count(*) FROM pg_constraint WHERE conname = 'positive' AND conrelid::regclass::text LIKE 'bars_%'"
    assert db.value(held) == db.value(PARTS) >= 6
    with pytest.raises(psycopg2.errors.CheckViolation):
        db.execute("INSERT INTO bars (symbol, ts, source, close) VALUES ('N', now() + interval '5 months', 'x', -7)")


def test_a_new_row_finds_its_month_and_an_old_one_the_history(db: Database) -> None:
    db.execute(BARS)
    cut = settle(db).result["cut"]
    insert = "INSERT INTO bars (symbol, ts, source) VALUES ('N', %s, 'x') RETURNING tableoid::regclass::text"
    assert db.value(insert, (cut,)).startswith("bars_p")
    assert db.value(insert, ("1995-01-01",)) == "bars_history"
    assert db.value("SELECT max(id) FROM bars") == 4002


def test_a_query_of_one_month_reads_no_other(db: Database) -> None:
    db.execute(BARS)
    cut = date.fromisoformat(settle(db).result["cut"])
    plan = db.rows(f"EXPLAIN SELECT count(*) FROM bars WHERE ts >= '{cut}' AND ts < date '{cut}' + 20")
    text = "\n".join(line for (line,) in plan)
    assert f"bars_p{cut:%Y_%m}" in text
    assert "bars_history" not in text


def test_a_month_is_detached_and_attached_again(db: Database) -> None:
    db.execute(BARS)
    cut = date.fromisoformat(settle(db).result["cut"])
    name = f"bars_p{cut:%Y_%m}"
    db.execute("INSERT INTO bars (symbol, ts, source) VALUES ('N', %s, 'x')", (cut,))
    bound = db.value("SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = %s", (name,))
    db.execute(f"ALTER TABLE bars DETACH PARTITION {name} CONCURRENTLY")
    assert db.value("SELECT count(*) FROM bars WHERE symbol = 'N'") == 0
    db.execute(f"ALTER TABLE bars ATTACH PARTITION {name} {bound}")
    assert db.value("SELECT count(*) FROM bars WHERE symbol = 'N'") == 1
    assert not partition(db).changed


# Everything that a table can carry, and the question whether it still does.
ALL = """
CREATE TABLE models (id int PRIMARY KEY); INSERT INTO models VALUES (1); ALTER TABLE models OWNER TO owner;
SET ROLE owner;
ALTER DEFAULT PRIVILEGES GRANT DELETE ON TABLES TO stranger;
ALTER TABLE bars ADD CONSTRAINT positive CHECK (close > -1), ADD model int DEFAULT 1 REFERENCES models,
    ADD note text COLLATE "C" DEFAULT 'none', ADD twice float8 GENERATED ALWAYS AS (close * 2) STORED, ADD gone int;
ALTER TABLE bars DROP gone;
ALTER TABLE bars SET (fillfactor = 90, autovacuum_vacuum_insert_scale_factor = 0), ALTER symbol SET STATISTICS 300,
    ALTER note SET STORAGE EXTERNAL, ALTER symbol SET (n_distinct = 50), REPLICA IDENTITY FULL;
CREATE INDEX "Odd ""x" ON bars (lower(symbol) COLLATE "C" DESC, ts) INCLUDE (close) WHERE close > 3;
CREATE INDEX bars_brin ON bars USING brin (ts) WITH (pages_per_range = 32);
CREATE UNIQUE INDEX bars_unique ON bars (source, symbol, ts) INCLUDE (close);
CREATE STATISTICS bars_stat ON symbol, source FROM bars;
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note := ''touched''; RETURN NEW; END';
CREATE TRIGGER touch BEFORE UPDATE ON bars FOR EACH ROW WHEN (NEW.close > 0) EXECUTE FUNCTION touched();
CREATE TRIGGER never AFTER INSERT ON bars FOR EACH STATEMENT EXECUTE FUNCTION touched();
ALTER TABLE bars DISABLE TRIGGER never;
CREATE VIEW latest WITH (security_barrier = true) AS SELECT symbol, max(ts) AS newest FROM bars GROUP BY symbol;
CREATE VIEW on_latest AS SELECT symbol FROM latest;
CREATE MATERIALIZED VIEW counts AS SELECT symbol, count(*) AS rows FROM bars GROUP BY symbol;
CREATE UNIQUE INDEX counts_symbol ON counts (symbol);
CREATE MATERIALIZED VIEW on_counts AS SELECT symbol, 'counts__pgopt' AS word FROM counts JOIN latest USING (symbol);
CREATE VIEW on_both AS SELECT c.rows FROM counts c JOIN bars b USING (symbol);
GRANT SELECT ON bars TO reader; GRANT INSERT (close), UPDATE (close) ON bars TO writer; GRANT SELECT ON bars TO PUBLIC;
REVOKE DELETE ON bars FROM stranger;
GRANT SELECT ON latest, counts TO reader;
COMMENT ON TABLE bars IS 'Bars; one a symbol'; COMMENT ON COLUMN bars.close IS 'At the end';
COMMENT ON CONSTRAINT positive ON bars IS 'Above';
COMMENT ON INDEX bars_time IS 'By time [managed by postgresql_optimization]';
COMMENT ON CONSTRAINT bars_pkey ON bars IS 'Key'; COMMENT ON INDEX bars_pkey IS 'Key index';
COMMENT ON TRIGGER touch ON bars IS 'Touch'; COMMENT ON STATISTICS bars_stat IS 'Stat';
COMMENT ON MATERIALIZED VIEW counts IS 'Counted';
ANALYZE bars;
RESET ROLE;
CREATE PUBLICATION bars_only FOR TABLE bars WITH (publish_via_partition_root = true);
CREATE PUBLICATION every FOR ALL TABLES WITH (publish_via_partition_root = true);
ALTER PUBLICATION bars_only OWNER TO owner;
"""
CARRIED = r"""
SELECT 'table', c.relowner::regrole::text, c.relreplident::text, obj_description(c.oid),
       (SELECT string_agg(g::text, ' ' ORDER BY g::text) FROM unnest(c.relacl) g)
FROM pg_class c WHERE c.oid = 'bars'::regclass
UNION ALL
SELECT 'column', a.attname || ' ' || format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid),
       concat_ws(' ', a.attnotnull, a.attgenerated, a.attstorage, coalesce(a.attstattarget, -1), a.attoptions,
                 a.attcollation),
       concat_ws(' ', a.attacl, col_description(a.attrelid, a.attnum))
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = 'bars'::regclass AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'constraint', conname, pg_get_constraintdef(oid), obj_description(oid), NULL
FROM pg_constraint WHERE conrelid = 'bars'::regclass AND contype IN ('p', 'u', 'c', 'f')
UNION ALL
SELECT 'index', c.relname, replace(pg_get_indexdef(c.oid), ' ON ONLY ', ' ON '), obj_description(c.oid),
       i.indisvalid::text
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = 'bars'::regclass
UNION ALL
SELECT 'statistics', stxname, pg_get_statisticsobjdef(oid), obj_description(oid), NULL
FROM pg_statistic_ext WHERE stxrelid = 'bars'::regclass
UNION ALL
SELECT 'trigger', tgname, pg_get_triggerdef(oid), tgenabled::text, obj_description(oid)
FROM pg_trigger WHERE tgrelid = 'bars'::regclass AND NOT tgisinternal
UNION ALL
SELECT 'sequence', pg_get_serial_sequence('bars', 'id'), NULL, NULL, NULL
UNION ALL
SELECT 'publication', pubname, tablename, NULL, NULL FROM pg_publication_tables
WHERE tablename !~ '^(models|on_)'
UNION ALL
SELECT 'view', c.relname, pg_get_viewdef(c.oid), concat_ws(' ', c.reloptions, c.relacl, obj_description(c.oid)),
       (SELECT string_agg(pg_get_indexdef(indexrelid), ' ') FROM pg_index WHERE indrelid = c.oid)
FROM pg_class c WHERE c.relkind IN ('v', 'm') AND c.relnamespace = 'public'::regnamespace
ORDER BY 1, 2, 3
"""


def test_everything_that_stands_on_the_table_comes_along(db: Database) -> None:
    db.execute(BARS + ALL)
    before = db.rows(CARRIED)
    settle(db)
    now = db.rows(CARRIED)
    changed = {("constraint", "bars_pkey"), ("index", "bars_pkey")}
    assert [row for row in now if row[:2] not in changed] == [row for row in before if row[:2] not in changed]
    assert [row[2:] for row in now if row[:2] in changed] == [
        ("PRIMARY KEY (id, ts)", "Key", None),
        ("CREATE UNIQUE INDEX bars_pkey ON public.bars USING btree (id, ts)", "Key index", "true"),
    ]
    assert db.value("SELECT reloptions FROM pg_class WHERE relname LIKE 'bars_p20%' LIMIT 1") == [
        "autovacuum_vacuum_insert_scale_factor=0", "fillfactor=90",
    ]  # fmt: skip


def test_triggers_and_views_work_for_old_rows_and_new_ones(db: Database) -> None:
    db.execute(BARS + ALL)
    # PostgreSQL 18 updates no published table with a generated column in its replica identity, partitioned or not.
    db.execute("ALTER TABLE bars REPLICA IDENTITY DEFAULT")
    cut = settle(db).result["cut"]
    db.execute("INSERT INTO bars (symbol, ts, source) VALUES ('NEW', %s, 'x'); UPDATE bars SET close = 7", (cut,))
    assert db.value("SELECT count(*) FROM bars WHERE note <> 'touched' OR twice <> 14") == 0
    assert db.value("SELECT newest::text FROM latest WHERE symbol = 'NEW'") == f"{cut} 00:00:00"
    db.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY counts")
    assert db.value("SELECT count(*) FROM counts WHERE symbol = 'NEW'") == 1
    assert db.value("SELECT count(*) FROM pg_stats_ext WHERE statistics_name = 'bars_stat' AND inherited") == 1


REFUSED = {
    "a foreign key that refers to it": (
        "CREATE TABLE t (bar int REFERENCES bars)", "the foreign key t_bar_fkey on public.t refers to it",
    ),
    "a unique constraint without the column": (
        "ALTER TABLE bars ADD CONSTRAINT u UNIQUE (id, symbol)", "u (UNIQUE (id, symbol)) does not contain ts",
    ),
    "a unique index without the column": (
        "CREATE UNIQUE INDEX u ON bars (id) INCLUDE (ts)", "the unique index public.u does not contain ts",
    ),
    "an exclusion constraint": ("ALTER TABLE bars ADD EXCLUDE (id WITH =)", "excludes by an operator"),
    "a constraint that is not validated": (
        "ALTER TABLE bars ADD CONSTRAINT c CHECK (close > 0) NOT VALID", "c (CHECK (",
    ),
    "a constraint that is not inherited": (
        "ALTER TABLE bars ADD CONSTRAINT c CHECK (id > 0) NO INHERIT", "is NO INHERIT",
    ),
    "an identity column": ("ALTER TABLE bars ADD n int GENERATED ALWAYS AS IDENTITY", "n is an identity column"),
    "nulls": (
        "ALTER TABLE bars ALTER ts DROP NOT NULL; UPDATE bars SET ts = NULL WHERE id = 7", "ts is NULL in some rows",
    ),
    "infinity": ("UPDATE bars SET ts = 'infinity' WHERE id = 7", "ts holds infinity"),
    "inheritance": ("CREATE TABLE t () INHERITS (bars)", "other tables inherit from it"),
    "an heir": ("CREATE TABLE t (); ALTER TABLE bars INHERIT t", "it inherits from another table"),
    "an unlogged table": ("ALTER TABLE bars SET UNLOGGED", "it is UNLOGGED"),
    "row-level security": ("ALTER TABLE bars ENABLE ROW LEVEL SECURITY", "it has row-level security, which would stay"),
    "a rule": ("CREATE RULE r AS ON DELETE TO bars DO ALSO NOTIFY x", "it has rules, which would stay"),
    "a function of its rows": (
        "CREATE FUNCTION f() RETURNS SETOF bars LANGUAGE sql AS 'SELECT * FROM bars'",
        "function public.f() stands on it",
    ),
    "a trigger with transition tables": (
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER t AFTER INSERT ON bars REFERENCING NEW TABLE AS n FOR EACH ROW EXECUTE FUNCTION f()",
        "the trigger t is FOR EACH ROW with transition tables",
    ),
    "a view grouped by the primary key": (
        "SET ROLE owner; CREATE VIEW v AS SELECT id, symbol, max(close) FROM bars GROUP BY id; RESET ROLE",
        "view public.v stands on the primary key bars_pkey",
    ),
    "a materialized view grouped by the primary key": (
        "SET ROLE owner; CREATE MATERIALIZED VIEW v AS SELECT id, symbol, max(close) FROM bars GROUP BY id; RESET ROLE",
        "materialized view public.v stands on the primary key bars_pkey",
    ),
    "a policy that groups by the primary key": (
        "CREATE TABLE t (id int); CREATE POLICY p ON t"
        " USING (EXISTS (SELECT FROM (SELECT symbol FROM bars GROUP BY id) b WHERE symbol = 'x'))",
        "policy p on table public.t stands on the primary key bars_pkey",
    ),
    "a view of the table alone": (
        "SET ROLE owner; CREATE VIEW v AS SELECT id FROM ONLY bars; RESET ROLE", "view public.v reads FROM ONLY it",
    ),
    "a materialized view of the table alone": (
        "SET ROLE owner; CREATE MATERIALIZED VIEW v AS SELECT (SELECT max(id) FROM ONLY bars b) AS m; RESET ROLE",
        "materialized view public.v reads FROM ONLY it",
    ),
    "a view that asks for the table of a row": (
        "SET ROLE owner; CREATE VIEW v AS SELECT id FROM bars WHERE tableoid = 'bars'::regclass; RESET ROLE",
        "view public.v asks for its tableoid",
    ),
    "a view with rows of the table": (
        "SET ROLE owner; CREATE VIEW v AS SELECT b FROM bars b; RESET ROLE", "column b of view public.v stands on it",
    ),
    "a publication by partitions": ("CREATE PUBLICATION p FOR TABLE bars", "publish_via_partition_root"),
    "somebody else's publication": (
        "CREATE PUBLICATION p FOR TABLE bars WITH (publish_via_partition_root)",
        "p belongs to a role that owner is not",
    ),
    "somebody else's table": ("ALTER TABLE bars OWNER TO postgres", "it belongs to postgres"),
    "somebody else's view": ("CREATE VIEW v AS SELECT id FROM bars", "view public.v of postgres stands on it"),
    "a name that is taken": ("CREATE TABLE bars_history ()", "there is another public.bars_history"),
    "a name that a type has": ("CREATE DOMAIN bars_history AS int", "there is another public.bars_history"),
    "a type that the owner may not use": (
        "CREATE TYPE mood AS ENUM ('x'); ALTER TABLE bars ADD m mood; REVOKE USAGE ON TYPE mood FROM PUBLIC",
        "owner has no USAGE on the type of m",
    ),
    "a twin with rows": (
        "SET ROLE owner; CREATE TABLE bars__pgpart_twin AS SELECT 1 AS a; RESET ROLE", "bars__pgpart_twin has rows",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("statement", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_work_is_refused_before_the_first_change(db15: Database, statement: str, reason: str) -> None:
    db15.execute(BARS + statement)
    before = db15.snapshot()
    done = partition(db15)
    assert done.failed
    assert reason in done.msg, done.msg
    assert db15.snapshot() == before
    assert not done.changed


def test_a_not_null_constraint_that_is_not_inherited_is_refused(servers: Callable[[int], Server]) -> None:
    server = servers(18)
    db = Database(server, name := server.create_database(), server.connect(name))
    with contextlib.closing(db.connection):
        db.execute(BARS + "ALTER TABLE bars ALTER symbol DROP NOT NULL, ADD CONSTRAINT n NOT NULL symbol NO INHERIT")
        before = db.snapshot()
        done = partition(db)
        assert done.failed
        assert "the constraint n (NOT NULL symbol NO INHERIT) is NO INHERIT" in done.msg
        assert db.snapshot() == before
    server.drop_database(name)


def test_a_view_that_is_grouped_by_a_key_with_the_column_comes_along(db: Database) -> None:
    db.execute(
        "SET ROLE owner; CREATE TABLE bars (id int, ts timestamp, v int, w text, PRIMARY KEY (id, ts));"
        "INSERT INTO bars VALUES (1, now() - interval '1 hour', 2, 'x');"
        "CREATE VIEW v AS SELECT id, ts, w, max(v) AS v FROM bars GROUP BY id, ts; RESET ROLE"
    )
    settle(db)
    assert db.value("SELECT w FROM v") == "x"


def test_a_materialized_view_of_the_history_alone_stays_so(db15: Database) -> None:
    db15.execute(BARS)
    settle(db15)
    db15.execute("SET ROLE owner; CREATE MATERIALIZED VIEW old AS SELECT id FROM ONLY bars_history; RESET ROLE")
    done = partition(db15)
    assert (done.failed, done.said) == (False, []), done.msg
    assert db15.value("SELECT count(*) FROM old") == db15.value("SELECT count(*) FROM bars")


WRONG = {
    "no such table": ({"table": "nothing"}, "table public.nothing: does not exist"),
    "no such column": ({"column": "nothing"}, "it has no column nothing"),
    "a column that is no time": ({"column": "symbol"}, "symbol is character varying"),
    "a cut within a month": ({"cut": "2099-01-02"}, "is not the first day of a month"),
    "a cut that rows are beyond": ({"cut": "2020-01-01"}, "which is not before the cut 2020-01-01"),
    "no months ahead": ({"premake": 0}, "premake: is not at least 1"),
    "no free disk": ({"free_space": {"pg_default": 1000}}, "tablespace pg_default: the builds need about"),
    "a primary key of other columns that the server refuses": ({"column": "source"}, "source is text"),
}


@pytest.mark.parametrize(("given", "reason"), WRONG.values(), ids=WRONG)
def test_a_wrong_wish_is_refused(db15: Database, given: dict[str, Any], reason: str) -> None:
    db15.execute(BARS)
    before = db15.snapshot()
    done = partition(db15, **given)
    assert done.failed
    assert reason in done.msg, done.msg
    assert db15.snapshot() == before


def test_a_view_is_refused_and_a_table_partitioned_otherwise(db15: Database) -> None:
    db15.execute(
        "SET ROLE owner; CREATE VIEW v AS SELECT 1 AS ts; CREATE TABLE p (ts date, a int) PARTITION BY RANGE (a)"
    )
    assert "neither a table nor partitioned" in partition(db15, table="v").msg
    assert "partitioned already, by RANGE (a)" in partition(db15, table="p").msg


@pytest.mark.parametrize(("kind", "cut"), [("date", "2097-01-01"), ("timestamptz", "2097-01-01 00:00:00+00")])
def test_dates_and_times_with_a_zone_are_cut_at_months_of_utc(db15: Database, kind: str, cut: str) -> None:
    db15.execute(
        f"SET ROLE owner; CREATE TABLE bars (ts {kind}, a int); INSERT INTO bars SELECT now(), 1; RESET ROLE;"
        "ALTER DATABASE " + db15.name + " SET TimeZone = 'Asia/Kathmandu'"
    )
    settle(db15, cut="2097-01-01")
    bound = "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'bars_history'"
    assert f"TO ('{cut}')" in db15.value("SET TimeZone = 'UTC'; " + bound)
    # A column that could be NULL cannot be any more.
    column = "SELECT attnotnull FROM pg_attribute WHERE attrelid = 'bars'::regclass AND attname = 'ts'"
    assert db15.value(column) is True


def test_a_swap_that_gets_no_lock_names_who_has_it_and_the_next_run_goes_on(db: Database) -> None:
    db.execute(BARS)
    with contextlib.closing(db.connect()) as other, other.cursor() as cursor:
        cursor.execute("SET application_name = 'the blocker'; BEGIN; SELECT 1 FROM bars")
        done = partition(db, lock_budget=1.0)
        assert done.failed
        assert "In the way: pid" in done.msg
        assert "the blocker" in done.msg
    # The build stands, and only what is left is done.
    rest = settle(db)
    assert ("index", "public.bars__pgpart_key", "create") not in rest.said


def test_a_maintenance_job_is_waited_for_only_so_long(db15: Database) -> None:
    db15.execute(BARS)
    with contextlib.closing(db15.connect()) as other, other.cursor() as cursor:
        cursor.execute("SET application_name = 'nightly vacuum'; SELECT pg_advisory_lock(1885826928, 1)")
        done = partition(db15, run_wait=0.5)
    assert done.failed
    assert "nightly vacuum" in done.msg
    assert not done.changed


def test_a_cut_that_has_come_too_near_meanwhile_is_chosen_again(db15: Database) -> None:
    db15.execute(BARS)
    db15.execute("ALTER TABLE bars ADD CONSTRAINT __pgpart_before_20200101 CHECK (ts < '2020-01-01') NOT VALID")
    done = settle(db15)
    assert ("constraint", "public.bars.__pgpart_before_20200101", "drop") in done.said
    assert done.result["cut"] > f"{date.today()}"


# --- the trading database's own table and declaration


@pytest.mark.parametrize("major", [15, pytest.param(17, marks=pytest.mark.faults)])
@pytest.mark.parametrize("which", ["guide", "lean"])
def test_the_trading_declaration_finds_nothing_to_do_on_the_partitioned_table(
    servers: Callable[[int], Server], major: int, which: str
) -> None:
    server = servers(major)
    name = server.create_database()
    with contextlib.closing(server.connect(name)) as session:
        db = Database(server, name, session)
        declaration = trading_table(db, which)
        settle(db, table="feature_engineered_data", column="timestamp")
        after = db.optimise(**declaration)
        assert (after.failed, after.msg, after.said) == (False, "", [])
        # And it still brings a change about.
        lost = [item["name"] for item in declaration["indexes"] if item.get("state") != "absent"][-1]
        db.execute(f"DROP INDEX {lost}")
        db.execute("ALTER TABLE feature_engineered_data_history RESET (autovacuum_vacuum_insert_threshold)")
        done = db.settle(**declaration)
        assert done.said == [
            ("public.feature_engineered_data_history", "alter"), (f"public.{lost}", "create"),
        ]  # fmt: skip
    server.drop_database(name)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("before", "after"), [("guide", "lean"), pytest.param("lean", "guide", marks=pytest.mark.faults)]
)
def test_the_declaration_is_exchanged_for_the_other_one_on_the_partitioned_table(
    db: Database, before: str, after: str
) -> None:
    trading_table(db, before)
    settle(db, table="feature_engineered_data", column="timestamp")
    rows = db.rows("SELECT count(*), sum(id) FROM feature_engineered_data")
    db.settle(**trading_declaration(after), prune=True)
    key = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'unique_symbol_timestamp_features'"
    assert ("INCLUDE" in db.value(key)) is True
    assert db.value("SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid::regclass::text ~ '^feature_'") is True
    assert db.rows("SELECT count(*), sum(id) FROM feature_engineered_data") == rows
    with pytest.raises(psycopg2.errors.UniqueViolation):
        db.execute(
            "INSERT INTO feature_engineered_data (symbol, timestamp, source, feature_version)"
            " SELECT symbol, timestamp, source, '9' FROM feature_engineered_data LIMIT 1"
        )
    assert not partition(db, table="feature_engineered_data", column="timestamp").changed


@pytest.mark.faults
def test_the_way_back_that_the_page_describes_leads_to_the_table_of_before(db15: Database) -> None:
    declaration = trading_table(db15, "guide")
    rows = "SELECT count(*), sum(id), sum(rsi_1d) FROM feature_engineered_data"
    before = db15.rows(rows)
    settle(db15, table="feature_engineered_data", column="timestamp")
    page = (ROOT / "docs" / "operations" / "partition_table.md").read_text()
    way_back = page[page.index("    BEGIN;") : page.index("    COMMIT;")]
    db15.execute(f"SET ROLE owner; {way_back} COMMIT; RESET ROLE")
    assert db15.rows(rows) == before
    assert db15.value("SELECT relkind FROM pg_class WHERE relname = 'feature_engineered_data'") == "r"
    db15.settle(**declaration)
    assert not settle(db15, table="feature_engineered_data", column="timestamp").failed


# --- under load


def load_table(db: Database, rows: int) -> None:
    """Make a table of so many rows, with a dashboard on it."""
    db.execute(
        f"""
        SET ROLE owner;
        CREATE TABLE bars (id serial PRIMARY KEY, symbol varchar(10) NOT NULL, ts timestamp NOT NULL,
                           source text NOT NULL, close float8, CONSTRAINT bars_key UNIQUE (symbol, ts, source));
        INSERT INTO bars (symbol, ts, source, close)
        SELECT 'S' || s, date_trunc('hour', now()::timestamp) - t * interval '1 hour', 'yahoo', t
        FROM generate_series(1, 100) s, generate_series(1, {rows // 100}) t;
        CREATE INDEX bars_time ON bars (ts);
        CREATE VIEW latest AS SELECT symbol, max(ts) AS newest FROM bars WHERE symbol = 'S7' GROUP BY symbol;
        CREATE MATERIALIZED VIEW counts AS SELECT symbol, count(*) AS rows FROM bars GROUP BY symbol;
        CREATE UNIQUE INDEX counts_symbol ON counts (symbol);
        CREATE TABLE written (id bigint);
        ANALYZE; RESET ROLE;
        """
    )


def insert(cursor: Any) -> None:
    """Insert a row and write down which one, in one transaction."""
    moment = f"now()::timestamp - {random.random()} * interval '1 day'"
    cursor.execute(
        f"WITH i AS (INSERT INTO bars (symbol, ts, source, close) VALUES ('W', {moment}, '{random.random()}', 1)"
        " RETURNING id) INSERT INTO written SELECT id FROM i"
    )


def upsert(cursor: Any) -> None:
    """Write a bar as the application does."""
    hour = f"date_trunc('hour', now()::timestamp) - {random.randint(-3, 90)} * interval '1 hour'"
    cursor.execute(
        f"INSERT INTO bars (symbol, ts, source, close) VALUES ('S{random.randint(1, 100)}', {hour}, 'yahoo', 2)"
        " ON CONFLICT (symbol, ts, source) DO UPDATE SET close = excluded.close"
    )


def read(query: str) -> Callable[[Any], None]:
    def work(cursor: Any) -> None:
        cursor.execute(query)
        assert cursor.fetchall()

    return work


def convert_under_load(db: Database, rows: int) -> None:
    load_table(db, rows)
    clients = [
        Client(db, insert),
        Client(db, upsert),
        Client(db, read("SELECT * FROM bars WHERE symbol = 'S3' AND ts > now()::timestamp - interval '2 days'")),
        Client(db, read("SELECT * FROM latest")),
        Client(db, read("SELECT sum(rows) FROM counts")),
    ]
    begin = time.monotonic()
    with working(clients):
        done = partition(db, lock_budget=120.0, check=False)
    seconds = time.monotonic() - begin
    assert not done.failed, done.msg
    report_conversion(db, rows, seconds, clients, done)
    assert [error for client in clients for error in client.errors] == []
    assert min(client.count for client in clients) > 20
    assert db.value("SELECT count(*) FROM written w WHERE NOT EXISTS (SELECT FROM bars b WHERE b.id = w.id)") == 0
    assert db.value("SELECT count(*) FROM bars WHERE source = 'yahoo' AND ts <= now()::timestamp") >= rows
    assert db.value("SELECT count(*) - count(DISTINCT (symbol, ts, source)) FROM bars") == 0
    assert db.value("SELECT count(*) - count(DISTINCT id) FROM bars") == 0
    assert db.value("SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid = 'bars'::regclass") is True
    assert not partition(db).changed


def report_conversion(db: Database, rows: int, seconds: float, clients: list[Client], done: Conversion) -> None:
    """Print what was measured; it depends on the machine, and is asserted nowhere."""
    longest = max(client.longest for client in clients)
    writes = db.value("SELECT count(*) FROM written")
    locked = done.result["write_stall_seconds"] * 1000
    print(  # noqa: T201
        f"{rows} rows in {seconds:.1f} s; the table was locked for {locked:.0f} ms at the longest; worst statement of "
        f"a client {longest * 1000:.0f} ms; {sum(client.count for client in clients)} statements, {writes} rows written"
    )
    for action in done.result["actions"]:
        print(f"  {action['seconds']:8.3f} s  {action['action']} {action['kind']} {action['name']}")  # noqa: T201


@pytest.mark.faults
def test_200_000_rows_are_partitioned_under_load(db15: Database) -> None:
    convert_under_load(db15, 200_000)


@pytest.mark.faults
def test_2_000_000_rows_are_partitioned_under_load(servers: Callable[[int], Server]) -> None:
    server = servers(MAJORS[0])
    name = server.create_database()
    with contextlib.closing(server.connect(name)) as session:
        convert_under_load(Database(server, name, session), 2_000_000)
    server.drop_database(name)


# --- interruptions


def test_a_run_that_fails_says_that_its_table_will_refuse_rows(db15: Database) -> None:
    db15.execute(BARS)
    db15.execute(
        "SET ROLE owner; CREATE VIEW latest AS SELECT max(ts) AS newest FROM bars; RESET ROLE;"
        "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;"
        "CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE VIEW') EXECUTE FUNCTION refuse()"
    )
    done = partition(db15)
    db15.execute("DROP EVENT TRIGGER refuse")
    assert (done.failed, "not now" in done.msg) == (True, True), done.msg
    (name,) = [name for (name,) in db15.rows("SELECT conname FROM pg_constraint WHERE conname ~ '^__pgpart_before'")]
    (warning,) = [text for text in done.result["warnings"] if "refuses rows from" in text]
    assert f"ALTER TABLE public.bars DROP CONSTRAINT {name}" in warning
    # And where nobody reads that, the health check does.
    check = (ROOT / "roles/postgresql_health/files/jobs/sql/health/interrupted_conversions.sql").read_text()
    cut = date.fromisoformat(done.result["cut"])
    left = db15.value("SELECT %s - (now() AT TIME ZONE 'UTC')::date", (cut,))
    # A session that was closed is there for a moment longer, and a conversion that runs is no interrupted one.
    gone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'postgresql_partition'"
    end = time.monotonic() + 10
    while not db15.value(gone) and time.monotonic() < end:
        time.sleep(0.05)
    assert db15.rows(check) == [("bars", left, f"refuses rows from {cut} on")]
    with contextlib.closing(db15.connect(application_name="postgresql_partition")):
        assert db15.rows(check) == []
    again = partition(db15)
    assert (again.failed, [text for text in again.result["warnings"] if "now refuses" in text]) == (False, [])
    assert db15.rows(check) == []


class Killer:
    """Ends the session of a run before its statement of a given number."""

    def __init__(self, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        """Count, and kill at `limit`."""
        self.count = 0
        self.limit = sys.maxsize
        self.armed = False
        execute, step = connection.Session.execute, apply.run_step

        def counted(session: connection.Session, query: Any) -> None:
            if self.armed:
                self.count += 1
                if self.count == self.limit:
                    db.execute("SELECT pg_terminate_backend(%s)", (session.server.pid,))
                    time.sleep(0.01)
            execute(session, query)

        def armed(session: connection.Session, *rest: Any) -> None:
            self.armed = True
            try:
                step(session, *rest)
            finally:
                self.armed = False

        monkeypatch.setattr(connection.Session, "execute", counted)
        monkeypatch.setattr(apply, "run_step", armed)


SMALL = """
SET ROLE owner;
CREATE TABLE bars (id serial PRIMARY KEY, symbol text NOT NULL, ts timestamp, close float8);
INSERT INTO bars (symbol, ts, close)
SELECT 'S', now()::timestamp - n * interval '1 day', n FROM generate_series(1, 99) n;
CREATE INDEX bars_time ON bars (ts);
CREATE VIEW latest AS SELECT max(ts) AS newest FROM bars;
CREATE MATERIALIZED VIEW counts AS SELECT symbol, count(*) AS rows FROM bars GROUP BY symbol;
CREATE UNIQUE INDEX counts_symbol ON counts (symbol);
CREATE MATERIALIZED VIEW on_counts AS SELECT symbol FROM counts;
CREATE VIEW on_view AS SELECT symbol FROM counts;
GRANT SELECT ON bars TO reader;
RESET ROLE;
"""
STATE = """
SELECT 'relation', c.relname, c.relkind::text, pg_get_expr(c.relpartbound, c.oid), pg_get_indexdef(i.indexrelid),
       concat_ws(' ', i.indisvalid, c.reloptions, c.relacl, obj_description(c.oid),
                 CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END, c.relispopulated)
FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'constraint', conname, pg_get_constraintdef(oid), conrelid::regclass::text, NULL, NULL FROM pg_constraint
UNION ALL
SELECT 'rows', count(*)::text, sum(id)::text, sum(close)::text, NULL, NULL FROM bars
ORDER BY 1, 2, 3, 4
"""


@contextlib.contextmanager
def fresh(server: Server) -> Iterator[Database]:
    """Make a database with the small table."""
    name = server.create_database()
    with contextlib.closing(server.connect(name)) as session:
        db = Database(server, name, session)
        db.execute(SMALL)
        yield db
    server.drop_database(name)


@pytest.mark.faults
@pytest.mark.parametrize("major", [MAJORS[0], MAJORS[-1]])
def test_a_conversion_is_killed_before_each_of_its_statements(
    servers: Callable[[int], Server], monkeypatch: pytest.MonkeyPatch, major: int
) -> None:
    server = servers(major)
    with fresh(server) as db, monkeypatch.context() as patch:
        killer = Killer(db, patch)
        assert not partition(db).failed
        total, wanted = killer.count, db.rows(STATE)
    assert total > 60
    wrong = []
    for number in range(1, total + 1):
        with fresh(server) as db:
            with monkeypatch.context() as patch:
                killer = Killer(db, patch)
                killer.limit = number
                assert partition(db).failed, number
            # Whatever was reached, the rows are there and readers see no error.
            assert db.value("SELECT count(*) FROM bars") == 99, number
            assert db.value("SELECT sum(rows) FROM counts") == 99, number
            again = partition(db)
            if again.failed or db.rows(STATE) != wanted or partition(db).changed:
                wrong.append((number, again.msg, set(db.rows(STATE)) ^ set(wanted)))
    assert wrong == []
