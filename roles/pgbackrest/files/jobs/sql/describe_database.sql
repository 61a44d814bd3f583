-- What is in one database, but for its rows: section, name and definition, a row each.
WITH ours AS (
    SELECT
        c.*,
        format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class AS c
    INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND c.relpersistence <> 't'
)

SELECT
    'extension' AS section,
    e.extname::text AS name,
    concat_ws(' in ', e.extversion, e.extnamespace::regnamespace) AS definition
FROM pg_extension AS e
UNION ALL
SELECT
    'schema',
    n.nspname::text,
    concat_ws(' ', 'owner', n.nspowner::regrole, 'grants', n.nspacl)
FROM pg_namespace AS n
WHERE n.nspname !~ '^pg_(toast|temp)'
UNION ALL
SELECT
    'relation',
    o.name,
    concat_ws(
        ' ', 'kind', o.relkind, 'owner', o.relowner::regrole, 'grants', o.relacl, 'options', o.reloptions, 'populated',
        o.relispopulated, 'partition', pg_get_expr(o.relpartbound, o.oid), 'row security', o.relrowsecurity,
        'comment', obj_description(o.oid, 'pg_class')
    )
FROM ours AS o
UNION ALL
SELECT
    'column',
    format('%s.%I', o.name, a.attname),
    concat_ws(
        ' ', a.attnum, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END, a.attidentity,
        a.attgenerated, pg_get_expr(d.adbin, d.adrelid), 'statistics', a.attstattarget, 'grants', a.attacl
    )
FROM ours AS o
INNER JOIN pg_attribute AS a ON o.oid = a.attrelid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef AS d ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE o.relkind IN ('r', 'p', 'v', 'm', 'f')
UNION ALL
SELECT
    'index',
    i.indexrelid::regclass::text,
    concat_ws(' ', pg_get_indexdef(i.indexrelid), CASE WHEN NOT i.indisvalid THEN 'invalid' END)
FROM pg_index AS i
INNER JOIN ours AS o ON i.indrelid = o.oid
UNION ALL
SELECT
    'constraint',
    format('%s.%I', o.name, c.conname),
    pg_get_constraintdef(c.oid)
FROM pg_constraint AS c
INNER JOIN ours AS o ON c.conrelid = o.oid
UNION ALL
SELECT
    'trigger',
    format('%s.%I', o.name, t.tgname),
    pg_get_triggerdef(t.oid)
FROM pg_trigger AS t
INNER JOIN ours AS o ON t.tgrelid = o.oid
WHERE NOT t.tgisinternal
UNION ALL
SELECT
    'query of a view',
    o.name,
    pg_get_viewdef(o.oid)
FROM ours AS o
WHERE o.relkind IN ('v', 'm')
UNION ALL
SELECT
    'extended statistics',
    s.stxname::text,
    pg_get_statisticsobjdef(s.oid)
FROM pg_statistic_ext AS s
UNION ALL
SELECT
    'function',
    p.oid::regprocedure::text,
    concat_ws(' ', md5(pg_get_functiondef(p.oid)), 'owner', p.proowner::regrole, 'grants', p.proacl)
FROM pg_proc AS p
WHERE p.pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) AND p.prokind <> 'a'
UNION ALL
SELECT
    'default grants',
    concat_ws(' ', d.defaclrole::regrole, d.defaclnamespace::regnamespace, d.defaclobjtype),
    d.defaclacl::text
FROM pg_default_acl AS d
UNION ALL
SELECT
    'sequence',
    format('%I.%I', s.schemaname, s.sequencename),
    concat_ws(' ', s.data_type, 'step', s.increment_by, 'until', s.max_value, 'cycle', s.cycle)
FROM pg_sequences AS s
ORDER BY 1, 2;
