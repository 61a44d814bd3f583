-- Dashboard: the summary, from the materialized view.
SELECT
    symbol,
    latest_timestamp,
    total_records,
    latest_version,
    latest_rsi,
    latest_ma,
    rsi_coverage,
    ma_coverage
FROM mv_features_dashboard_summary;
