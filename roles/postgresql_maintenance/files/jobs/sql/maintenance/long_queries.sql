-- Queries that run for more than 30 seconds, and transactions that are open for more than 30 seconds and do nothing
SELECT
    a.pid,
    a.usename AS login,
    a.datname AS database,
    a.application_name AS application,
    a.state,
    date_trunc('second', clock_timestamp() - CASE WHEN a.state LIKE 'idle%' THEN a.xact_start ELSE a.query_start END)
    AS since,
    nullif(concat_ws(': ', a.wait_event_type, a.wait_event), '') AS waits_for,
    left(a.query, 200) AS query,
    TRUE AS attention
FROM pg_stat_activity AS a
WHERE
    a.backend_type = 'client backend'
    AND a.pid <> pg_backend_pid()
    AND (
        (a.state IN ('active', 'fastpath function call') AND clock_timestamp() - a.query_start > interval '30 seconds')
        OR (a.state LIKE 'idle in transaction%' AND clock_timestamp() - a.xact_start > interval '30 seconds')
    )
ORDER BY since DESC;
