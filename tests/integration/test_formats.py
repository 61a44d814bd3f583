# ruff: noqa: S608 - tests make their own SQL
"""Values of a declaration are read as psql reads them: with the zone and the styles that the database has."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from conftest import Database

STYLES = {
    "zone": {"TimeZone": "America/New_York"},
    "zone beyond a day's line": {"TimeZone": "Pacific/Auckland"},
    "days before months": {"DateStyle": "SQL, DMY"},
    "months before days": {"DateStyle": "ISO, MDY"},
    "intervals of the standard": {"IntervalStyle": "sql_standard"},
    "all": {
        "TimeZone": "Asia/Kathmandu",
        "DateStyle": "German",
        "IntervalStyle": "sql_standard",
        "bytea_output": "escape",
    },
}
TABLE = """
CREATE TABLE t (id int, tz timestamptz, day date, i interval, ba bytea);
INSERT INTO t VALUES (1, '2024-06-01 12:00Z')
"""
WHERE = "tz > '2024-01-01' AND tz < '2024-02-03 04:05' AND day > '03.02.2024' AND i > '-1 2:00:00'"
SELECTED = "id, tz::text AS tz, date_trunc('day', tz) AS day, '\\x00ff'::bytea::text AS ba"
QUERY = f"SELECT {SELECTED} FROM t WHERE tz > '2024-01-01'"
INDEX = {"name": "x", "table": "t", "columns": ["id"], "where": WHERE}
VIEW = {"name": "v", "query": QUERY}
STATISTICS = {"name": "s", "table": "t", "expressions": ["tz > '2024-01-01'"]}
FACTS = """
SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET bytea_output = 'hex';
SELECT pg_get_indexdef('x'::regclass), pg_get_viewdef('v'::regclass),
       (SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext), (SELECT array_agg(v::text) FROM v)
"""


def _as_owner(db: Database, text: str) -> Any:
    """Run statements in a session of the owner's that sets nothing, as psql; return the rows of the last."""
    with contextlib.closing(db.connect("owner")) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(text)
        return cursor.fetchall() if cursor.description else []


def _make(db: Database) -> None:
    _as_owner(
        db,
        f"CREATE INDEX x ON t (id) WHERE {WHERE}; CREATE MATERIALIZED VIEW v AS {QUERY};"
        "CREATE STATISTICS s ON (tz > '2024-01-01') FROM t",
    )


@pytest.mark.parametrize("whose", ["DATABASE {0}", "ROLE owner IN DATABASE {0}"], ids=["database", "role"])
@pytest.mark.parametrize("styles", STYLES.values(), ids=STYLES)
def test_a_declaration_means_what_it_means_in_psql(db: Database, styles: dict[str, str], whose: str) -> None:
    for name, value in styles.items():
        db.execute(f"ALTER {whose.format(db.name)} SET {name} = '{value}'")
    _as_owner(db, TABLE)
    _make(db)
    declared = {"indexes": [INDEX], "materialized_views": [VIEW], "statistics": [STATISTICS]}
    done = db.optimise(**declared)
    assert (done.failed, done.msg, done.actions) == (False, "", [])
    made = _as_owner(db, FACTS)
    db.execute("DROP INDEX x; DROP MATERIALIZED VIEW v; DROP STATISTICS s")
    db.settle(**declared)
    assert _as_owner(db, FACTS) == made


def test_a_zone_that_is_given_goes_before(db15: Database) -> None:
    db15.execute(f"ALTER DATABASE {db15.name} SET TimeZone = 'America/New_York'")
    _as_owner(db15, TABLE)
    index = {**INDEX, "where": "tz > '2024-01-01'"}
    db15.settle(indexes=[index], session_settings={"timezone": "Asia/Tokyo"})
    assert "2023-12-31 15:00:00+00" in db15.value("SET TimeZone = 'UTC'; SELECT pg_get_indexdef('x'::regclass)")


def test_a_new_view_over_a_changed_one_is_read_in_the_zone_too(db15: Database) -> None:
    db15.execute(f"ALTER DATABASE {db15.name} SET TimeZone = 'America/New_York'")
    _as_owner(db15, TABLE)
    over = {"name": "w", "query": "SELECT id FROM v WHERE day > '2024-01-01'"}
    db15.settle(materialized_views=[VIEW, over])
    assert "2024-01-01 05:00:00+00" in db15.value("SET TimeZone = 'UTC'; SELECT pg_get_viewdef('w'::regclass)")
    db15.settle(materialized_views=[{**VIEW, "query": QUERY.replace("01-01", "01-02")}, over])
