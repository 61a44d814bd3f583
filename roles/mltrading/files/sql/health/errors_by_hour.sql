-- Errors by hour, type and component over 24 hours.
-- Source: the operations guide, "Error trend analysis".
SELECT
    date_trunc('hour', timestamp) AS hour,
    error_type,
    coalesce(component, '-') AS component,
    count(*) AS errors
FROM error_logs
WHERE timestamp >= now() - interval '24 hours'
GROUP BY date_trunc('hour', timestamp), error_type, component
ORDER BY hour DESC, errors DESC;
