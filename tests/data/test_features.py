"""Every feature that the server computes is what its definition says, for real daily bars and generated hourly ones."""

from __future__ import annotations

import contextlib

import numpy as np
import pandas as pd
import pytest
from reference_features import features
from trading_database import Database

SERIES = [
    pytest.param("AAPL", "bokeh_sampledata", 3270, id="real-AAPL"),
    pytest.param("MSFT", "bokeh_sampledata", 3270, id="real-MSFT"),
    pytest.param("IBM", "bokeh_sampledata", 3270, id="real-IBM"),
    pytest.param("GOOG", "bokeh_sampledata", 2148, id="real-GOOG"),
    pytest.param("FB", "bokeh_sampledata", 196, id="real-FB"),
    pytest.param("AAPL", "generated", 300, id="generated-AAPL"),
    pytest.param("SYN00009", "generated", 300, id="generated-SYN00009"),
]
BAR = ["timestamp", "open", "high", "low", "close", "volume"]
GIVEN = {"id", "symbol", *BAR, "source", "feature_version", "created_at", "updated_at"}
# Rounding of sums that slide over a few thousand rows, for values as large as the column's own scale.
TOLERANCE = 1e-6


def stored(database: Database, symbol: str, source: str) -> pd.DataFrame:
    """One series of feature_engineered_data in order of time."""
    query = "SELECT * FROM feature_engineered_data WHERE symbol = %s AND source = %s ORDER BY timestamp"
    with contextlib.closing(database.server.connect(database.name)) as connection, connection.cursor() as cursor:
        cursor.execute(query, (symbol, source))
        return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description])


def difference(found: pd.Series, expected: pd.Series) -> str:
    """Say how a column differs, or nothing."""
    if found.name == "date":
        return "" if list(found) == list(expected) else "other dates"
    a, b = found.astype(float).to_numpy(), expected.astype(float).to_numpy()
    if (np.isnan(a) != np.isnan(b)).any():
        return f"{np.isnan(a).sum()} nulls, not {np.isnan(b).sum()}"
    known = ~np.isnan(b)
    scale = np.maximum(np.abs(b[known]), max(1e-3 * np.abs(b[known]).max(), 1e-12))
    error = float((np.abs(a[known] - b[known]) / scale).max())
    return "" if error <= TOLERANCE else f"off by {error:.1e}"


@pytest.mark.parametrize(("symbol", "source", "rows"), SERIES)
def test_every_feature_is_what_its_definition_says(real: Database, symbol: str, source: str, rows: int) -> None:
    found = stored(real, symbol, source)
    expected = features(found[BAR])
    assert len(found) == rows
    assert set(found.columns) == GIVEN | set(expected.columns)
    wrong = {name: difference(found[name], expected[name]) for name in expected}
    assert {name: how for name, how in wrong.items() if how} == {}


def test_no_feature_is_null_once_its_window_is_full(real: Database) -> None:
    last = stored(real, "AAPL", "generated").iloc[-1]
    assert len(last) == 105
    assert list(last.index[last.isna()]) == []
