-- Tables with more than 1000 dead rows, and when they were last vacuumed
SELECT
    format('%I.%I', s.schemaname, s.relname) AS table_name,
    s.n_live_tup AS live_rows,
    s.n_dead_tup AS dead_rows,
    round(100 * s.n_dead_tup / nullif(s.n_live_tup + s.n_dead_tup, 0)::numeric, 1) AS dead_percent,
    date_trunc('second', greatest(s.last_vacuum, s.last_autovacuum)) AS last_vacuumed,
    s.n_dead_tup > 0.2 * (s.n_live_tup + s.n_dead_tup) AS attention
FROM pg_stat_user_tables AS s
WHERE s.n_dead_tup > 1000
ORDER BY s.n_dead_tup DESC;
