-- Indexes with their size and use, most used first. The guide's "efficiency" (fetched / read) is near 0 for the best
-- case, the index-only scan, and is not computed; hit_percent is the share of its pages found in memory.
-- Source: the operations guide, "Index usage efficiency".
SELECT
    format('%I.%I', s.schemaname, s.indexrelname) AS index_name,
    s.relname AS table_name,
    pg_relation_size(s.indexrelid) AS bytes,
    s.idx_scan AS scans,
    s.idx_tup_read AS entries_read,
    s.idx_tup_fetch AS rows_fetched,
    round(100.0 * b.idx_blks_hit / nullif(b.idx_blks_hit + b.idx_blks_read, 0), 1) AS hit_percent,
    to_jsonb(s) ->> 'last_idx_scan' AS last_scan,
    i.indisunique AS is_unique,
    i.indisvalid AS is_valid
FROM pg_stat_user_indexes AS s
INNER JOIN pg_statio_user_indexes AS b ON s.indexrelid = b.indexrelid
INNER JOIN pg_index AS i ON s.indexrelid = i.indexrelid
ORDER BY s.idx_scan DESC, bytes DESC
LIMIT 100;
