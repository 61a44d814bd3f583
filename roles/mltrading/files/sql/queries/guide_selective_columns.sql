-- The guide's fast pattern: the columns that are needed, of one symbol and version, newest first.
SELECT
    symbol,
    timestamp,
    close,
    rsi_1d,
    price_ma_short
FROM feature_engineered_data
WHERE
    symbol = 'AAPL'
    AND feature_version = '3.0'
    AND timestamp >= now() - interval '30 days'
ORDER BY timestamp DESC
LIMIT 100;
