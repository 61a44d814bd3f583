-- Tables and materialized views that ANALYZE reads; a partitioned table brings its partitions with it
SELECT format('%I.%I', n.nspname, c.relname) AS name
FROM pg_class AS c
INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
WHERE
    ((c.relkind IN ('r', 'p') AND NOT c.relispartition) OR (c.relkind = 'm' AND c.relispopulated))
    AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_'
    AND n.nspname <> 'information_schema'
ORDER BY c.relkind = 'm', n.nspname, c.relname;
