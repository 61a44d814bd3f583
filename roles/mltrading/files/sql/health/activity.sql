-- What the system did in the last 24 hours: the events of the four log tables, by their class and component.
-- Source: the operations guide, "System activity summary", which names columns of pg_stat_activity "severity" and
-- "component"; its numbers are of connections.
SELECT 'system_logs' AS source, level AS class, coalesce(logger_name, '-') AS component, count(*) AS events
FROM system_logs
WHERE timestamp >= now() - interval '24 hours'
GROUP BY level, logger_name
UNION ALL
SELECT 'performance_logs', status, coalesce(component, '-'), count(*)
FROM performance_logs
WHERE timestamp >= now() - interval '24 hours'
GROUP BY status, component
UNION ALL
SELECT 'error_logs', error_type, coalesce(component, '-'), count(*)
FROM error_logs
WHERE timestamp >= now() - interval '24 hours'
GROUP BY error_type, component
UNION ALL
SELECT 'user_action_logs', action_type, '-', count(*)
FROM user_action_logs
WHERE timestamp >= now() - interval '24 hours'
GROUP BY action_type
ORDER BY events DESC, source ASC, class ASC, component ASC
LIMIT 100;
