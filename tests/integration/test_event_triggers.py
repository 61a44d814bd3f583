"""Databases whose event triggers refuse what is against a rule: they see the twins, which are nobody's tables."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Database

TABLES = """
SET ROLE owner;
CREATE TABLE t (id int, a int, b text, g int GENERATED ALWAYS AS (a + 1) STORED);
CREATE TABLE parted (id int, a int) PARTITION BY RANGE (a);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
RESET ROLE;
"""
KEYS = """
CREATE FUNCTION guard() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN
  FOR r IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE object_type = 'table' LOOP
    IF NOT EXISTS (SELECT FROM pg_index WHERE indrelid = r.objid AND indisprimary) THEN
      RAISE EXCEPTION 'table % has no primary key', r.object_identity; END IF;
  END LOOP; END $$;
CREATE EVENT TRIGGER guard ON ddl_command_end {} EXECUTE FUNCTION guard();
"""
NO_DROP = """
CREATE FUNCTION nodrop() RETURNS event_trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'nothing is dropped here'; END $$;
CREATE EVENT TRIGGER nodrop ON sql_drop EXECUTE FUNCTION nodrop();
"""
REFUSE = """
CREATE SCHEMA "Rules";
CREATE FUNCTION "Rules"."No"() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog
    AS $$ BEGIN RAISE EXCEPTION 'not by %', tg_tag USING HINT = 'Ask first.'; END $$;
CREATE EVENT TRIGGER "no ddl" ON ddl_command_start {} EXECUTE FUNCTION "Rules"."No"();
"""
DECLARED: dict[str, Any] = {
    "indexes": [
        {"name": "t_a", "table": "t", "columns": ["a", {"expression": "lower(b)"}], "unique": True},
        {"name": "t_g", "table": "t", "columns": ["g"]},
        {"name": "parted_id", "table": "parted", "columns": ["id"]},
    ],
    "materialized_views": [
        {"name": "m", "query": "SELECT id, a FROM t", "indexes": [{"name": "m_id", "columns": ["id"]}]},
        {"name": "n", "query": "SELECT m.id FROM public.m"},
    ],
    "statistics": [{"name": "s", "table": "t", "columns": ["a", "b"]}],
    "table_parameters": [
        {"table": "t", "parameters": {"fillfactor": 80}}, {"table": "parted", "parameters": {"fillfactor": 80}}
    ],
}  # fmt: skip


@pytest.fixture
def tables(db: Database) -> Database:
    db.execute(TABLES)
    return db


TAGS = {
    "CREATE TABLE": "WHEN TAG IN ('CREATE TABLE')",
    "tables by queries too": "WHEN TAG IN ('CREATE TABLE AS', 'SELECT INTO')",
}


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)
def test_a_rule_that_tables_have_a_primary_key_refuses_no_twin(tables: Database, tags: str) -> None:
    tables.execute(KEYS.format(tags))
    assert len(tables.settle(**DECLARED).said) == 8
    other = {**DECLARED, "materialized_views": [{**view} for view in DECLARED["materialized_views"]]}
    other["materialized_views"][0]["query"] = "SELECT id, a FROM t WHERE a > 1"
    assert tables.settle(**other).said[:2] == [("public.m", "replace"), ("public.n", "replace")]


def test_such_a_rule_about_each_statement_refuses_only_a_partitioned_table(tables: Database) -> None:
    tables.execute(KEYS.format("WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO')"))
    whole = {**DECLARED, "indexes": DECLARED["indexes"][:2], "table_parameters": DECLARED["table_parameters"][:1]}
    assert len(tables.settle(**whole).said) == 6
    done = tables.optimise(indexes=DECLARED["indexes"][2:])
    assert done.failed
    assert "table public.parted: event trigger guard refuses the temporary twin by which definitions" in done.msg


def test_a_rule_that_nothing_is_dropped_refuses_nothing_new(tables: Database) -> None:
    tables.execute(NO_DROP)
    tables.settle(**DECLARED)


REFUSED = {
    "each statement": ("", {"indexes": DECLARED["indexes"][:1]}, "table public.t", "SELECT INTO"),
    "CREATE INDEX": (
        "WHEN TAG IN ('CREATE INDEX')", {"indexes": DECLARED["indexes"][:1]}, "index public.t_a", "CREATE INDEX"
    ),
    "CREATE STATISTICS": (
        "WHEN TAG IN ('CREATE STATISTICS')", {"statistics": DECLARED["statistics"]}, "statistics public.s",
        "CREATE STATISTICS",
    ),
    "CREATE VIEW": (
        "WHEN TAG IN ('CREATE VIEW')", {"materialized_views": DECLARED["materialized_views"]},
        "materialized view public.m", "CREATE VIEW",
    ),
    "ALTER TABLE": (
        "WHEN TAG IN ('ALTER TABLE')", {"table_parameters": DECLARED["table_parameters"][:1]}, "table public.t",
        "ALTER TABLE",
    ),
    "what keeps a twin": (
        "WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO')",
        {"materialized_views": [{"name": "m", "query": "SELECT id, a FROM t"}]}, "materialized view public.m",
        "SELECT INTO",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("tags", "declared", "title", "tag"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_compared_is_refused_with_the_trigger(
    tables: Database, tags: str, declared: dict[str, Any], title: str, tag: str
) -> None:
    tables.execute(REFUSE.format(tags))
    before = tables.snapshot()
    done = tables.optimise(**declared)
    assert done.failed
    said = f"{title}: event trigger no ddl refuses the temporary twin by which definitions are compared: not by "
    assert f"{said}{tag}\nHINT: Ask first." in done.msg, done.msg
    assert "nothing was changed" in done.msg
    assert "have its function let pass what is in the schema pg_temp" in done.msg
    assert tables.snapshot() == before


def test_a_rule_about_the_work_itself_keeps_its_words(tables: Database) -> None:
    tables.execute(REFUSE.format("WHEN TAG IN ('CREATE MATERIALIZED VIEW')"))
    done = tables.optimise(materialized_views=[{"name": "m", "query": "SELECT id, a FROM t"}])
    assert done.failed
    assert done.msg.startswith("materialized view public.m: not by CREATE MATERIALIZED VIEW")
