-- Dashboard: the operations of the last day, by hour.
SELECT
    date_trunc('hour', timestamp) AS hour,
    operation_name,
    avg(duration_ms) AS avg_duration_ms,
    max(duration_ms) AS max_duration_ms,
    count(*) AS query_count,
    count(*) FILTER (WHERE status = 'error') AS error_count
FROM performance_logs
WHERE timestamp >= now() - interval '24 hours'
GROUP BY date_trunc('hour', timestamp), operation_name
ORDER BY date_trunc('hour', timestamp) DESC, avg(duration_ms) DESC;
