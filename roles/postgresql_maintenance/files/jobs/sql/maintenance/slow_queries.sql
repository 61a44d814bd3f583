-- Queries of this database that were called more than 100 times and take more than 100 ms on average
--
-- Needs the extension pg_stat_statements. The counts are those since its last reset.
SELECT
    s.calls,
    round(s.total_exec_time::numeric / 1000, 1) AS total_seconds,
    round(s.mean_exec_time::numeric, 1) AS mean_ms,
    round(s.max_exec_time::numeric, 1) AS max_ms,
    s.rows,
    round(100 * s.shared_blks_hit / nullif(s.shared_blks_hit + s.shared_blks_read, 0)::numeric, 1) AS hit_percent,
    pg_get_userbyid(s.userid) AS login,
    date_trunc('second', now() - i.stats_reset) AS counted_for,
    left(s.query, 300) AS query,
    TRUE AS attention
FROM pg_stat_statements AS s
INNER JOIN pg_database AS d ON s.dbid = d.oid AND d.datname = current_database()
CROSS JOIN pg_stat_statements_info AS i
WHERE s.calls > 100 AND s.mean_exec_time > 100
ORDER BY s.total_exec_time DESC
LIMIT 20;
