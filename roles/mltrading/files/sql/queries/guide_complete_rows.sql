-- What the guide's partial index on complete rows can serve: a query that asks for all five features.
SELECT count(*)
FROM feature_engineered_data
WHERE
    symbol = 'AAPL'
    AND timestamp >= '2025-08-01'
    AND rsi_1d IS NOT NULL
    AND price_ma_short IS NOT NULL
    AND bb_upper IS NOT NULL
    AND macd IS NOT NULL
    AND atr IS NOT NULL;
