-- Transactions of this database that a concurrent build, REINDEX or DROP INDEX would wait for, the oldest first
--
-- Each that wrote, or that holds a snapshot. An idle one that has only read, and not at REPEATABLE READ, is in nobody's
-- way.
SELECT
    format('pid %s (%s, %s)', a.pid, coalesce(nullif(a.application_name, ''), a.usename), a.state) AS who,
    extract(EPOCH FROM clock_timestamp() - a.xact_start)::int AS seconds,
    left(a.query, 100) AS what
FROM pg_stat_activity AS a
WHERE
    a.datname = current_database()
    AND a.pid <> pg_backend_pid()
    AND a.backend_type = 'client backend'
    AND (a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL)
UNION ALL
SELECT
    format('prepared transaction %L of %s', x.gid, x.owner),
    extract(EPOCH FROM clock_timestamp() - x.prepared)::int,
    'PREPARE TRANSACTION'
FROM pg_prepared_xacts AS x
WHERE x.database = current_database()
ORDER BY 2 DESC;
