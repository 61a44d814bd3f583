-- The query whose plan the guide analyses: one symbol for a week, of any version.
SELECT
    symbol,
    timestamp,
    close,
    rsi_1d
FROM feature_engineered_data
WHERE
    symbol = 'AAPL'
    AND timestamp >= now() - interval '7 days';
