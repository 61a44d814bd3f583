-- Tables with the share of their pages that holds no live row, measured page by page
--
-- Needs the extension pgstattuple, which skips the pages that VACUUM knows to be all visible. Free pages take new
-- rows; only a rewrite (VACUUM FULL, CLUSTER) gives them back. Only tables of at least 10 MB.
SELECT
    format('%I.%I', n.nspname, c.relname) AS name,
    pg_relation_size(c.oid) AS bytes,
    round((s.dead_tuple_percent + s.approx_free_percent)::numeric, 1) AS bloat_percent
FROM pg_class AS c
INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
CROSS JOIN LATERAL pgstattuple_approx(c.oid::regclass) AS s
WHERE
    c.relkind IN ('r', 'm')
    AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_'
    AND n.nspname <> 'information_schema'
    AND pg_relation_size(c.oid) >= 10 * 1024 * 1024
ORDER BY bloat_percent DESC;
