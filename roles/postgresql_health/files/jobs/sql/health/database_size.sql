-- Size of each database in bytes.
-- Source: the operations guide, "Overall database health" and ALERT_THRESHOLDS['database_size_gb'].
SELECT
    datname AS item,
    pg_database_size(oid) AS value
FROM pg_database
WHERE NOT datistemplate
ORDER BY value DESC;
