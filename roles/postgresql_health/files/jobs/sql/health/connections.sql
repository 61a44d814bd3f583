-- Connections of clients, in percent of those that max_connections leaves to them. Since PostgreSQL 16 some are kept
-- for roles that are no superusers, too.
-- Source: the operations guide, "Database connection usage" and ALERT_THRESHOLDS['connection_usage_percent'].
SELECT
    'clients' AS item,
    round(100.0 * count(*) / max(limits.clients), 1) AS value,
    format('%s of %s', count(*), max(limits.clients)) AS detail
FROM pg_stat_activity AS a
CROSS JOIN (
    SELECT
        current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', TRUE), '0')::int AS clients
) AS limits
WHERE a.backend_type = 'client backend';
