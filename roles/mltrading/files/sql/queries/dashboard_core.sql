-- Dashboard: the core columns of one symbol for thirty days.
SELECT
    timestamp,
    open,
    high,
    low,
    close,
    volume,
    returns,
    rsi_1d,
    price_ma_short
FROM feature_engineered_data
WHERE
    symbol = 'AAPL'
    AND feature_version = '3.0'
    AND timestamp >= now() - interval '30 days'
ORDER BY timestamp;
