-- The guide's dashboard summary from the materialized view.
SELECT
    symbol,
    total_records,
    latest_timestamp,
    rsi_coverage
FROM mv_features_dashboard_summary
WHERE rsi_coverage > 0.8
ORDER BY total_records DESC;
