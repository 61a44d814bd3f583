-- The share of operations of the last hour that ended in an error or a timeout. Fewer than 20 say nothing.
-- Source: the operations guide, ALERT_THRESHOLDS['error_rate_percent'], which has no query.
SELECT
    'operations' AS item,
    CASE
        WHEN count(*) >= 20 THEN round(100.0 * count(*) FILTER (WHERE status <> 'success') / count(*), 2)
    END AS value,
    format('%s of %s', count(*) FILTER (WHERE status <> 'success'), count(*)) AS detail
FROM performance_logs
WHERE timestamp >= now() - interval '1 hour';
