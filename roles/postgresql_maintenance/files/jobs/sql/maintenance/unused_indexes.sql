-- Indexes that hardly any query used on this node (fewer than 100 times), with the age of the statistics
--
-- An index that is idle on the primary may serve a replica: run it on every node, or read the report, which has. An
-- index of a partitioned table is one, whichever partitions are read: months to come are read by nobody yet. Left out
-- are a unique index, which holds a rule whether it is read or not, and one that begins with the columns of a foreign
-- key: without it each DELETE of the table that it refers to reads the whole table. Counts survive a clean restart, not
-- a crash; where nobody reset them, they are at least as old as the server's start.
SELECT
    format('%I.%I', n.nspname, c.relname) AS name,
    format('%I.%I', m.nspname, t.relname) AS table_name,
    u.scans,
    pg_size_pretty(u.bytes) AS size,
    u.bytes,
    date_trunc('second', now() - coalesce(d.stats_reset, pg_postmaster_start_time())) AS counted_for,
    u.scans = 0 AND now() - coalesce(d.stats_reset, pg_postmaster_start_time()) > interval '7 days' AS attention
FROM (
    SELECT
        coalesce(pg_partition_root(s.indexrelid), s.indexrelid) AS indexrelid,
        sum(s.idx_scan)::bigint AS scans,
        sum(pg_relation_size(s.indexrelid))::bigint AS bytes
    FROM pg_stat_user_indexes AS s
    GROUP BY coalesce(pg_partition_root(s.indexrelid), s.indexrelid)
) AS u
INNER JOIN pg_index AS i ON u.indexrelid = i.indexrelid
INNER JOIN pg_class AS c ON i.indexrelid = c.oid
INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
INNER JOIN pg_class AS t ON i.indrelid = t.oid
INNER JOIN pg_namespace AS m ON t.relnamespace = m.oid
INNER JOIN pg_stat_database AS d ON d.datname = current_database()
WHERE
    u.scans < 100
    AND i.indisvalid AND NOT i.indisunique AND NOT i.indisreplident AND NOT i.indisexclusion
    AND NOT EXISTS (
        SELECT FROM pg_constraint AS k
        WHERE
            k.conrelid = i.indrelid
            AND k.contype = 'f'
            -- An int2vector counts from 0.
            AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey
    )
ORDER BY u.bytes DESC, n.nspname ASC, c.relname ASC;
