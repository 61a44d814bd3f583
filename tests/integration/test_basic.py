"""The life of a declaration: made, found again, changed, pruned."""

from __future__ import annotations

from conftest import Database

BARS = """
SET ROLE owner;
CREATE TABLE bars (id serial PRIMARY KEY, symbol varchar(10) NOT NULL, time timestamp NOT NULL, open float8,
                   close float8, source varchar(20) DEFAULT 'yahoo', note text,
                   CONSTRAINT bars_unique UNIQUE (symbol, time, source));
INSERT INTO bars (symbol, time, open, close)
SELECT 'S' || s, timestamp '2025-01-01' + t * interval '1 hour', s + t, s * t
FROM generate_series(1, 20) s, generate_series(1, 50) t;
ANALYZE bars;
"""

WHOLE = {
    "indexes": [
        {"name": "bars_symbol_time", "table": "bars", "columns": ["symbol", {"name": "time", "order": "desc"}]},
        {
            "name": "bars_covering",
            "table": "bars",
            "columns": ["time"],
            "include": ["open", "close"],
            "comment": "Reads",
        },
        {
            "name": "bars_open",
            "table": "bars",
            "columns": [{"expression": "lower(symbol)"}],
            "where": "close IS NOT NULL",
        },
    ],
    "materialized_views": [
        {
            "name": "summary",
            "query": "SELECT symbol, count(*) AS bars, max(time) AS newest FROM bars GROUP BY symbol;",
            "indexes": [{"name": "summary_symbol", "columns": ["symbol"], "unique": True}],
            "refresh": {"policy": "concurrently"},
            "comment": "One row a symbol",
        }
    ],
    "statistics": [{"name": "bars_stats", "table": "bars", "columns": ["symbol", "source"], "kinds": ["mcv"]}],
    "column_statistics": [{"table": "bars", "column": "symbol", "target": 500}],
    "table_parameters": [{"table": "bars", "parameters": {"fillfactor": 90, "toast.autovacuum_enabled": False}}],
}


def test_a_whole_declaration_is_made_as_predicted_and_found_again(db: Database) -> None:
    db.execute(BARS)
    done = db.settle(**WHOLE)
    assert {action["state"] for action in done.actions} == {"done"}
    assert db.value("SELECT count(*) FROM summary") == 20
    db.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY summary")
    assert db.value("SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid = 'bars'::regclass")
