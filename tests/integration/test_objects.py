"""What becomes of indexes, constraints, partitions, views and statistics that are there already."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from ansible.module_utils.pg_optimization import batch
from conftest import Database

TABLE = """
SET ROLE owner;
CREATE TABLE t (id serial PRIMARY KEY, a int NOT NULL, b int, c text, CONSTRAINT t_ab UNIQUE (a, b));
INSERT INTO t (a, b, c) SELECT n, n % 10, 'c' || n FROM generate_series(1, 1000) n;
ANALYZE t;
RESET ROLE;
"""
KEYS: list[tuple[str, list[str]]] = [("x", ["b"]), ("t_ab", ["a", "b"])]
MARK = "[managed by postgresql_optimization]"


@pytest.fixture
def table(db: Database) -> Database:
    db.execute(TABLE)
    return db


def comment(db: Database, name: str) -> str | None:
    return db.value("SELECT obj_description(%s::regclass, 'pg_class')", (name,))  # type: ignore[no-any-return]


def index(name: str, *columns: Any, **options: Any) -> dict[str, Any]:
    return {"name": name, "table": "t", "columns": list(columns), **options}


def make_invalid(db: Database, name: str, column: str = "b") -> None:
    """Leave an INVALID index, as a unique build over duplicates does."""
    with pytest.raises(Exception, match="could not create unique index"):
        db.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON t ({column})")
    assert db.value("SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass", (name,)) is False


def test_an_invalid_index_is_built_again(table: Database) -> None:
    make_invalid(table, "x")
    table.execute("UPDATE t SET b = a")
    done = table.settle(indexes=[index("x", "b", unique=True)])
    assert done.said == [("public.x", "rebuild")]
    assert "INVALID" in done.actions[0]["reason"]
    assert table.rows("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid") == []
    assert table.definition("x") == "CREATE UNIQUE INDEX x ON public.t USING btree (b)"


def test_an_invalid_index_of_another_definition_is_replaced(table: Database) -> None:
    make_invalid(table, "x")
    done = table.settle(indexes=[index("x", "c")])
    assert done.said == [("public.x", "rebuild")]
    assert table.rows("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid") == []


def test_what_is_made_carries_the_mark_behind_the_comment(table: Database) -> None:
    table.settle(indexes=[index("x", "b", comment="It's for b"), index("y", "c")])
    assert comment(table, "x") == f"It's for b {MARK}"
    assert comment(table, "y") == MARK


def test_what_is_found_equal_is_not_marked(table: Database) -> None:
    table.execute("CREATE INDEX x ON t (b)")
    assert not table.settle(indexes=[index("x", "b")]).changed
    assert comment(table, "x") is None


def test_a_replacement_keeps_a_comment_that_is_not_declared(table: Database) -> None:
    table.execute("CREATE INDEX x ON t (b); COMMENT ON INDEX x IS 'by hand'")
    table.settle(indexes=[index("x", "c")])
    assert comment(table, "x") == f"by hand {MARK}"


def test_a_replacement_keeps_clustering_and_replica_identity(table: Database) -> None:
    table.execute("CREATE UNIQUE INDEX x ON t (a); ALTER TABLE t CLUSTER ON x, REPLICA IDENTITY USING INDEX x")
    table.settle(indexes=[index("x", "a", unique=True, include=["c"])])
    assert table.rows(
        "SELECT indisclustered, indisreplident FROM pg_index WHERE indexrelid = 'x'::regclass",
    ) == [(True, True)]


def test_a_parameter_that_shapes_no_page_is_altered(table: Database) -> None:
    table.execute("CREATE INDEX x ON t (b)")
    before = table.value("SELECT 'x'::regclass::oid")
    done = table.settle(indexes=[index("x", "b", storage_parameters={"deduplicate_items": False})])
    assert done.said == [("public.x", "alter")]
    assert table.value("SELECT 'x'::regclass::oid") == before


def test_an_absent_index_goes_and_stays_away(table: Database) -> None:
    table.execute("CREATE INDEX x ON t (b)")
    done = table.settle(indexes=[index("x", state="absent")])
    assert done.said == [("public.x", "drop")]


def test_an_index_that_a_constraint_has_is_found_equal(table: Database) -> None:
    assert not table.settle(indexes=[index("t_ab", "a", "b", unique=True), index("t_pkey", "id", unique=True)]).changed


@pytest.mark.parametrize(
    ("name", "declared", "definition"),
    [
        pytest.param("t_ab", index("t_ab", "a", "b", "c", unique=True), "UNIQUE (a, b, c)", id="unique"),
        pytest.param("t_ab", index("t_ab", "a", unique=True, include=["b"]), "UNIQUE (a) INCLUDE (b)", id="include"),
        pytest.param("t_pkey", index("t_pkey", "id", "a", unique=True), "PRIMARY KEY (id, a)", id="primary key"),
    ],
)
def test_the_index_of_a_constraint_is_exchanged_with_it(
    table: Database, name: str, declared: dict[str, Any], definition: str
) -> None:
    table.execute(f"COMMENT ON CONSTRAINT {name} ON t IS 'kept'; COMMENT ON INDEX {name} IS 'kept too'")
    done = table.settle(indexes=[declared])
    assert done.said == [(f"public.{name}", "replace")]
    found = table.rows(
        "SELECT pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE conname = %s",
        (name,),
    )
    assert found == [(definition, "kept")]
    assert comment(table, name) == "kept too"


def test_a_deferrable_constraint_stays_deferrable(table: Database) -> None:
    table.execute("ALTER TABLE t DROP CONSTRAINT t_ab, ADD CONSTRAINT t_ab UNIQUE (a, b) DEFERRABLE INITIALLY DEFERRED")
    table.settle(indexes=[index("t_ab", "a", "c", unique=True)])
    assert table.value("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 't_ab'") == (
        "UNIQUE (a, c) DEFERRABLE INITIALLY DEFERRED"
    )


def test_duplicates_are_named_and_nothing_is_lost(table: Database) -> None:
    table.execute("CREATE INDEX x ON t (b)")
    done = table.optimise(indexes=[index("x", "b", unique=True)])
    assert done.failed
    assert done.result["sqlstate"] == "23505"
    assert "Key (b)=(" in done.msg
    assert "CREATE UNIQUE INDEX CONCURRENTLY" in done.result["statement"]
    assert table.definition("x") == "CREATE INDEX x ON public.t USING btree (b)"
    assert table.settle(indexes=[index("x", "b")]).said == [("public.x", "clean")]
    assert table.rows("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid") == []


def test_only_what_is_marked_is_pruned_and_only_when_asked(table: Database) -> None:
    table.execute("CREATE INDEX by_hand ON t (b); COMMENT ON INDEX by_hand IS 'mine'")
    whole: dict[str, Any] = {
        "indexes": [index("kept", "b", "c"), index("goes", "c", "b")],
        "materialized_views": [
            {"name": "v", "query": "SELECT a FROM t", "indexes": [{"name": "v_a", "columns": ["a"]}]},
            {"name": "stood_on", "query": "SELECT b FROM t"},
        ],
        "statistics": [{"name": "s", "table": "t", "columns": ["a", "b"]}],
    }
    table.settle(**whole)
    table.execute("CREATE VIEW on_it AS SELECT * FROM stood_on")
    less = {"indexes": [index("kept", "b", "c")]}
    done = table.settle(**less)
    assert not done.changed
    assert done.result["undeclared"] == ["public.by_hand", "public.goes"]
    done = table.settle(**less, prune=True)
    assert done.said == [("public.v", "prune"), ("public.goes", "prune"), ("public.s", "prune")]
    assert [text for text in done.result["warnings"] if "stood_on is not pruned: view public.on_it" in text]
    assert table.value("SELECT to_regclass('by_hand') IS NOT NULL AND to_regclass('stood_on') IS NOT NULL")


def test_an_index_that_moves_to_another_table_is_moved_only_if_it_is_ours(table: Database) -> None:
    table.execute("SET ROLE owner; CREATE TABLE o (b int); RESET ROLE")
    table.settle(indexes=[index("x", "b")])
    done = table.settle(indexes=[{"name": "x", "table": "o", "columns": ["b"]}])
    assert done.said == [("public.x", "replace")]
    assert table.definition("x") == "CREATE INDEX x ON public.o USING btree (b)"


def test_a_redundant_declaration_and_a_stranger_are_warned_of(table: Database) -> None:
    table.execute("CREATE INDEX by_hand ON t (c, b)")
    done = table.settle(indexes=[index("short", "b"), index("long", "b", "c"), index("again", "b", "c")])
    assert done.result["warnings"] == [
        "index public.short is redundant: its key is the beginning of the key of public.long",
        "index public.again has the same definition as public.long",
        "public.t has indexes outside of the declaration: by_hand",
    ]


def test_a_declared_index_that_a_constraint_or_a_strange_index_makes_redundant_is_warned_of(table: Database) -> None:
    table.execute("CREATE INDEX by_hand ON t (c, b); CREATE INDEX begins ON t (b)")
    done = table.settle(indexes=[index("of_key", "a"), index("of_hand", "c"), index("whole", "b", "c")])
    about = "is redundant: its key is the beginning of the key of"
    assert [text for text in done.result["warnings"] if about in text] == [
        f"index public.of_key {about} public.t_ab, of the constraint t_ab",
        f"index public.of_hand {about} public.by_hand, which is not declared",
        f"index public.begins, which is not declared {about} public.whole",
    ]


def test_what_is_on_declared_tables_and_nobody_declared_is_warned_of(db: Database) -> None:
    db.execute(
        """
        SET ROLE owner;
        CREATE TABLE p (a int, b int) PARTITION BY LIST (a);
        CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1);
        CREATE INDEX on_part ON p_1 (b); CREATE INDEX other_ccnew ON p_1 (a, b);
        CREATE STATISTICS known ON a, b FROM p; CREATE STATISTICS unknown ON a, b FROM p;
        CREATE MATERIALIZED VIEW declared AS SELECT a FROM p; CREATE MATERIALIZED VIEW reader AS SELECT b FROM p;
        RESET ROLE;
        UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'other_ccnew'::regclass;
        """
    )
    done = db.settle(
        indexes=[{"name": "x", "table": "p", "columns": ["b"]}],
        statistics=[{"name": "known", "table": "p", "columns": ["a", "b"]}],
        materialized_views=[{"name": "declared", "query": "SELECT a FROM p"}],
    )
    assert done.result["warnings"] == [
        "public.p_1 has indexes outside of the declaration: on_part, other_ccnew",
        "index public.other_ccnew is INVALID: an interrupted REINDEX left it, and its index is not declared",
        "public.p has extended statistics outside of the declaration: unknown",
        "public.p has materialized views outside of the declaration: reader",
    ]


PARTITIONED = """
SET ROLE owner;
CREATE TABLE p (ts date NOT NULL, a int, b text, PRIMARY KEY (ts, a)) PARTITION BY RANGE (ts);
CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM ('2025-01-01') TO ('2025-02-01');
CREATE TABLE p_2 PARTITION OF p FOR VALUES FROM ('2025-02-01') TO ('2025-03-01') PARTITION BY LIST (a);
CREATE TABLE p_2_x PARTITION OF p_2 FOR VALUES IN (1, 2, 3);
CREATE TABLE p_2_y PARTITION OF p_2 DEFAULT;
INSERT INTO p SELECT date '2025-01-01' + n % 59, n, 'b' || n FROM generate_series(1, 500) n;
ANALYZE p;
RESET ROLE;
"""


def parts(db: Database, name: str) -> list[tuple[str, bool]]:
    """Return the tables of an index's parts, and whether each is valid."""
    return db.rows(
        "SELECT i.indrelid::regclass::text, i.indisvalid FROM pg_partition_tree(%s::regclass) t "
        "JOIN pg_index i ON i.indexrelid = t.relid ORDER BY 1",
        (name,),
    )


ALL_PARTS = [("p", True), ("p_1", True), ("p_2", True), ("p_2_x", True), ("p_2_y", True)]


def on_p(*columns: Any, **options: Any) -> dict[str, Any]:
    return {"name": "x", "table": "p", "columns": list(columns), **options}


def test_a_partitioned_table_gets_its_index_part_by_part(db: Database) -> None:
    db.execute(PARTITIONED)
    done = db.settle(indexes=[on_p("b", comment="Parts")])
    assert done.said == [("public.x", "create")]
    assert [text for text in done.statements if "CONCURRENTLY" in text] != []
    assert [
        text for text in done.statements if "CREATE INDEX" in text and "CONCURRENTLY" not in text and "ONLY" not in text
    ] == []
    assert parts(db, "x") == ALL_PARTS
    assert comment(db, "x") == f"Parts {MARK}"


EQUAL_PARTS = """
SET ROLE owner;
CREATE SCHEMA "Parts";
CREATE TABLE q (id int, at date, v int, w int) PARTITION BY RANGE (at);
CREATE TABLE q1 PARTITION OF q FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE "Parts"."Q2" PARTITION OF q FOR VALUES FROM ('2024-02-01') TO ('2024-03-01') PARTITION BY RANGE (at);
CREATE TABLE q3 PARTITION OF "Parts"."Q2" FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
CREATE INDEX q1_v ON q1 (v); CREATE INDEX "Odd" ON q3 (v);
CREATE INDEX q_id ON ONLY q (id); CREATE INDEX q1_id ON q1 (id); CREATE INDEX q3_id ON q3 (id);
ALTER INDEX q_id ATTACH PARTITION q1_id;
CREATE UNIQUE INDEX q1_w ON q1 (w, at); CREATE INDEX q3_w ON q3 (w);
RESET ROLE;
"""


def test_equal_indexes_of_partitions_become_the_parts(db: Database) -> None:
    db.execute(EQUAL_PARTS)
    declared = [{"name": f"q_{column}", "table": "q", "columns": [column]} for column in ("v", "id")]
    before = db.value("SELECT count(*) FROM pg_indexes WHERE tablename IN ('q1', 'q3')")
    done = db.settle(indexes=declared)
    assert done.said == [("public.q_v", "create"), ("public.q_id", "complete")]
    assert not any("CONCURRENTLY" in statement for statement in done.statements)
    assert db.value("SELECT count(*) FROM pg_indexes WHERE tablename IN ('q1', 'q3')") == before
    assert db.rows("SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid = 'q'::regclass") == [(True,)]
    done = db.settle(indexes=[*declared, {"name": "q_w", "table": "q", "columns": ["w"]}])
    assert (
        len([statement for statement in done.statements if "CONCURRENTLY" in statement]) == 1
    )  # the unique one is none


TAKEN = {
    "two that are equal": [
        {"name": "q_v", "table": "q", "columns": ["v"]}, {"name": "q_o", "table": "q", "columns": ["v"]}
    ],
    "one that is declared by itself": [
        {"name": "q_v", "table": "q", "columns": ["v"]}, {"name": "q1_v", "table": "q1", "columns": ["v"]}
    ],
    "one that goes": [
        {"name": "q_v", "table": "q", "columns": ["v"]}, {"name": "q1_v", "table": "q1", "state": "absent"}
    ],
}  # fmt: skip


@pytest.mark.parametrize("declared", TAKEN.values(), ids=TAKEN)
def test_what_is_declared_otherwise_is_no_part(db: Database, declared: list[dict[str, Any]]) -> None:
    db.execute(EQUAL_PARTS)
    db.settle(indexes=declared)
    assert db.value("SELECT count(*) FROM pg_inherits WHERE inhrelid = to_regclass('q1_v')") == 0


def test_what_a_run_left_on_a_table_that_is_not_declared_is_warned_of_and_pruned(db: Database) -> None:
    db.execute(
        "SET ROLE owner; CREATE SCHEMA s; CREATE TABLE s.t (id int, a int); INSERT INTO s.t VALUES (1, 1), (2, 1);"
        "CREATE TABLE u (id int); RESET ROLE"
    )
    failing = {"name": "T_A", "schema": "s", "table": "t", "columns": ["a"], "unique": True}
    assert db.optimise(indexes=[failing]).failed
    other = {"name": "u_id", "table": "u", "columns": ["id"]}
    warned = db.settle(indexes=[other]).result["warnings"]
    assert any("is left of an interrupted run on s.t, which is not declared" in text for text in warned), warned
    done = db.settle(indexes=[other], prune=True)
    assert [action for _, action in done.said] == ["clean"]
    assert db.value("SELECT count(*) FROM pg_class WHERE relname ~ '__pgopt_'") == 0


@pytest.mark.parametrize(
    ("made", "declared"), [("false", False), ("off", "OFF"), ("no", "false"), ("on", True), ("auto", "Auto")]
)
def test_cleanup_of_indexes_is_one_value_in_its_words(db: Database, made: str, declared: Any) -> None:
    db.execute(
        f"SET ROLE owner; CREATE TABLE c (a text); ALTER TABLE c SET (vacuum_index_cleanup = {made}, "
        f"toast.vacuum_index_cleanup = {made}); RESET ROLE"
    )
    names = ("vacuum_index_cleanup", "toast.vacuum_index_cleanup")
    done = db.optimise(table_parameters=[{"table": "c", "parameters": dict.fromkeys(names, declared)}])
    assert not done.failed, done.msg
    assert not done.changed, done.actions


def test_a_partitioned_index_that_differs_is_replaced(db: Database) -> None:
    db.execute(PARTITIONED + "CREATE INDEX x ON p (b)")
    done = db.settle(indexes=[on_p({"name": "b", "order": "desc"})])
    assert done.said == [("public.x", "replace")]
    assert parts(db, "x") == ALL_PARTS
    assert db.value("SELECT count(*) FROM pg_index WHERE indrelid = 'p_2_x'::regclass") == 2


def test_an_incomplete_partitioned_index_is_completed(db: Database) -> None:
    db.execute(
        PARTITIONED + "CREATE INDEX x ON ONLY p (b); CREATE INDEX x_1 ON p_1 (b); ALTER INDEX x ATTACH PARTITION x_1"
    )
    done = db.settle(indexes=[on_p("b")])
    assert done.said == [("public.x", "complete")]
    assert parts(db, "x") == ALL_PARTS


def test_a_partitioned_index_with_an_invalid_part_is_built_again(db: Database) -> None:
    db.execute(PARTITIONED)
    db.settle(indexes=[on_p("b")])
    db.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'x'::regclass OR indexrelid = "
        "(SELECT inhrelid FROM pg_inherits JOIN pg_index ON indexrelid = inhrelid "
        "WHERE inhparent = 'x'::regclass AND indrelid = 'p_1'::regclass)"
    )
    done = db.settle(indexes=[on_p("b")])
    assert done.said == [("public.x", "rebuild")]
    assert parts(db, "x") == ALL_PARTS
    assert db.value("SELECT count(*) FROM pg_index WHERE indrelid = 'p_1'::regclass") == 2


def test_a_partition_made_later_has_the_index_and_is_no_difference(db: Database) -> None:
    db.execute(PARTITIONED)
    db.settle(indexes=[on_p("b")])
    db.execute("SET ROLE owner; CREATE TABLE p_3 PARTITION OF p FOR VALUES FROM ('2025-03-01') TO ('2025-04-01')")
    assert not db.settle(indexes=[on_p("b")]).changed


def test_a_unique_index_without_the_partition_key_is_refused(db: Database) -> None:
    db.execute(PARTITIONED)
    done = db.optimise(indexes=[on_p("a", unique=True)])
    assert done.failed
    assert "index public.x: unique constraint on partitioned table must include all partitioning columns" in done.msg


@pytest.mark.parametrize(
    ("constraint", "reason"),
    [
        ("PRIMARY KEY (ts)", "a partition keeps the primary key that it has"),
        ("UNIQUE (ts) DEFERRABLE", "it is DEFERRABLE"),
    ],
)
def test_a_constraint_of_a_partitioned_table_that_cannot_be_exchanged_is_refused(
    db: Database, constraint: str, reason: str
) -> None:
    db.execute(f"SET ROLE owner; CREATE TABLE q (ts date NOT NULL, a int, CONSTRAINT q_key {constraint})"
               " PARTITION BY RANGE (ts); RESET ROLE")  # fmt: skip
    done = db.optimise(indexes=[{"name": "q_key", "table": "q", "columns": ["ts"], "unique": True, "include": ["a"]}])
    assert done.failed
    assert f"backs the constraint q_key of a partitioned table and differs: {reason}" in done.msg


def test_a_part_of_a_partitioned_index_is_not_replaced_alone(db: Database) -> None:
    db.execute(PARTITIONED + "CREATE INDEX x ON p (b)")
    declared = {"name": "p_1_b_idx", "table": "p_1", "columns": ["a"]}
    done = db.optimise(indexes=[declared])
    assert done.failed
    assert "is a part of index public.x" in done.msg
    assert not db.settle(indexes=[{**declared, "columns": ["b"]}]).changed


def test_an_invalid_index_of_a_constraint_is_built_again_in_place(table: Database) -> None:
    table.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_ab'::regclass")
    done = table.settle(indexes=[index("t_ab", "a", "b", unique=True)])
    assert done.said == [("public.t_ab", "rebuild")]
    assert [text for text in done.statements if text.startswith("REINDEX INDEX CONCURRENTLY")] != []
    assert table.value("SELECT indisvalid FROM pg_index WHERE indexrelid = 't_ab'::regclass")


@pytest.fixture
def fast(table: Database) -> Iterator[str]:
    folder = table.server.home / f"tablespace-{table.name}"
    folder.mkdir()
    if table.server.user is not None:
        os.chown(folder, table.server.user.pw_uid, table.server.user.pw_gid)
    name = f"fast {table.name}"
    table.execute(f"""CREATE TABLESPACE "{name}" OWNER owner LOCATION '{folder}'""")
    yield name
    table.execute("DROP MATERIALIZED VIEW IF EXISTS v; DROP TABLE t")
    table.execute(f'DROP TABLESPACE "{name}"')


def test_what_is_in_another_tablespace_is_moved(table: Database, fast: str) -> None:
    def declared(tablespace: str | None) -> dict[str, Any]:
        return {
            "indexes": [index(name, *columns, unique=name == "t_ab", tablespace=tablespace) for name, columns in KEYS],
            "materialized_views": [{"name": "v", "query": "SELECT a FROM t", "tablespace": tablespace}],
        }

    table.settle(**declared(None))
    done = table.settle(**declared(fast))
    assert done.said == [("public.x", "replace"), ("public.t_ab", "rebuild"), ("public.v", "replace")]
    where = """
        SELECT DISTINCT spcname FROM pg_class LEFT JOIN pg_tablespace s ON s.oid = reltablespace
        WHERE relname = ANY (%s)
    """
    assert table.rows(where, (["x", "t_ab", "v"],)) == [(fast,)]
    assert not table.settle(**declared(None)).changed
    table.settle(**declared("pg_default"))
    assert table.rows(where, (["x", "t_ab", "v"],)) == [(None,)]


def test_statistics_targets_and_parameters_follow_the_declaration(table: Database) -> None:
    first: dict[str, Any] = {
        "statistics": [
            {"name": "s", "table": "t", "columns": ["a", "b"], "comment": "Both"},
            {"name": "e", "table": "t", "columns": ["c"], "expressions": ["a + b", "lower( C )"], "kinds": ["mcv"]},
        ],
        "column_statistics": [{"table": "t", "column": "a", "target": 200}],
        "table_parameters": [{"table": "t", "parameters": {"fillfactor": 80, "toast.autovacuum_enabled": False}}],
    }
    table.settle(**first)
    # pg_stats_ext has a row only for what ANALYZE has filled.
    assert table.value("SELECT count(*) FROM pg_stats_ext WHERE tablename = 't'") == 2
    second: dict[str, Any] = {
        "statistics": [
            {"name": "s", "table": "t", "columns": ["b", "a"], "kinds": ["ndistinct"], "target": 50, "comment": "Both"},
            {"name": "e", "table": "t", "state": "absent"},
        ],
        "column_statistics": [{"table": "t", "column": "a", "target": -1}],
        "table_parameters": [{"table": "t", "parameters": {"fillfactor": None, "autovacuum_enabled": "false"}}],
    }
    done = table.settle(**second)
    assert done.said == [
        ("public.t", "alter"),
        ("public.s", "replace"),
        ("public.e", "drop"),
        ("public.t", "alter"),
    ]
    assert table.value("SELECT reloptions FROM pg_class WHERE relname = 't'") == ["autovacuum_enabled=false"]
    assert table.value("SELECT obj_description(oid, 'pg_statistic_ext') FROM pg_statistic_ext") == f"Both {MARK}"


def test_a_run_that_changes_nothing_is_one_connection_and_few_queries(
    table: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = [index(f"x{n}", "a", {"expression": f"b + {n}"}) for n in range(9)]
    table.settle(indexes=declared)
    opened: list[Any] = []
    connect = psycopg2.connect
    monkeypatch.setattr(psycopg2, "connect", lambda **parameters: opened.append(parameters) or connect(**parameters))
    done = table.optimise(indexes=declared)
    assert not done.changed
    assert len(opened) == 1
    # Connection and settings 6, catalog 6, the transaction of the twins 6, however many indexes there are.
    assert done.result["query_count"] <= 18


def test_what_a_role_may_not_do_is_said(table: Database) -> None:
    done = table.optimise(login_user="stranger", indexes=[index("x", "b")])
    assert done.failed
    assert "table public.t belongs to owner, and stranger is not a member of that role" in done.msg
    table.execute(f"REVOKE TEMPORARY ON DATABASE {table.name} FROM PUBLIC")
    done = table.optimise(login_user="stranger", indexes=[index("x", "b")])
    assert "grant it TEMPORARY on the database" in done.msg


def test_a_session_role_owns_what_is_made(table: Database) -> None:
    view = {"name": "v", "query": "SELECT a FROM t"}
    done = table.settle(login_user="postgres", session_role="owner", materialized_views=[view])
    assert done.result["role"] == "owner"
    assert table.value("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'v'") == "owner"


EXTENSION = """
SET ROLE owner;
CREATE TABLE e (id int PRIMARY KEY, n text);
CREATE INDEX e_n ON e (n); CREATE INDEX other ON e (n);
CREATE MATERIALIZED VIEW ev AS SELECT id, n FROM e; CREATE INDEX ev_n ON ev (n); CREATE INDEX ev_own ON ev (id);
RESET ROLE;
ALTER INDEX e_n DEPENDS ON EXTENSION plpgsql;
ALTER INDEX e_pkey DEPENDS ON EXTENSION plpgsql;
ALTER MATERIALIZED VIEW ev DEPENDS ON EXTENSION plpgsql; ALTER INDEX ev_n DEPENDS ON EXTENSION plpgsql;
ALTER INDEX ev_own DEPENDS ON EXTENSION plpgsql;
"""
GOES_WITH = """
SELECT x.objid::regclass::text, e.extname FROM pg_depend x JOIN pg_extension e ON e.oid = x.refobjid
WHERE x.deptype = 'x' ORDER BY 1, 2
"""


def test_what_is_exchanged_goes_with_the_extensions_as_before(db: Database) -> None:
    db.execute(EXTENSION)
    before = db.rows(GOES_WITH)
    assert len(before) == 5
    done = db.settle(
        indexes=[
            {"name": "e_n", "table": "e", "method": "hash", "columns": ["n"]},
            {"name": "e_pkey", "table": "e", "columns": ["id"], "unique": True, "include": ["n"]},
        ],
        materialized_views=[
            {
                "name": "ev", "query": "SELECT id, n FROM e WHERE id > 1",
                "indexes": [{"name": "ev_n", "columns": ["n", "id"]}],
            }
        ],
    )  # fmt: skip
    assert len(done.said) == 3
    assert db.rows(GOES_WITH) == before


def test_many_tables_are_looked_at_in_shares(db15: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MOST", 5)
    names = [f"many_{number}" for number in range(9)]
    db15.execute("SET ROLE owner;" + "".join(f"CREATE TABLE {name} (a int, b int);" for name in names) + "RESET ROLE")
    declared: dict[str, Any] = {
        "indexes": [{"name": f"{n}_{c}", "table": n, "columns": [c]} for n in names for c in "ab"],
        "statistics": [{"name": f"{n}_s", "table": n, "columns": ["a", "b"]} for n in names],
        "materialized_views": [{"name": "v", "query": "SELECT many_1.a FROM many_1, many_8"}],
    }
    assert len(db15.settle(**declared).said) == 28
    declared["materialized_views"].append({"name": "w", "query": "SELECT a FROM v"})
    declared["indexes"].append({"name": "wrong", "table": "many_4", "columns": [{"expression": "a +"}]})
    done = db15.optimise(**declared)
    assert [problem["object"] for problem in done.result["problems"]] == ["index public.wrong"]
    declared["indexes"].pop()
    assert db15.settle(**declared).said == [("public.w", "create")]
