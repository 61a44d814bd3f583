-- Extended statistics, and whether they have data: they get it from ANALYZE, and before that the planner has none
SELECT
    format('%I.%I', n.nspname, s.stxname) AS name,
    format('%I.%I', m.nspname, c.relname) AS table_name,
    array_to_string(s.stxkind, ',') AS kinds,
    s.oid IN (SELECT d.stxoid FROM pg_statistic_ext_data AS d) AS has_data,
    -- An empty table gives none.
    c.reltuples > 0 AND s.oid NOT IN (SELECT d.stxoid FROM pg_statistic_ext_data AS d) AS attention
FROM pg_statistic_ext AS s
INNER JOIN pg_class AS c ON s.stxrelid = c.oid
INNER JOIN pg_namespace AS n ON s.stxnamespace = n.oid
INNER JOIN pg_namespace AS m ON c.relnamespace = m.oid
ORDER BY 2, 1;
