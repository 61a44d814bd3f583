-- Indexes that are INVALID: no query reads them. That of a partitioned table waits for those of its partitions
SELECT
    format('%I.%I', n.nspname, c.relname) AS name,
    format('%I.%I', n.nspname, t.relname) AS table_name,
    c.relkind = 'I' AS of_partitioned_table,
    i.indisready AS slows_down_writes,
    i.indrelid IN (SELECT p.relid FROM pg_stat_progress_create_index AS p) AS being_built,
    i.indrelid NOT IN (SELECT p.relid FROM pg_stat_progress_create_index AS p) AS attention
FROM pg_index AS i
INNER JOIN pg_class AS c ON i.indexrelid = c.oid
INNER JOIN pg_class AS t ON i.indrelid = t.oid
INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
WHERE NOT i.indisvalid
ORDER BY 1;
