"""The features of one series of bars, by their definitions: what the server's SQL is held against.

Written from the definitions (roles/mltrading/files/sql/sample/README.md), not from the SQL.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

NEW_YORK = "America/New_York"


def wilder(values: pd.Series, n: int) -> pd.Series:
    """Wilder's average: the mean of the first n values, then (previous * (n - 1) + value) / n."""
    known = values.dropna()
    out = pd.Series(np.nan, index=values.index)
    average = math.nan
    for position, (label, value) in enumerate(known.items()):
        if position == n - 1:
            average = known.iloc[:n].mean()
        elif position >= n:
            average = (average * (n - 1) + value) / n
        out[label] = average
    return out


def ema(values: pd.Series, n: int) -> pd.Series:
    """The exponential average of span n, from the first value on, shown once there are n values."""
    return values.ewm(span=n, adjust=False, min_periods=n).mean()


def rsi(close: pd.Series, n: int, average: Callable[[pd.Series, int], pd.Series]) -> pd.Series:
    """Relative strength: 100 - 100 / (1 + average gain / average loss)."""
    change = close.diff()
    gain = average(change.clip(lower=0), n)
    loss = average((-change).clip(lower=0), n)
    return 100 - 100 / (1 + gain / loss)


def money_flow(bars: pd.DataFrame, n: int) -> pd.Series:
    """Money flow index over the last n changes of the typical price."""
    typical = (bars.high + bars.low + bars.close) / 3
    flow = typical * bars.volume
    up = flow.where(typical.diff() > 0, 0).where(typical.diff().notna())
    down = flow.where(typical.diff() < 0, 0).where(typical.diff().notna())
    return 100 - 100 / (1 + up.rolling(n).sum() / down.rolling(n).sum())


def bar_features(bars: pd.DataFrame) -> dict[str, pd.Series]:
    """Price, volatility, moving averages, volume and relative strength."""
    close, volume = bars.close, bars.volume
    returns = close.pct_change()
    log_returns = np.log(close).diff()
    garman_klass = 0.5 * np.log(bars.high / bars.low) ** 2 - (2 * math.log(2) - 1) * np.log(close / bars.open) ** 2
    short, med, long = (close.rolling(n).mean() for n in (7, 35, 140))
    realized = log_returns.rolling(7).std()
    volume_ma = volume.rolling(35).mean()
    trend = (volume * returns).fillna(0).cumsum()
    return {
        "returns": returns,
        "log_returns": log_returns,
        "high_low_pct": (bars.high - bars.low) / close,
        "open_close_pct": (close - bars.open) / bars.open,
        "price_acceleration": returns.diff(),
        "returns_sign": np.sign(returns),
        "returns_squared": returns**2,
        "realized_vol_short": realized,
        "realized_vol_med": log_returns.rolling(35).std(),
        "realized_vol_long": log_returns.rolling(140).std(),
        "gk_volatility": np.sqrt(garman_klass.rolling(7).mean()),
        "vol_of_vol": realized.rolling(35).std(),
        "price_ma_short": short,
        "price_ma_med": med,
        "price_ma_long": long,
        "price_to_ma_short": close / short,
        "price_to_ma_med": close / med,
        "price_to_ma_long": close / long,
        "ma_short_to_med": short / med,
        "ma_med_to_long": med / long,
        "volume_ma": volume_ma,
        "volume_ratio": volume / volume_ma,
        "log_volume": np.log1p(volume),
        "vpt": trend,
        "vpt_ma": trend.rolling(35).mean(),
        "vpt_normalized": (trend - trend.rolling(35).mean()) / trend.rolling(35).std(),
        "mfi": money_flow(bars, 14),
        "rsi_1d": rsi(close, 7, wilder),
        "rsi_3d": rsi(close, 21, wilder),
        "rsi_1w": rsi(close, 35, wilder),
        "rsi_2w": rsi(close, 70, wilder),
        "rsi_ema": rsi(close, 14, ema),
    }


def time_features(bars: pd.DataFrame) -> dict[str, pd.Series]:
    """Time of day and week in New York, of the bar's opening."""
    local = bars.timestamp.dt.tz_localize("UTC").dt.tz_convert(NEW_YORK)
    hours = local.dt.hour + local.dt.minute / 60
    return {
        "hour": local.dt.hour,
        "day_of_week": local.dt.day_of_week,
        "date": local.dt.strftime("%Y-%m-%d"),
        "hour_sin": np.sin(2 * np.pi * local.dt.hour / 24),
        "hour_cos": np.cos(2 * np.pi * local.dt.hour / 24),
        "dow_sin": np.sin(2 * np.pi * local.dt.day_of_week / 7),
        "dow_cos": np.cos(2 * np.pi * local.dt.day_of_week / 7),
        "is_market_open": ((local.dt.day_of_week < 5) & (hours >= 9.5) & (hours < 16)).astype(int),
        "is_morning": ((hours >= 9.5) & (hours < 12)).astype(int),
        "is_afternoon": ((hours >= 12) & (hours < 16)).astype(int),
        "hours_since_open": hours - 9.5,
        "hours_to_close": 16 - hours,
    }


def intraday_features(bars: pd.DataFrame) -> dict[str, pd.Series]:
    """The trading day up to and with this bar."""
    day = bars.timestamp.dt.tz_localize("UTC").dt.tz_convert(NEW_YORK).dt.date
    day_open = bars.open.groupby(day).transform("first")
    high, low = bars.high.groupby(day).cummax(), bars.low.groupby(day).cummin()
    last_close = bars.close.groupby(day).last().shift()
    return {
        "returns_from_daily_open": bars.close / day_open - 1,
        "intraday_high": high,
        "intraday_low": low,
        "intraday_range_pct": (high - low) / day_open,
        "position_in_range": (bars.close - low) / (high - low),
        "overnight_gap": day_open / day.map(last_close) - 1,
        "dist_from_intraday_high": (bars.close - high) / high,
        "dist_from_intraday_low": (bars.close - low) / low,
    }


def shape(values: pd.Series, n: int) -> tuple[pd.Series, pd.Series]:
    """Sample skewness and excess kurtosis over n values, from the deviations from each window's own mean.

    Both without bias, as Joanes and Gill (1998) write G1 and G2; undefined where nothing varies.
    """
    windows = np.lib.stride_tricks.sliding_window_view(values.to_numpy(), n)
    away = windows - windows.mean(axis=1, keepdims=True)
    m2, m3, m4 = ((away**k).mean(axis=1) for k in (2, 3, 4))
    m2 = np.where(m2 == 0, np.nan, m2)
    g1, g2 = m3 / m2**1.5, m4 / m2**2 - 3
    skew = g1 * math.sqrt(n * (n - 1)) / (n - 2)
    kurt = ((n + 1) * g2 + 6) * (n - 1) / ((n - 2) * (n - 3))
    return pd.Series(skew, index=values.index[n - 1 :]), pd.Series(kurt, index=values.index[n - 1 :])


def rolling_features(bars: pd.DataFrame, known: dict[str, pd.Series]) -> dict[str, pd.Series]:
    """Lags, and the moments of the returns over 6, 12 and 24 bars."""
    lagged = {"returns": "returns", "vol": "realized_vol_short", "volume_ratio": "volume_ratio"}
    out = {f"{name}_lag_{n}": known[source].shift(n) for name, source in lagged.items() for n in (1, 2, 4, 8, 24)}
    for n in (6, 12, 24):
        window = known["returns"].rolling(n)
        skew, kurt = shape(known["returns"], n)
        out |= {
            f"returns_mean_{n}h": window.mean(),
            f"returns_std_{n}h": window.std(),
            f"returns_skew_{n}h": skew.reindex(bars.index),
            f"returns_kurt_{n}h": kurt.reindex(bars.index),
            f"price_momentum_{n}h": bars.close / bars.close.shift(n) - 1,
        }
    return out


def indicator_features(bars: pd.DataFrame) -> dict[str, pd.Series]:
    """Bollinger bands (20, 2), MACD (12, 26, 9), average true range (14) and Williams %R (14)."""
    close = bars.close
    middle, deviation = close.rolling(20).mean(), close.rolling(20).std(ddof=0)
    upper, lower = middle + 2 * deviation, middle - 2 * deviation
    macd = ema(close, 12) - ema(close, 26)
    signal = ema(macd, 9)
    previous = close.shift()
    ranges = pd.concat([bars.high - bars.low, (bars.high - previous).abs(), (bars.low - previous).abs()], axis=1)
    atr = wilder(ranges.max(axis=1), 14)
    high, low = bars.high.rolling(14).max(), bars.low.rolling(14).min()
    return {
        "bb_upper": upper,
        "bb_lower": lower,
        "bb_position": (close - lower) / (upper - lower),
        "bb_squeeze": (upper - lower) / middle,
        "macd": macd,
        "macd_signal": signal,
        "macd_histogram": macd - signal,
        "macd_normalized": macd / close,
        "atr": atr,
        "atr_normalized": atr / close,
        "williams_r": -100 * (high - close) / (high - low),
    }


def features(bars: pd.DataFrame) -> pd.DataFrame:
    """Return every computed column for the bars of one symbol, which are in order of time."""
    known = bar_features(bars)
    columns = known | time_features(bars) | intraday_features(bars) | rolling_features(bars, known)
    return pd.DataFrame(columns | indicator_features(bars), index=bars.index)
