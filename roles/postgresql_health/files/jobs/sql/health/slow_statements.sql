-- The average time of statements that ran a hundred times or more, the slowest first.
-- Source: the operations guide, "Slow query analysis" (total_exec_time and mean_exec_time since PostgreSQL 13).
SELECT
    coalesce(d.datname, '-') || ' ' || coalesce(s.queryid::text, '') AS item,
    round(s.mean_exec_time::numeric, 1) AS value,
    format('%s calls: %s', s.calls, left(regexp_replace(s.query, '\s+', ' ', 'g'), 120)) AS detail
FROM pg_stat_statements AS s
LEFT JOIN pg_database AS d ON s.dbid = d.oid
WHERE s.calls >= 100 AND s.toplevel
ORDER BY s.mean_exec_time DESC
LIMIT 5;
