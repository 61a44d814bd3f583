-- B-tree indexes with the share of their pages that a rebuild would give back, measured page by page
--
-- Needs the extension pgstattuple, which reads each index once. Beside the leaf pages, which a rebuild fills to the
-- fillfactor, there are the pages above them, and pages that are empty or deleted. Only indexes of at least 1 MB: a
-- smaller one gives nothing back.
SELECT
    m.name,
    m.table_name,
    m.size AS bytes,
    pg_size_pretty(m.size) AS size,
    round((100 * (1 - m.needed_pages / m.pages))::numeric, 1) AS bloat_percent,
    round(m.density::numeric, 1) AS leaf_density_percent
FROM (
    SELECT
        format('%I.%I', n.nspname, c.relname) AS name,
        format('%I.%I', n.nspname, t.relname) AS table_name,
        s.index_size AS size,
        s.avg_leaf_density AS density,
        s.index_size / current_setting('block_size')::float8 AS pages,
        least(
            1 + s.internal_pages + s.leaf_pages * s.avg_leaf_density
            / coalesce(substring(array_to_string(c.reloptions, ' ') FROM 'fillfactor=(\d+)')::float8, 90),
            s.index_size / current_setting('block_size')::float8
        ) AS needed_pages
    FROM pg_index AS i
    INNER JOIN pg_class AS c ON i.indexrelid = c.oid
    INNER JOIN pg_class AS t ON i.indrelid = t.oid
    INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
    INNER JOIN pg_am AS a ON c.relam = a.oid
    CROSS JOIN LATERAL pgstatindex(c.oid::regclass) AS s
    WHERE
        c.relkind = 'i'
        AND a.amname = 'btree'
        AND c.relpersistence <> 't'
        AND i.indisvalid
        AND NOT i.indisexclusion
        AND n.nspname !~ '^pg_'
        AND n.nspname <> 'information_schema'
        AND pg_relation_size(c.oid) >= 1024 * 1024
) AS m
ORDER BY m.size * (1 - m.needed_pages / m.pages) DESC;
