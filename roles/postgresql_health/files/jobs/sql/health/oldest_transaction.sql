-- How long the oldest transaction is open, prepared ones included.
-- Source: ours. The guide looks at state = 'active' alone, which misses the session that is idle in a transaction.
SELECT
    coalesce(datname, '-') AS item,
    extract(EPOCH FROM clock_timestamp() - xact_start)::bigint AS value,
    format('PID %s of %s, %s%s', pid, usename, state, coalesce(', ' || nullif(application_name, ''), '')) AS detail
FROM pg_stat_activity
WHERE xact_start IS NOT NULL AND backend_type = 'client backend' AND pid <> pg_backend_pid()
UNION ALL
SELECT
    database,
    extract(EPOCH FROM clock_timestamp() - prepared)::bigint,
    format('prepared transaction %L of %s', gid, owner)
FROM pg_prepared_xacts
ORDER BY value DESC
LIMIT 5;
