-- Dashboard: the technical columns of one symbol for thirty days.
SELECT
    timestamp,
    close,
    rsi_1d,
    rsi_1w,
    rsi_ema,
    bb_upper,
    bb_lower,
    bb_position,
    macd,
    macd_signal,
    macd_histogram,
    atr,
    williams_r
FROM feature_engineered_data
WHERE
    symbol = 'AAPL'
    AND feature_version = '3.0'
    AND timestamp >= now() - interval '30 days'
ORDER BY timestamp;
