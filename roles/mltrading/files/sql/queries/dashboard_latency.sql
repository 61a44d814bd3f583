-- Dashboard: the average and the 95th percentile of each operation over the last hour.
SELECT
    operation_name,
    avg(duration_ms) AS avg_ms,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95_ms,
    count(*) AS query_count
FROM performance_logs
WHERE timestamp >= now() - interval '1 hour'
GROUP BY operation_name
ORDER BY avg(duration_ms) DESC;
