-- Dashboard: the errors of the last day, by hour, type and component.
SELECT
    date_trunc('hour', timestamp) AS hour,
    error_type,
    component,
    count(*) AS error_count
FROM error_logs
WHERE timestamp >= now() - interval '24 hours'
GROUP BY date_trunc('hour', timestamp), error_type, component
ORDER BY date_trunc('hour', timestamp) DESC, count(*) DESC;
