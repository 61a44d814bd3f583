-- Each operation's average, 95th percentile and longest time, its calls and its errors, by hour over 24 hours.
-- Source: the operations guide, "Query performance over time".
SELECT
    date_trunc('hour', timestamp) AS hour,
    operation_name AS operation,
    count(*) AS calls,
    round(avg(duration_ms), 1) AS average_ms,
    round(percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms)::numeric, 1) AS p95_ms,
    round(max(duration_ms), 1) AS longest_ms,
    count(*) FILTER (WHERE status <> 'success') AS errors
FROM performance_logs
WHERE timestamp >= now() - interval '24 hours'
GROUP BY date_trunc('hour', timestamp), operation_name
ORDER BY hour DESC, average_ms DESC;
