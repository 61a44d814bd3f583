-- Calls and time of the statements that took most time, as counters: health_samples.py has the average of the last hour
-- from them. Left out is maintenance: what superusers run, and statements that work on whole tables or on backups.
-- The server refuses to show any text while one of them is no text in this database's encoding, as one of a database in
-- SQL_ASCII may be: health then asks again without texts (health.statement_text).
-- Source: the operations guide, "Slow query analysis" (total_exec_time and mean_exec_time since PostgreSQL 13).
SELECT
    coalesce(d.datname, '-') || ' ' || r.rolname || ' ' || coalesce(s.queryid::text, '') AS item,
    s.calls,
    round(s.total_exec_time::numeric, 1) AS total_ms,
    round(s.mean_exec_time::numeric, 1) AS mean_ms_since_reset,
    coalesce(left(regexp_replace(s.query, '\s+', ' ', 'g'), 120), 'its text cannot be read') AS query
FROM pg_stat_statements(coalesce(nullif(current_setting('health.statement_text', TRUE), ''), 'on')::boolean) AS s
INNER JOIN pg_roles AS r ON s.userid = r.oid
LEFT JOIN pg_database AS d ON s.dbid = d.oid
WHERE
    s.toplevel
    AND NOT r.rolsuper
    AND NOT r.rolreplication
    AND coalesce(s.query, '') !~* '^\s*(refresh|vacuum|analyze|reindex|cluster|create|alter|drop|copy|truncate)\M'
    AND coalesce(s.query, '') !~* '\mpg_(backup|start_backup|stop_backup|switch_wal|create_restore_point)'
ORDER BY s.total_exec_time DESC
LIMIT 500;
