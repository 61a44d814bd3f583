-- Indexes that hardly any query used on this node (fewer than 100 times), with the age of the statistics
--
-- An index that is idle on the primary may serve a replica: run it on every node, or read the report, which has. A
-- unique index holds a rule, whether it is read or not, and is left out. Counts survive a clean restart, not a crash;
-- where nobody reset them, they are at least as old as the server's start.
SELECT
    format('%I.%I', s.schemaname, s.indexrelname) AS name,
    format('%I.%I', s.schemaname, s.relname) AS table_name,
    s.idx_scan AS scans,
    pg_size_pretty(pg_relation_size(s.indexrelid)) AS size,
    pg_relation_size(s.indexrelid) AS bytes,
    date_trunc('second', now() - coalesce(d.stats_reset, pg_postmaster_start_time())) AS counted_for,
    s.idx_scan = 0 AND now() - coalesce(d.stats_reset, pg_postmaster_start_time()) > interval '7 days' AS attention
FROM pg_stat_user_indexes AS s
INNER JOIN pg_index AS i ON s.indexrelid = i.indexrelid
INNER JOIN pg_stat_database AS d ON d.datname = current_database()
WHERE s.idx_scan < 100 AND i.indisvalid AND NOT i.indisunique AND NOT i.indisreplident AND NOT i.indisexclusion
ORDER BY pg_relation_size(s.indexrelid) DESC, s.schemaname, s.indexrelname ASC;
