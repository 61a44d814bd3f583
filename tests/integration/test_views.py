"""Materialized views: what a redefinition carries over, and what it is refused for."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Database

TABLE = """
SET ROLE owner;
CREATE TABLE t (id serial PRIMARY KEY, a int NOT NULL, b int, c text);
INSERT INTO t (a, b, c) SELECT n % 20, n, 'c' || n FROM generate_series(1, 500) n;
ANALYZE t;
RESET ROLE;
"""
MARK = "[managed by postgresql_optimization]"
FIRST = "SELECT a, count(*) AS n, max(c) AS c FROM t GROUP BY a"
SECOND = "SELECT a, count(*) AS n, max(c) AS c, sum(b) AS total FROM t WHERE b > 10 GROUP BY a"


def view(query: str, **options: Any) -> dict[str, Any]:
    return {
        "name": "v",
        "query": query,
        "indexes": [{"name": "v_key", "columns": ["a"], "unique": True}],
        "refresh": {"policy": "concurrently"},
        **options,
    }


@pytest.fixture
def made(db: Database) -> Database:
    db.execute(TABLE)
    db.settle(materialized_views=[view(FIRST, comment="By a")])
    return db


def test_a_redefinition_carries_everything_that_was_on_the_view(made: Database) -> None:
    made.execute(
        """
        SET ROLE owner;
        CREATE VIEW on_v WITH (security_barrier = true, security_invoker = on) AS SELECT a, n FROM v WHERE n > 0;
        CREATE VIEW on_on_v AS SELECT a FROM on_v;
        CREATE VIEW renamed (x, y) AS SELECT v.a, upper(v.c) FROM public.v JOIN t ON t.a = v.a;
        COMMENT ON VIEW on_v IS 'kept'; GRANT SELECT ON on_v TO reader;
        CREATE INDEX by_hand ON v (c text_pattern_ops DESC) WITH (fillfactor = 60) WHERE n > 1;
        COMMENT ON INDEX by_hand IS 'by hand';
        CREATE STATISTICS v_stats (ndistinct) ON a, n FROM v; ALTER STATISTICS v_stats SET STATISTICS 50;
        COMMENT ON STATISTICS v_stats IS 'some';
        GRANT SELECT ON v TO reader; GRANT SELECT (a) ON v TO writer WITH GRANT OPTION;
        COMMENT ON COLUMN v.n IS 'how many';
        ALTER MATERIALIZED VIEW v ALTER COLUMN a SET STATISTICS 77;
        ALTER MATERIALIZED VIEW v SET (autovacuum_enabled = off, fillfactor = 75);
        ALTER MATERIALIZED VIEW v CLUSTER ON v_key;
        RESET ROLE;
        """
    )
    facts = """
        SELECT (SELECT relacl::text FROM pg_class WHERE relname = 'v'),
               (SELECT reloptions::text FROM pg_class WHERE relname = 'v'),
               (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'v'),
               obj_description('v'::regclass), col_description('v'::regclass, 2),
               (SELECT attstattarget FROM pg_attribute WHERE attrelid = 'v'::regclass AND attname = 'a'),
               (SELECT attacl::text FROM pg_attribute WHERE attrelid = 'v'::regclass AND attname = 'a'),
               pg_get_viewdef('on_v'), pg_get_viewdef('on_on_v'), pg_get_viewdef('renamed'),
               (SELECT reloptions::text || relacl::text FROM pg_class WHERE relname = 'on_v'),
               obj_description('on_v'::regclass), pg_get_indexdef('by_hand'::regclass),
               obj_description('by_hand'::regclass), obj_description('v_key'::regclass),
               (SELECT indisclustered FROM pg_index WHERE indexrelid = 'v_key'::regclass),
               (SELECT pg_get_statisticsobjdef(oid) || stxstattarget || obj_description(oid, 'pg_statistic_ext')
                FROM pg_statistic_ext),
               to_regclass('v')::oid IS NULL
    """
    before = made.rows(facts)
    old = made.value("SELECT 'v'::regclass::oid")
    done = made.settle(materialized_views=[view(SECOND)])
    assert done.said == [("public.v", "replace")]
    assert made.rows(facts) == before
    assert made.value("SELECT 'v'::regclass::oid") != old
    assert made.value("SELECT sum(total) FROM v") == sum(range(11, 501))
    assert made.value("SELECT count(*) FROM on_on_v") == 20
    assert made.value("SELECT count(*) FROM pg_stats_ext") == 1
    assert made.rows("SELECT relname FROM pg_class WHERE relname LIKE '%pgopt%'") == []
    made.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY v")


def test_grants_by_default_privileges_are_not_given_in_addition(made: Database) -> None:
    made.execute("ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT SELECT ON TABLES TO stranger")
    made.settle(materialized_views=[view(SECOND)])
    assert made.value("SELECT has_table_privilege('stranger', 'v', 'SELECT')") is False
    assert made.value("SELECT has_table_privilege('owner', 'v', 'SELECT')") is True


def test_a_superuser_leaves_the_owner_as_it_is(made: Database) -> None:
    made.settle(login_user="postgres", materialized_views=[view(SECOND)])
    assert made.value("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'v'") == "owner"


def test_a_view_that_stands_on_it_and_would_change_is_refused_before(made: Database) -> None:
    made.execute("SET ROLE owner; CREATE VIEW on_v AS SELECT a, n FROM v; RESET ROLE")
    before = made.snapshot()
    done = made.optimise(materialized_views=[view("SELECT a, count(*)::int AS n, max(c) AS c FROM t GROUP BY a")])
    assert done.failed
    assert "view public.on_v stands on it and would change" in done.msg
    assert made.snapshot() == before


def test_a_view_of_another_owner_that_stands_on_it_is_refused_before(made: Database) -> None:
    made.execute("CREATE VIEW on_v AS SELECT a, n FROM v")
    before = made.snapshot()
    done = made.optimise(materialized_views=[view(SECOND)])
    assert done.failed
    assert "view public.on_v of postgres" in done.msg
    assert made.snapshot() == before


def test_an_index_made_by_hand_that_would_have_no_column_is_refused_before(made: Database) -> None:
    made.execute("SET ROLE owner; CREATE INDEX by_hand ON v (c); RESET ROLE")
    before = made.snapshot()
    done = made.optimise(materialized_views=[view("SELECT a, count(*) AS n FROM t GROUP BY a")])
    assert done.failed
    assert "index public.by_hand" in done.msg
    assert made.snapshot() == before


def test_an_index_made_by_hand_goes_with_its_column_when_it_is_declared_absent(made: Database) -> None:
    made.execute("SET ROLE owner; CREATE INDEX by_hand ON v (c); RESET ROLE")
    declared = view("SELECT a, count(*) AS n FROM t GROUP BY a")
    declared["indexes"] = [*declared["indexes"], {"name": "by_hand", "state": "absent"}]
    assert made.settle(materialized_views=[declared]).said == [("public.v", "replace")]
    assert made.value("SELECT to_regclass('by_hand')") is None


def test_a_view_without_rows_is_filled(db: Database) -> None:
    db.execute(TABLE + f"SET ROLE owner; CREATE MATERIALIZED VIEW v AS {FIRST} WITH NO DATA; RESET ROLE")
    done = db.settle(materialized_views=[view(FIRST)])
    assert done.said == [("public.v_key", "create"), ("public.v", "refresh")]
    assert db.value("SELECT count(*) FROM v") == 20


def test_a_view_that_is_not_to_be_filled_stays_empty(db: Database) -> None:
    db.execute(TABLE)
    db.settle(materialized_views=[view(FIRST, populate=False)])
    assert db.value("SELECT relispopulated FROM pg_class WHERE relname = 'v'") is False


def test_views_that_need_each_other_are_made_in_their_order(db: Database) -> None:
    db.execute(TABLE)
    views = [
        {"name": "third", "query": "SELECT a FROM second", "indexes": [{"name": "third_a", "columns": ["a"]}]},
        {"name": "second", "query": "SELECT * FROM first", "indexes": [{"name": "second_a", "columns": ["a"]}]},
        {"name": "first", "query": FIRST},
    ]
    done = db.settle(materialized_views=views, column_statistics=[{"table": "third", "column": "a", "target": 9}])
    assert [name for name, _ in done.said] == ["public.first", "public.second", "public.third", "public.third"]


def test_the_indexes_of_a_view_are_compared_like_those_of_a_table(made: Database) -> None:
    declared = view(FIRST)
    declared["indexes"] = [{"name": "v_key", "columns": ["a", "n"], "unique": True}]
    done = made.settle(materialized_views=[declared])
    assert done.said == [("public.v_key", "replace")]


def test_parameters_and_comment_are_set_in_place(made: Database) -> None:
    old = made.value("SELECT 'v'::regclass::oid")
    done = made.settle(materialized_views=[view(FIRST, comment="Other", storage_parameters={"fillfactor": 80})])
    assert done.said == [("public.v", "alter")]
    assert made.value("SELECT obj_description('v'::regclass)") == f"Other {MARK}"
    assert made.value("SELECT 'v'::regclass::oid") == old


def test_names_that_need_quotes_are_carried(db: Database) -> None:
    db.execute(
        """
        CREATE SCHEMA "S one"; ALTER SCHEMA "S one" OWNER TO owner;
        SET ROLE owner; CREATE TABLE "S one"."T" ("Key" int, "a""b" text); INSERT INTO "S one"."T" VALUES (1, 'x');
        """
    )
    declared = {
        "schema": "S one",
        "name": "My View",
        "query": 'SELECT "Key", "a""b" FROM "S one"."T"',
        "indexes": [{"name": "My Key", "columns": ["Key"], "unique": True}],
        "refresh": {"policy": "concurrently"},
    }
    db.settle(materialized_views=[declared])
    db.execute(
        """
        CREATE VIEW "S one"."On It" AS SELECT "a""b" AS "x y" FROM "S one"."My View";
        CREATE INDEX "By Hand" ON "S one"."My View" (("a""b" || 'x')) INCLUDE ("Key");
        GRANT SELECT ON "S one"."My View" TO PUBLIC; RESET ROLE;
        """
    )
    declared["query"] = 'SELECT "Key", "a""b", 1 AS one FROM "S one"."T"'
    db.settle(materialized_views=[declared])
    assert db.value('SELECT "x y" FROM "S one"."On It"') == "x"
    assert db.value("""SELECT has_table_privilege('stranger', '"S one"."My View"', 'SELECT')""") is True


def test_views_that_stand_on_a_changed_one_are_made_again_in_the_same_run(db: Database) -> None:
    db.execute(TABLE)

    def declared(query: str) -> list[dict[str, Any]]:
        return [
            {
                "name": "third",
                "query": "SELECT count(*) AS n FROM second",
                "indexes": [{"name": "third_n", "columns": ["n"], "unique": True}],
            },
            {"name": "second", "query": "SELECT a, n FROM public.first WHERE n > 1"},
            {"name": "first", "query": query, "indexes": [{"name": "first_a", "columns": ["a"], "unique": True}]},
        ]

    db.settle(materialized_views=declared(FIRST))
    db.execute(
        "SET ROLE owner; CREATE VIEW on_second AS SELECT s.a, f.n FROM second s JOIN first f USING (a); RESET ROLE"
    )
    db.execute("SET ROLE owner; CREATE INDEX by_hand ON first (n); CREATE STATISTICS of_first ON a, n FROM first")
    done = db.settle(materialized_views=declared(SECOND))
    assert done.said == [
        ("public.first", "replace"),
        ("public.second", "replace"),
        ("public.third", "replace"),
        (done.actions[3]["name"], "clean"),
        (done.actions[4]["name"], "clean"),
    ]
    assert "stands on materialized view public.first, which is redefined" in done.actions[1]["reason"]
    assert db.rows("SELECT relname FROM pg_class WHERE relname LIKE '%pgopt%'") == []
    assert db.value("SELECT count(*) FROM on_second") == 20
    assert db.definition("by_hand") == "CREATE INDEX by_hand ON public.first USING btree (n)"
