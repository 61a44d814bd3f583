"""What an index is beside its definition: a foreign key's target, clustering, replica identity, somebody's."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.pg_optimization.model import Name
from ansible.module_utils.pg_optimization.naming import building, retired
from conftest import Database

TABLE = """
SET ROLE owner;
CREATE TABLE t (id serial PRIMARY KEY, a int NOT NULL, b int, c text);
INSERT INTO t (a, b, c) SELECT n, n % 10, 'c' || n FROM generate_series(1, 2000) n;
CREATE UNIQUE INDEX target ON t (a);
CREATE TABLE referring (a int CONSTRAINT refers REFERENCES t (a));
ANALYZE;
RESET ROLE;
"""
PARTITIONED = """
SET ROLE owner;
CREATE TABLE p (ts date NOT NULL, a int NOT NULL, c text) PARTITION BY RANGE (ts);
CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM ('2025-01-01') TO ('2025-02-01');
CREATE TABLE p_2 PARTITION OF p FOR VALUES FROM ('2025-02-01') TO ('2025-03-01');
INSERT INTO p SELECT date '2025-01-01' + n % 50, n, 'c' || n FROM generate_series(1, 500) n;
CREATE UNIQUE INDEX p_key ON p (ts, a);
ANALYZE;
RESET ROLE;
"""


@pytest.fixture
def table(db: Database) -> Database:
    db.execute(TABLE)
    return db


@pytest.fixture
def parts(db: Database) -> Database:
    db.execute(PARTITIONED)
    return db


def index(name: str, *columns: Any, **options: Any) -> dict[str, Any]:
    return {"indexes": [{"name": name, "table": "t", "columns": list(columns), **options}]}


def on_p(*columns: Any, **options: Any) -> dict[str, Any]:
    return {"indexes": [{"name": "p_key", "table": "p", "columns": list(columns), **options}]}


REFERRED = {
    "replaced": index("target", "a", "b", unique=True),
    "absent": index("target", state="absent"),
}


@pytest.mark.parametrize("declared", REFERRED.values(), ids=REFERRED)
def test_an_index_that_a_foreign_key_refers_to_is_kept(table: Database, declared: dict[str, Any]) -> None:
    before = table.snapshot()
    check, done = table.optimise(check=True, **declared), table.optimise(**declared)
    assert (done.failed, done.msg) == (True, check.msg)
    assert "foreign keys refer to it: refers on referring" in done.msg
    assert table.snapshot() == before


def test_an_index_that_a_foreign_key_refers_to_is_not_pruned(table: Database) -> None:
    table.execute("COMMENT ON INDEX target IS '[managed by postgresql_optimization]'")
    done = table.settle(indexes=[], prune=True)
    assert done.actions == []
    assert "index public.target is not pruned: foreign keys refer to it: refers on referring" in done.result["warnings"]


def test_leftovers_of_an_absent_index_go(table: Database) -> None:
    declared = index("x", "b")
    table.settle(**declared)
    names = [building(Name("public", "x")).name, retired(Name("public", "x")).name, "x_ccnew"]
    for name in names:
        table.execute(f'CREATE INDEX "{name}" ON t (b)')
    table.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'x_ccnew'::regclass")
    done = table.settle(**index("x", state="absent"))
    assert done.said == [("public.x", "drop")]
    assert table.rows("SELECT relname FROM pg_class WHERE relname ~ '^x' AND relkind = 'i'") == []
    for name in names[:2]:
        table.execute(f'CREATE INDEX "{name}" ON t (b)')
    assert table.settle(**index("x", state="absent")).said == [("public.x", "clean")]


ROLES = {
    "replica identity, of an index that is not unique": ("REPLICA IDENTITY USING INDEX", {}, "replica identity"),
    "clustering, of a partial index": ("CLUSTER ON", {"unique": True, "where": "a > 0"}, "clustered"),
    "clustering, of a brin index": ("CLUSTER ON", {"method": "brin"}, "clustered"),
}


@pytest.mark.parametrize(("role", "options", "said"), ROLES.values(), ids=ROLES)
def test_an_index_is_not_replaced_by_one_that_cannot_be_what_it_is(
    table: Database, role: str, options: dict[str, Any], said: str
) -> None:
    table.execute(f"DROP TABLE referring; ALTER TABLE t {role} target")
    before = table.snapshot()
    declared = index("target", "a", **options)
    check, done = table.optimise(check=True, **declared), table.optimise(**declared)
    assert (done.failed, done.msg) == (True, check.msg)
    assert said in done.msg
    assert table.snapshot() == before


def test_a_replica_identity_needs_columns_that_are_not_null(table: Database) -> None:
    table.execute("DROP TABLE referring; ALTER TABLE t REPLICA IDENTITY USING INDEX target")
    assert table.optimise(**index("target", "a", "b", unique=True)).failed
    table.settle(**index("target", "a", "id", unique=True))
    assert table.value("SELECT indisreplident FROM pg_index WHERE indexrelid = 'target'::regclass") is True


def test_expressions_have_statistics_as_soon_as_they_have_an_index(table: Database) -> None:
    known = "SELECT count(*) FROM pg_stats WHERE tablename = 'x'"
    table.settle(**index("x", {"expression": "lower(c)"}))
    assert table.value(known) == 1
    table.execute("ALTER INDEX x ALTER COLUMN 1 SET STATISTICS 321")
    table.settle(**index("x", "b", {"expression": "lower(c)"}, include=["a"]))
    assert table.value(known) == 1
    target = "SELECT attstattarget FROM pg_attribute WHERE attrelid = 'x'::regclass AND attnum = 2"
    assert table.value(target) == 321


def test_a_view_that_is_redefined_keeps_the_statistics_targets_of_its_indexes(table: Database) -> None:
    view = {
        "name": "v",
        "query": "SELECT b, c FROM t",
        "indexes": [{"name": "v_x", "columns": [{"expression": "b+1"}]}],
    }
    table.settle(materialized_views=[view])
    table.execute("ALTER INDEX v_x ALTER COLUMN 1 SET STATISTICS 55; CREATE INDEX by_hand ON v (lower(c))")
    table.execute("ALTER INDEX by_hand ALTER COLUMN 1 SET STATISTICS 66")
    table.settle(materialized_views=[{**view, "query": "SELECT b, c, a FROM t"}])
    targets = (
        "SELECT attrelid::regclass::text, attstattarget FROM pg_attribute WHERE attstattarget IN (55, 66) ORDER BY 1"
    )
    assert table.rows(targets) == [("by_hand", 66), ("v_x", 55)]


def test_parameters_of_a_partitioned_index_are_changed_by_building_it_again(parts: Database) -> None:
    done = parts.settle(**on_p("ts", "a", unique=True, storage_parameters={"deduplicate_items": False}))
    assert done.said == [("public.p_key", "replace")]
    options = "SELECT count(*) FROM pg_class WHERE reloptions = '{deduplicate_items=off}' AND relkind IN ('i', 'I')"
    assert parts.value(options) == 3


def test_a_partitioned_replacement_keeps_what_its_parts_are(parts: Database) -> None:
    parts.execute(
        """
        ALTER TABLE p_1 CLUSTER ON p_1_ts_a_idx; ALTER TABLE p_2 REPLICA IDENTITY USING INDEX p_2_ts_a_idx;
        ALTER TABLE p REPLICA IDENTITY USING INDEX p_key; COMMENT ON INDEX p_1_ts_a_idx IS 'of January';
        """
    )
    done = parts.settle(**on_p("ts", "a", unique=True, include=["c"]))
    assert done.said == [("public.p_key", "replace")]
    facts = """
        SELECT i.indrelid::regclass::text, i.indisclustered, i.indisreplident, obj_description(i.indexrelid)
        FROM pg_index i WHERE i.indrelid::regclass::text IN ('p', 'p_1', 'p_2') ORDER BY 1
    """
    assert parts.rows(facts) == [
        ("p", False, True, "[managed by postgresql_optimization]"),
        ("p_1", True, False, "of January"),
        ("p_2", False, True, None),
    ]
    locks = done.actions[0]["locks"]
    assert {"ACCESS EXCLUSIVE on public.p_1", "ACCESS EXCLUSIVE on public.p_2"} <= set(locks)


def test_a_partitioned_index_is_not_replaced_by_parts_that_cannot_be_what_they_are(parts: Database) -> None:
    parts.execute("ALTER TABLE p_2 REPLICA IDENTITY USING INDEX p_2_ts_a_idx")
    before = parts.snapshot()
    done = parts.optimise(**on_p("ts", "a"))
    assert done.failed
    assert "differs, and of public.p_2 it is the table's replica identity" in done.msg
    assert parts.snapshot() == before


def test_expressions_on_partitions_have_statistics(parts: Database) -> None:
    parts.settle(indexes=[{"name": "p_lower", "table": "p", "columns": [{"expression": "lower(c)"}]}])
    assert parts.value("SELECT count(*) FROM pg_stats WHERE tablename ~ '__pgopt_part_'") == 2


def test_what_belongs_to_another_is_refused_before(table: Database) -> None:
    table.execute(
        """
        CREATE TABLE strange (a int, b int); ALTER TABLE strange OWNER TO stranger;
        CREATE INDEX of_strange ON strange (a); COMMENT ON INDEX of_strange IS '[managed by postgresql_optimization]';
        CREATE STATISTICS of_both ON a, b FROM strange; ALTER STATISTICS of_both OWNER TO stranger;
        COMMENT ON STATISTICS of_both IS '[managed by postgresql_optimization]';
        CREATE MATERIALIZED VIEW v AS SELECT 1 AS a; ALTER MATERIALIZED VIEW v OWNER TO stranger;
        COMMENT ON MATERIALIZED VIEW v IS '[managed by postgresql_optimization]';
        """
    )
    before = table.snapshot()
    absent = {
        "indexes": [{"name": "of_strange", "table": "strange", "state": "absent"}],
        "statistics": [{"name": "of_both", "table": "strange", "state": "absent"}],
    }
    check, done = table.optimise(check=True, **absent), table.optimise(**absent)
    assert (check.failed, done.msg) == (True, check.msg)
    assert {problem["object"] for problem in done.result["problems"]} == {
        "index public.of_strange",
        "statistics public.of_both",
    }
    pruned = table.settle(prune=True)
    assert pruned.actions == []
    assert [text for text in pruned.result["warnings"] if "belongs to stranger" in text] == [
        "materialized view public.v is not pruned: it belongs to stranger",
        "index public.of_strange is not pruned: it belongs to stranger",
        "statistics public.of_both is not pruned: it belongs to stranger",
    ]
    assert table.snapshot() == before


def test_statistics_in_a_schema_where_the_role_may_not_create_are_refused_before(table: Database) -> None:
    table.execute("CREATE SCHEMA closed; GRANT USAGE ON SCHEMA closed TO owner; CREATE TABLE closed.t (a int, b int)")
    table.execute("ALTER TABLE closed.t OWNER TO owner")
    declared = {"statistics": [{"name": "s", "schema": "closed", "table": "t", "columns": ["a", "b"]}]}
    check, done = table.optimise(check=True, **declared), table.optimise(**declared)
    assert (check.failed, done.msg) == (True, check.msg)
    assert "statistics closed.s: owner may not create in schema closed" in done.msg


def test_parameters_of_toast_tables_are_set_where_a_partition_has_one(db: Database) -> None:
    db.execute(
        """
        SET ROLE owner;
        CREATE TABLE p (a int, b text) PARTITION BY LIST (a);
        CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1);
        ALTER TABLE ONLY p ALTER COLUMN b SET STORAGE PLAIN;
        CREATE TABLE p_2 PARTITION OF p FOR VALUES IN (2);
        CREATE TABLE without (a int) PARTITION BY LIST (a);
        CREATE TABLE without_1 PARTITION OF without FOR VALUES IN (1);
        RESET ROLE;
        """
    )
    done = db.settle(table_parameters=[{"table": "p", "parameters": {"toast.autovacuum_enabled": False}}])
    assert done.said == [("public.p_1", "alter")]
    done = db.optimise(table_parameters=[{"table": "without", "parameters": {"toast.autovacuum_enabled": False}}])
    assert "no TOAST table" in done.msg
