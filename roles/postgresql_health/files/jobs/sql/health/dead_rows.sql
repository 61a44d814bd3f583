-- The share of dead rows in each table that has 10,000 of them. It is what VACUUM has to do, and not the whole of
-- bloat, which the maintenance job measures page by page.
-- Source: the operations guide, "Database bloat analysis"; its decimal(5,2) overflows at ten times as many dead as
-- live rows.
SELECT
    format('%I.%I', schemaname, relname) AS item,
    round(100.0 * n_dead_tup / (n_live_tup + n_dead_tup), 1) AS value,
    format('%s dead rows, last vacuum %s', n_dead_tup,
        coalesce(date_trunc('second', greatest(last_vacuum, last_autovacuum))::text, 'never')) AS detail
FROM pg_stat_user_tables
WHERE n_dead_tup >= 10000
ORDER BY value DESC
LIMIT 10;
