"""Sample data: the real bars as they are, generated ones that replay them, and a load that can be trusted."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable

import pytest
from bokeh_sampledata import stocks
from psycopg2 import sql
from trading_database import END_TIME, REAL, Database

pytestmark = pytest.mark.faults

SUMMARY = """
SELECT count(*), count(DISTINCT symbol), max(timestamp)::text FROM feature_engineered_data WHERE source = 'generated'
"""
# Everything but the surrogate key, whose order depends on which connection was faster.
ROWS = """
SELECT md5(string_agg(md5((to_jsonb(t) - 'id')::text), '' ORDER BY symbol, timestamp, source))
FROM {} AS t
"""


def checksum(database: Database, table: str = "feature_engineered_data") -> str:
    return str(database.value(ROWS.format(table)))


@pytest.fixture
def fresh(new_database: Callable[[str], Database], request: pytest.FixtureRequest) -> Database:
    return new_database(f"fresh_{abs(hash(request.node.name)) % 10**8}")


@pytest.mark.parametrize("symbol", REAL)
def test_market_data_has_the_real_bars_as_they_are(real: Database, symbol: str) -> None:
    query = (
        "SELECT (timestamp AT TIME ZONE 'UTC' AT TIME ZONE 'America/New_York')::date::text, open::float8, high::float8,"
        " low::float8, close::float8, volume::float8 FROM market_data"
        " WHERE symbol = %s AND source = 'bokeh_sampledata' ORDER BY timestamp"
    )
    package = getattr(stocks, symbol)
    expected = list(zip(*(package[name] for name in ("date", "open", "high", "low", "close", "volume")), strict=True))
    assert real.rows(query, (symbol,)) == [(day, *map(float, bar)) for day, *bar in expected]


def test_all_real_bars_are_there(real: Database) -> None:
    assert real.value("SELECT count(*) FROM market_data WHERE source = 'bokeh_sampledata'") == 12_154
    assert real.value("SELECT count(*) FROM feature_engineered_data WHERE source = 'bokeh_sampledata'") == 12_154


def test_the_rows_that_were_asked_for_end_at_the_time_that_was_asked_for(small: Database) -> None:
    assert small.load()["changed"] is False
    # 13 March 2026 is a Friday, and New York is four hours behind UTC: the last bar opens at 15:30.
    assert small.rows(SUMMARY) == [(1000, 10, "2026-03-13 19:30:00")]


def test_rows_that_do_not_divide_evenly_are_all_there(fresh: Database) -> None:
    fresh.load(rows=1003)
    bars = "SELECT count(*) FROM feature_engineered_data WHERE source = 'generated' GROUP BY symbol ORDER BY 1"
    assert fresh.rows(bars) == [(100,)] * 7 + [(101,)] * 3
    assert fresh.rows(SUMMARY) == [(1003, 10, "2026-03-13 19:30:00")]


def test_every_generated_bar_lies_in_market_hours_and_in_its_own_range(small: Database) -> None:
    wrong = (
        "SELECT count(*) FROM feature_engineered_data WHERE source = 'generated' AND NOT (is_market_open = 1"
        " AND low > 0 AND low <= least(open, close) AND high >= greatest(open, close) AND volume > 0)"
    )
    assert small.value(wrong) == 0


def test_the_seven_bars_of_a_generated_day_are_a_real_day(small: Database) -> None:
    query = """
    WITH generated AS (
        SELECT
            symbol, date,
            (array_agg(open ORDER BY timestamp))[1] AS open, max(high) AS high, min(low) AS low,
            (array_agg(close ORDER BY timestamp DESC))[1] AS close
        FROM feature_engineered_data WHERE source = 'generated' GROUP BY symbol, date HAVING count(*) = 7
    )
    SELECT g.symbol, g.date, count(r)
    FROM generated AS g LEFT JOIN mltrading_lab.real_bars AS r
        ON abs(g.high / g.open - r.high / r.open) < 1e-4
        AND abs(g.low / g.open - r.low / r.open) < 1e-4
        AND abs(g.close / g.open - r.close / r.open) < 1e-4
    GROUP BY g.symbol, g.date
    """
    days = small.rows(query)
    assert len(days) == 140
    assert [day for day in days if day[2] == 0] == []


def test_a_series_that_is_replayed_many_times_keeps_its_level(fresh: Database) -> None:
    # Sixty real days are replayed five times.
    fresh.load(rows=5 * 7 * 300, symbols=5)
    query = (
        "SELECT symbol, max(high) / min(low) < 4 FROM feature_engineered_data"
        " WHERE source = 'generated' GROUP BY symbol ORDER BY symbol"
    )
    assert fresh.rows(query) == [(symbol, True) for symbol in sorted(REAL)]


def test_the_same_seed_and_end_give_the_same_rows(small: Database, fresh: Database) -> None:
    fresh.load(workers=1, batch_rows=200)
    assert checksum(fresh) == checksum(small)
    assert checksum(fresh, "market_data") == checksum(small, "market_data")


def test_another_seed_replaces_the_rows_with_others(small: Database, fresh: Database) -> None:
    fresh.load()
    assert fresh.load(seed=2)["changed"] is True
    assert fresh.rows(SUMMARY) == small.rows(SUMMARY)
    assert checksum(fresh) != checksum(small)


FOREIGN = [
    pytest.param(
        "INSERT INTO feature_engineered_data (symbol, timestamp) VALUES ('AAPL', now())",
        "feature_engineered_data",
        id="a-feature",
    ),
    pytest.param(
        "INSERT INTO feature_engineered_data (symbol, timestamp, source) VALUES ('AAPL', now(), NULL)",
        "feature_engineered_data",
        id="a-feature-without-source",
    ),
    pytest.param(
        "INSERT INTO market_data (symbol, timestamp, source) VALUES ('AAPL', now(), 'yahoo')", "market_data", id="a-bar"
    ),
    pytest.param(
        "INSERT INTO error_logs (error_type, metadata) VALUES ('Real', '{}')", "error_logs", id="an-unmarked-error"
    ),
    pytest.param("INSERT INTO system_logs (level) VALUES ('INFO')", "system_logs", id="a-line-without-metadata"),
    pytest.param("INSERT INTO models (model_id, name, version) VALUES ('m', 'm', '1')", "models", id="a-model"),
]


@pytest.mark.parametrize(("insert", "table"), FOREIGN)
def test_a_row_of_somebody_else_is_never_touched(fresh: Database, insert: str, table: str) -> None:
    fresh.rows(insert)
    done = subprocess.run(fresh.loader(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{table} holds rows that are not sample data" in done.stderr
    kept = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
    assert fresh.value(kept) == 1
    assert fresh.value("SELECT to_regnamespace('mltrading_lab')") is None


def test_a_load_that_was_killed_is_completed_by_the_next(fresh: Database, small: Database) -> None:
    asked = {"workers": 1, "batch_rows": 100}
    load = subprocess.Popen(fresh.loader(**asked), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    finished = "SELECT count(*) FROM mltrading_lab.finished_batches"
    deadline = time.monotonic() + 300
    while fresh.value("SELECT to_regclass('mltrading_lab.finished_batches')") is None or fresh.value(finished) < 3:
        assert load.poll() is None, load.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    load.kill()
    load.wait()
    assert fresh.value("SELECT obj_description('mltrading_lab'::regnamespace)::jsonb ->> 'complete'") == "false"
    assert 3 <= fresh.value(finished) < 11
    again = fresh.load(**asked)
    assert again["changed"] is True
    assert again["rows"] < 1000
    assert checksum(fresh) == checksum(small)
    assert fresh.load()["changed"] is False


def test_two_loads_at_once_are_one(fresh: Database) -> None:
    fresh_lock = "SELECT pg_advisory_lock(hashtext('load_sample_data'), 0)"
    holder = fresh.server.connect(fresh.name)
    with holder.cursor() as cursor:
        cursor.execute(fresh_lock)
        done = subprocess.run(fresh.loader(), capture_output=True, text=True, check=False)
    holder.close()
    assert done.returncode == 1
    assert "another load is running" in done.stderr


def test_the_logs_reach_up_to_the_end_and_are_marked(trading: Database) -> None:
    end = json.loads(trading.value("SELECT obj_description('mltrading_lab'::regnamespace)"))["end_time"]
    assert trading.value("SELECT max(timestamp) = %s::timestamptz FROM performance_logs", (f"{end}Z",)) is True
    for_dashboard = (
        "SELECT count(DISTINCT operation_name) FROM performance_logs WHERE timestamp >= now() - interval '1 hour'"
    )
    assert trading.value(for_dashboard) == 8
    assert trading.value("SELECT count(*) FROM predictions WHERE NOT features @> '{\"sample\": true}'") == 0
    assert trading.value("SELECT count(*) > 0 FROM predictions") is True


def test_the_end_time_of_the_small_database_is_what_was_asked_for(small: Database) -> None:
    assert json.loads(small.value("SELECT obj_description('mltrading_lab'::regnamespace)"))["end_time"] == END_TIME


def test_nothing_is_left_in_public(trading: Database) -> None:
    functions = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    assert trading.value(functions) == 0


@pytest.mark.parametrize("table", ["feature_engineered_data", "market_data", "performance_logs"])
def test_every_page_is_visible_to_all_after_the_load(trading: Database, table: str) -> None:
    visible = "SELECT relpages > 0 AND relallvisible >= 0.99 * relpages FROM pg_class WHERE relname = %s"
    assert trading.value(visible, (table,)) is True
