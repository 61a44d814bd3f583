-- The guide's count of rows that have a feature.
SELECT count(*)
FROM feature_engineered_data
WHERE
    symbol = 'AAPL'
    AND feature_version = '3.0'
    AND timestamp >= '2025-08-01'
    AND rsi_1d IS NOT NULL;
