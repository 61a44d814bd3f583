-- What the lab's database holds, one line.
SELECT format(
    'tables: %s, rows: %s, indexes: %s, materialized views: %s, size: %s',
    count(*) FILTER (WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition),
    to_char(sum(greatest(c.reltuples, 0)) FILTER (WHERE c.relkind = 'r'), 'FM999,999,999,990'),
    count(*) FILTER (WHERE c.relkind = 'i'),
    count(*) FILTER (WHERE c.relkind = 'm'),
    pg_size_pretty(pg_database_size(current_database()))
)
FROM pg_class AS c
INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
WHERE n.nspname = 'public';
