-- INVALID indexes that nobody is building: 1 costs space, 2 is maintained by every write too. That of a partitioned
-- table waits for those of its partitions.
-- Source: ours, from pg_index; CREATE INDEX CONCURRENTLY leaves them where it is stopped.
SELECT
    format('%I.%I', n.nspname, c.relname) AS item,
    CASE WHEN i.indisready AND c.relkind = 'i' THEN 2 ELSE 1 END AS value,
    CASE WHEN c.relkind = 'I' THEN 'of a partitioned table' WHEN i.indisready THEN 'slows down writes' ELSE 'unused' END
    AS detail
FROM pg_index AS i
INNER JOIN pg_class AS c ON i.indexrelid = c.oid
INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
WHERE
    NOT i.indisvalid
    AND NOT EXISTS (
        SELECT FROM pg_stat_progress_create_index AS p
        WHERE p.datname = current_database() AND p.relid = i.indrelid
    )
ORDER BY value DESC, item ASC;
