-- One row a symbol over the last 90 days. rsi_coverage and ma_coverage are fractions of its rows, 0 to 1.
-- The newest row's values come from one pass: array_agg in descending time, first element.
SELECT
    symbol,
    max(timestamp) AS latest_timestamp,
    count(*) AS total_records,
    (array_agg(feature_version ORDER BY timestamp DESC))[1] AS latest_version,
    (array_agg(rsi_1d ORDER BY timestamp DESC))[1] AS latest_rsi,
    (array_agg(price_ma_short ORDER BY timestamp DESC))[1] AS latest_ma,
    count(rsi_1d)::float8 / count(*) AS rsi_coverage,
    count(price_ma_short)::float8 / count(*) AS ma_coverage
FROM public.feature_engineered_data
WHERE timestamp >= now() - interval '90 days'
GROUP BY symbol
