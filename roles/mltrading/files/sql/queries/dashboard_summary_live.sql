-- Dashboard: the summary as it is read where there is no materialized view.
SELECT
    symbol,
    max(timestamp) AS latest_timestamp,
    count(*) AS total_records,
    (array_agg(feature_version ORDER BY timestamp DESC))[1] AS latest_version,
    (array_agg(rsi_1d ORDER BY timestamp DESC))[1] AS latest_rsi,
    (array_agg(price_ma_short ORDER BY timestamp DESC))[1] AS latest_ma,
    count(rsi_1d)::float8 / count(*) AS rsi_coverage,
    count(price_ma_short)::float8 / count(*) AS ma_coverage
FROM feature_engineered_data
WHERE timestamp >= now() - interval '90 days'
GROUP BY symbol;
