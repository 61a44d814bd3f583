-- Sizes: the database, and its twenty largest tables with their indexes
SELECT
    'database' AS kind,
    current_database()::text AS name,
    pg_size_pretty(pg_database_size(current_database())) AS total,
    NULL AS table_and_toast,
    NULL AS indexes,
    NULL::bigint AS estimated_rows
UNION ALL
SELECT *
FROM (
    SELECT
        CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'table' END,
        format('%I.%I', n.nspname, c.relname),
        pg_size_pretty(pg_total_relation_size(c.oid)),
        pg_size_pretty(pg_table_size(c.oid)),
        pg_size_pretty(pg_indexes_size(c.oid)),
        nullif(c.reltuples, -1)::bigint
    FROM pg_class AS c
    INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
    WHERE
        c.relkind IN ('r', 'm')
        AND n.nspname !~ '^pg_'
        AND n.nspname <> 'information_schema'
    ORDER BY pg_total_relation_size(c.oid) DESC
    LIMIT 20
) AS largest;
