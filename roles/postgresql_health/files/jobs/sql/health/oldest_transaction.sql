-- How long the oldest transaction is open, prepared ones included. A slot that keeps rows for its reader (xmin), as one
-- of a standby with a long query, keeps VACUUM off as well. The server knows no time of it: health_samples.py knows
-- since when it is the same. Fewer than 1,000 transactions back, nothing is kept that matters.
-- Source: ours. The guide looks at state = 'active' alone, which misses the session that is idle in a transaction.
SELECT
    coalesce(datname, '-') AS item,
    extract(EPOCH FROM clock_timestamp() - xact_start)::bigint AS value,
    NULL AS held,
    format('PID %s of %s, %s%s', pid, usename, state, coalesce(', ' || nullif(application_name, ''), '')) AS detail
FROM pg_stat_activity
WHERE xact_start IS NOT NULL AND backend_type = 'client backend' AND pid <> pg_backend_pid()
UNION ALL
SELECT
    database,
    extract(EPOCH FROM clock_timestamp() - prepared)::bigint,
    NULL,
    format('prepared transaction %L of %s', gid, owner)
FROM pg_prepared_xacts
UNION ALL
SELECT
    'slot ' || s.slot_name,
    NULL,
    concat_ws(' ', s.slot_name, s.xmin::text, s.catalog_xmin::text),
    format('keeps rows for its reader, %s transactions back', greatest(age(s.xmin), age(s.catalog_xmin)))
FROM pg_replication_slots AS s
WHERE greatest(age(s.xmin), age(s.catalog_xmin)) >= 1000
ORDER BY value DESC NULLS FIRST
LIMIT 10;
