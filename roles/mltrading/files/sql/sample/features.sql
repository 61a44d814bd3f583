-- The features of every bar in the temporary table `bars` (symbol, timestamp, open, high, low, close, volume, source),
-- into feature_engineered_data. README.md beside this file has each definition.
--
-- A window is counted in bars, seven of which are a trading day of hourly bars. A feature is null until its window is
-- full. A bar carries the time of its opening, in UTC; times of day are New York's.
INSERT INTO public.feature_engineered_data (
    symbol, timestamp,
    open, high, low, close, volume,
    returns, log_returns, high_low_pct, open_close_pct, price_acceleration, returns_sign, returns_squared,
    realized_vol_short, realized_vol_med, realized_vol_long, gk_volatility, vol_of_vol,
    price_ma_short, price_ma_med, price_ma_long,
    price_to_ma_short, price_to_ma_med, price_to_ma_long, ma_short_to_med, ma_med_to_long,
    volume_ma, volume_ratio, log_volume, vpt, vpt_ma, vpt_normalized, mfi,
    rsi_1d, rsi_3d, rsi_1w, rsi_2w, rsi_ema,
    hour, day_of_week, date, hour_sin, hour_cos, dow_sin, dow_cos,
    is_market_open, is_morning, is_afternoon, hours_since_open, hours_to_close,
    returns_from_daily_open, intraday_high, intraday_low, intraday_range_pct, position_in_range,
    overnight_gap, dist_from_intraday_high, dist_from_intraday_low,
    returns_lag_1, returns_lag_2, returns_lag_4, returns_lag_8, returns_lag_24,
    vol_lag_1, vol_lag_2, vol_lag_4, vol_lag_8, vol_lag_24,
    volume_ratio_lag_1, volume_ratio_lag_2, volume_ratio_lag_4, volume_ratio_lag_8, volume_ratio_lag_24,
    returns_mean_6h, returns_std_6h, returns_skew_6h, returns_kurt_6h, price_momentum_6h,
    returns_mean_12h, returns_std_12h, returns_skew_12h, returns_kurt_12h, price_momentum_12h,
    returns_mean_24h, returns_std_24h, returns_skew_24h, returns_kurt_24h, price_momentum_24h,
    bb_upper, bb_lower, bb_position, bb_squeeze,
    macd, macd_signal, macd_histogram, macd_normalized,
    atr, atr_normalized, williams_r,
    source, feature_version, created_at, updated_at
)
WITH
-- The bar before, and the time at the exchange.
changes AS (
    SELECT
        b.*,
        lag(b.close) OVER series AS previous_close,
        row_number() OVER series AS bar_no,
        (b.high + b.low + b.close) / 3 AS typical,
        b.timestamp AT TIME ZONE 'UTC' AT TIME ZONE 'America/New_York' AS local_time
    FROM bars AS b
    WINDOW series AS (PARTITION BY b.symbol, b.source ORDER BY b.timestamp)
),

-- What one bar says beside its predecessor. greatest() and least() pass over nulls: the first bar's true range is its
-- own.
steps AS (
    SELECT
        c.*,
        c.close / c.previous_close - 1 AS returns,
        ln(c.close / c.previous_close) AS log_returns,
        c.close - c.previous_close AS change,
        greatest(c.high, c.previous_close) - least(c.low, c.previous_close) AS true_range,
        0.5::float8 * ln(c.high / c.low) ^ 2 - (2 * ln(2::float8) - 1) * ln(c.close / c.open) ^ 2 AS gk_term,
        CASE WHEN c.typical > lag(c.typical) OVER series THEN c.typical * c.volume ELSE 0 END AS flow_in,
        CASE WHEN c.typical < lag(c.typical) OVER series THEN c.typical * c.volume ELSE 0 END AS flow_out,
        c.local_time::date AS day,
        extract(EPOCH FROM c.local_time::time)::float8 / 3600 AS time_of_day,
        extract(ISODOW FROM c.local_time)::integer - 1 AS weekday
    FROM changes AS c
    WINDOW series AS (PARTITION BY c.symbol, c.source ORDER BY c.timestamp)
),

-- The trading day up to this bar; and the price volume trend, which windows below look back on.
days AS (
    SELECT
        s.*,
        s.returns * s.returns AS returns_2,
        s.returns * s.returns * s.returns AS returns_3,
        s.returns * s.returns * s.returns * s.returns AS returns_4,
        s.returns - lag(s.returns) OVER series AS price_acceleration,
        sum(s.volume * coalesce(s.returns, 0)) OVER series AS vpt,
        first_value(s.open) OVER day_so_far AS day_open,
        first_value(s.previous_close) OVER day_so_far AS day_before_close,
        max(s.high) OVER day_so_far AS intraday_high,
        min(s.low) OVER day_so_far AS intraday_low
    FROM steps AS s
    WINDOW
        series AS (PARTITION BY s.symbol, s.source ORDER BY s.timestamp),
        day_so_far AS (PARTITION BY s.symbol, s.source, s.day ORDER BY s.timestamp)
),

-- Sums and extremes over the last bars.
windows AS (
    SELECT
        d.*,

        mltrading_lab.moving_sum(d.log_returns) OVER last_7 AS log_sum_7,
        mltrading_lab.moving_sum(d.log_returns * d.log_returns) OVER last_7 AS log_2_sum_7,
        mltrading_lab.moving_sum(d.log_returns) OVER last_35 AS log_sum_35,
        mltrading_lab.moving_sum(d.log_returns * d.log_returns) OVER last_35 AS log_2_sum_35,
        mltrading_lab.moving_sum(d.log_returns) OVER last_140 AS log_sum_140,
        mltrading_lab.moving_sum(d.log_returns * d.log_returns) OVER last_140 AS log_2_sum_140,
        mltrading_lab.moving_sum(d.gk_term) OVER last_7 AS gk_sum_7,

        mltrading_lab.moving_sum(d.close) OVER last_7 AS close_sum_7,
        mltrading_lab.moving_sum(d.close) OVER last_20 AS close_sum_20,
        mltrading_lab.moving_sum(d.close * d.close) OVER last_20 AS close_2_sum_20,
        mltrading_lab.moving_sum(d.close) OVER last_35 AS close_sum_35,
        mltrading_lab.moving_sum(d.close) OVER last_140 AS close_sum_140,

        mltrading_lab.moving_sum(d.volume) OVER last_35 AS volume_sum_35,
        mltrading_lab.moving_sum(d.vpt) OVER last_35 AS vpt_sum_35,
        mltrading_lab.moving_sum(d.vpt * d.vpt) OVER last_35 AS vpt_2_sum_35,
        mltrading_lab.moving_sum(d.flow_in) OVER last_14 AS flow_in_14,
        mltrading_lab.moving_sum(d.flow_out) OVER last_14 AS flow_out_14,
        max(d.high) OVER last_14 AS high_14,
        min(d.low) OVER last_14 AS low_14,

        mltrading_lab.moving_sum(d.returns) OVER last_6 AS s1_6,
        mltrading_lab.moving_sum(d.returns_2) OVER last_6 AS s2_6,
        mltrading_lab.moving_sum(d.returns_3) OVER last_6 AS s3_6,
        mltrading_lab.moving_sum(d.returns_4) OVER last_6 AS s4_6,
        mltrading_lab.moving_sum(d.returns) OVER last_12 AS s1_12,
        mltrading_lab.moving_sum(d.returns_2) OVER last_12 AS s2_12,
        mltrading_lab.moving_sum(d.returns_3) OVER last_12 AS s3_12,
        mltrading_lab.moving_sum(d.returns_4) OVER last_12 AS s4_12,
        mltrading_lab.moving_sum(d.returns) OVER last_24 AS s1_24,
        mltrading_lab.moving_sum(d.returns_2) OVER last_24 AS s2_24,
        mltrading_lab.moving_sum(d.returns_3) OVER last_24 AS s3_24,
        mltrading_lab.moving_sum(d.returns_4) OVER last_24 AS s4_24,
        d.close / lag(d.close, 6) OVER series - 1 AS price_momentum_6h,
        d.close / lag(d.close, 12) OVER series - 1 AS price_momentum_12h,
        d.close / lag(d.close, 24) OVER series - 1 AS price_momentum_24h,

        mltrading_lab.ema(d.close, 12) OVER series - mltrading_lab.ema(d.close, 26) OVER series AS macd,
        mltrading_lab.wilder(d.true_range, 14) OVER series AS atr,
        mltrading_lab.rsi(d.change, 7) OVER series AS rsi_1d,
        mltrading_lab.rsi(d.change, 21) OVER series AS rsi_3d,
        mltrading_lab.rsi(d.change, 35) OVER series AS rsi_1w,
        mltrading_lab.rsi(d.change, 70) OVER series AS rsi_2w,
        mltrading_lab.rsi_ema(d.change, 14) OVER series AS rsi_ema
    FROM days AS d
    WINDOW
        series AS (PARTITION BY d.symbol, d.source ORDER BY d.timestamp),
        last_6 AS (series ROWS 5 PRECEDING),
        last_7 AS (series ROWS 6 PRECEDING),
        last_12 AS (series ROWS 11 PRECEDING),
        last_14 AS (series ROWS 13 PRECEDING),
        last_20 AS (series ROWS 19 PRECEDING),
        last_24 AS (series ROWS 23 PRECEDING),
        last_35 AS (series ROWS 34 PRECEDING),
        last_140 AS (series ROWS 139 PRECEDING)
),

-- What later bars look back on. A window of changes is full one bar after a window of prices.
averages AS (
    SELECT
        w.*,
        CASE WHEN w.bar_no > 7 THEN mltrading_lab.deviation(7, w.log_sum_7, w.log_2_sum_7) END AS realized_vol_short,
        CASE WHEN w.bar_no >= 35 THEN w.volume / nullif(w.volume_sum_35 / 35, 0) END AS volume_ratio,
        CASE WHEN w.bar_no >= 20 THEN w.close_sum_20 / 20 END AS bb_middle,
        -- of the population, as Bollinger has it
        CASE
            WHEN w.bar_no >= 20
                THEN mltrading_lab.deviation(20, w.close_sum_20, w.close_2_sum_20) * sqrt(19 / 20::float8)
        END AS bb_std,
        CASE WHEN w.bar_no >= 7 THEN w.close_sum_7 / 7 END AS price_ma_short,
        CASE WHEN w.bar_no >= 35 THEN w.close_sum_35 / 35 END AS price_ma_med,
        CASE WHEN w.bar_no >= 140 THEN w.close_sum_140 / 140 END AS price_ma_long,
        CASE WHEN w.bar_no >= 35 THEN w.vpt_sum_35 / 35 END AS vpt_ma,
        CASE WHEN w.bar_no >= 35 THEN mltrading_lab.deviation(35, w.vpt_sum_35, w.vpt_2_sum_35) END AS vpt_std
    FROM windows AS w
),

-- Features of features: the signal line, the volatility of volatility, and the lags.
signals AS (
    SELECT
        w.*,
        mltrading_lab.ema(w.macd, 9) OVER series AS macd_signal,
        mltrading_lab.moving_sum(w.realized_vol_short) OVER last_35 AS vol_sum_35,
        mltrading_lab.moving_sum(w.realized_vol_short * w.realized_vol_short) OVER last_35 AS vol_2_sum_35,
        lag(w.returns, 1) OVER series AS returns_lag_1,
        lag(w.returns, 2) OVER series AS returns_lag_2,
        lag(w.returns, 4) OVER series AS returns_lag_4,
        lag(w.returns, 8) OVER series AS returns_lag_8,
        lag(w.returns, 24) OVER series AS returns_lag_24,
        lag(w.realized_vol_short, 1) OVER series AS vol_lag_1,
        lag(w.realized_vol_short, 2) OVER series AS vol_lag_2,
        lag(w.realized_vol_short, 4) OVER series AS vol_lag_4,
        lag(w.realized_vol_short, 8) OVER series AS vol_lag_8,
        lag(w.realized_vol_short, 24) OVER series AS vol_lag_24,
        lag(w.volume_ratio, 1) OVER series AS volume_ratio_lag_1,
        lag(w.volume_ratio, 2) OVER series AS volume_ratio_lag_2,
        lag(w.volume_ratio, 4) OVER series AS volume_ratio_lag_4,
        lag(w.volume_ratio, 8) OVER series AS volume_ratio_lag_8,
        lag(w.volume_ratio, 24) OVER series AS volume_ratio_lag_24
    FROM averages AS w
    WINDOW
        series AS (PARTITION BY w.symbol, w.source ORDER BY w.timestamp),
        last_35 AS (series ROWS 34 PRECEDING)
)

SELECT
    symbol,
    timestamp,
    open,
    high,
    low,
    close,
    volume,

    -- price
    returns,
    log_returns,
    (high - low) / close AS high_low_pct,
    (close - open) / open AS open_close_pct,
    price_acceleration,
    sign(returns) AS returns_sign,
    returns_2 AS returns_squared,

    -- volatility
    realized_vol_short,
    CASE WHEN bar_no > 35 THEN mltrading_lab.deviation(35, log_sum_35, log_2_sum_35) END AS realized_vol_med,
    CASE WHEN bar_no > 140 THEN mltrading_lab.deviation(140, log_sum_140, log_2_sum_140) END AS realized_vol_long,
    CASE WHEN bar_no >= 7 THEN sqrt(greatest(gk_sum_7 / 7, 0)) END AS gk_volatility,
    CASE WHEN bar_no > 41 THEN mltrading_lab.deviation(35, vol_sum_35, vol_2_sum_35) END AS vol_of_vol,

    -- moving averages
    price_ma_short,
    price_ma_med,
    price_ma_long,
    close / price_ma_short AS price_to_ma_short,
    close / price_ma_med AS price_to_ma_med,
    close / price_ma_long AS price_to_ma_long,
    price_ma_short / price_ma_med AS ma_short_to_med,
    price_ma_med / price_ma_long AS ma_med_to_long,

    -- volume
    CASE WHEN bar_no >= 35 THEN volume_sum_35 / 35 END AS volume_ma,
    volume_ratio,
    ln(1 + volume) AS log_volume,
    vpt,
    vpt_ma,
    (vpt - vpt_ma) / nullif(vpt_std, 0) AS vpt_normalized,
    CASE WHEN bar_no > 14 THEN 100 * flow_in_14 / nullif(flow_in_14 + flow_out_14, 0) END AS mfi,

    -- relative strength
    rsi_1d,
    rsi_3d,
    rsi_1w,
    rsi_2w,
    rsi_ema,

    -- time
    extract(HOUR FROM local_time)::integer AS hour,
    weekday AS day_of_week,
    to_char(day, 'YYYY-MM-DD') AS date,
    sin(2 * pi() * extract(HOUR FROM local_time)::float8 / 24) AS hour_sin,
    cos(2 * pi() * extract(HOUR FROM local_time)::float8 / 24) AS hour_cos,
    sin(2 * pi() * weekday / 7) AS dow_sin,
    cos(2 * pi() * weekday / 7) AS dow_cos,
    (weekday < 5 AND time_of_day >= 9.5 AND time_of_day < 16)::integer AS is_market_open,
    (time_of_day >= 9.5 AND time_of_day < 12)::integer AS is_morning,
    (time_of_day >= 12 AND time_of_day < 16)::integer AS is_afternoon,
    time_of_day - 9.5 AS hours_since_open,
    16 - time_of_day AS hours_to_close,

    -- intraday
    close / day_open - 1 AS returns_from_daily_open,
    intraday_high,
    intraday_low,
    (intraday_high - intraday_low) / day_open AS intraday_range_pct,
    (close - intraday_low) / nullif(intraday_high - intraday_low, 0) AS position_in_range,
    day_open / day_before_close - 1 AS overnight_gap,
    close / intraday_high - 1 AS dist_from_intraday_high,
    close / intraday_low - 1 AS dist_from_intraday_low,

    -- lags
    returns_lag_1,
    returns_lag_2,
    returns_lag_4,
    returns_lag_8,
    returns_lag_24,
    vol_lag_1,
    vol_lag_2,
    vol_lag_4,
    vol_lag_8,
    vol_lag_24,
    volume_ratio_lag_1,
    volume_ratio_lag_2,
    volume_ratio_lag_4,
    volume_ratio_lag_8,
    volume_ratio_lag_24,

    -- rolling
    CASE WHEN bar_no > 6 THEN s1_6 / 6 END AS returns_mean_6h,
    CASE WHEN bar_no > 6 THEN mltrading_lab.deviation(6, s1_6, s2_6) END AS returns_std_6h,
    CASE WHEN bar_no > 6 THEN mltrading_lab.skew(6, s1_6, s2_6, s3_6) END AS returns_skew_6h,
    CASE WHEN bar_no > 6 THEN mltrading_lab.kurt(6, s1_6, s2_6, s3_6, s4_6) END AS returns_kurt_6h,
    price_momentum_6h,
    CASE WHEN bar_no > 12 THEN s1_12 / 12 END AS returns_mean_12h,
    CASE WHEN bar_no > 12 THEN mltrading_lab.deviation(12, s1_12, s2_12) END AS returns_std_12h,
    CASE WHEN bar_no > 12 THEN mltrading_lab.skew(12, s1_12, s2_12, s3_12) END AS returns_skew_12h,
    CASE WHEN bar_no > 12 THEN mltrading_lab.kurt(12, s1_12, s2_12, s3_12, s4_12) END AS returns_kurt_12h,
    price_momentum_12h,
    CASE WHEN bar_no > 24 THEN s1_24 / 24 END AS returns_mean_24h,
    CASE WHEN bar_no > 24 THEN mltrading_lab.deviation(24, s1_24, s2_24) END AS returns_std_24h,
    CASE WHEN bar_no > 24 THEN mltrading_lab.skew(24, s1_24, s2_24, s3_24) END AS returns_skew_24h,
    CASE WHEN bar_no > 24 THEN mltrading_lab.kurt(24, s1_24, s2_24, s3_24, s4_24) END AS returns_kurt_24h,
    price_momentum_24h,

    -- indicators
    bb_middle + 2 * bb_std AS bb_upper,
    bb_middle - 2 * bb_std AS bb_lower,
    (close - (bb_middle - 2 * bb_std)) / nullif(4 * bb_std, 0) AS bb_position,
    4 * bb_std / bb_middle AS bb_squeeze,
    macd,
    macd_signal,
    macd - macd_signal AS macd_histogram,
    macd / close AS macd_normalized,
    atr,
    atr / close AS atr_normalized,
    CASE WHEN bar_no >= 14 THEN -100 * (high_14 - close) / nullif(high_14 - low_14, 0) END AS williams_r,

    -- metadata: a bar is complete and written an hour and a minute after its opening
    source,
    '3.0' AS feature_version,
    timestamp + interval '61 minutes' AS created_at,
    timestamp + interval '61 minutes' AS updated_at
FROM signals
ORDER BY timestamp, symbol;
