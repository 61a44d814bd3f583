-- Partitions: their bounds and rows, and what was written to and read from each
SELECT
    format('%I.%I', n.nspname, p.relname) AS table_name,
    c.relname AS partition,
    pg_get_expr(c.relpartbound, c.oid) AS bounds,
    nullif(c.reltuples, -1)::bigint AS estimated_rows,
    pg_size_pretty(pg_total_relation_size(c.oid)) AS size,
    s.n_tup_ins AS inserted,
    s.n_tup_upd AS updated,
    s.n_tup_del AS deleted,
    s.seq_scan + coalesce(s.idx_scan, 0) AS scans,
    h.inhdetachpending AS half_detached,
    -- A detach that was interrupted is finished with ALTER TABLE … DETACH PARTITION … FINALIZE.
    h.inhdetachpending AS attention
FROM pg_inherits AS h
INNER JOIN pg_class AS p ON h.inhparent = p.oid
INNER JOIN pg_class AS c ON h.inhrelid = c.oid
INNER JOIN pg_namespace AS n ON p.relnamespace = n.oid
LEFT JOIN pg_stat_user_tables AS s ON s.relid = c.oid
WHERE p.relkind = 'p'
ORDER BY n.nspname, p.relname, pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT', pg_get_expr(c.relpartbound, c.oid);
