-- The average time of each operation over the last hour, in ms; the 95th percentile, the longest and the errors beside.
-- Source: the operations guide, "Query response times" and ALERT_THRESHOLDS['query_response_time_ms']. Its P95() does
-- not exist; percentile_cont() does.
SELECT
    operation_name AS item,
    round(avg(duration_ms), 1) AS value,
    format(
        'p95 %s ms, longest %s ms, %s calls, %s errors',
        round(percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms)::numeric, 1), round(max(duration_ms), 1),
        count(*), count(*) FILTER (WHERE status <> 'success')
    ) AS detail
FROM performance_logs
WHERE timestamp >= now() - interval '1 hour'
GROUP BY operation_name
ORDER BY value DESC;
