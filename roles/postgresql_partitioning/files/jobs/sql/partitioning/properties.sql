-- The statements that give new partitions what a partition does not inherit: storage parameters as a partition before
-- has them, and as the table has them the statistics targets and what logical replication is told.
-- Parameter: the table's oid.
WITH
parts AS (
    SELECT
        c.oid,
        c.reloptions,
        c.relreplident,
        b.upper
    FROM pg_inherits AS h
    INNER JOIN pg_class AS c ON h.inhrelid = c.oid
    CROSS JOIN LATERAL (
        SELECT substring(pg_get_expr(c.relpartbound, c.oid) FROM ' TO \(''([^'']+)''\)')::timestamptz AS upper
    ) AS b
    WHERE h.inhparent = %(oid)s AND c.relkind = 'r' AND b.upper IS NOT NULL AND NOT h.inhdetachpending
)

SELECT format('ALTER TABLE %%s SET (%%s)', p.oid::regclass, o.options) AS statement
FROM parts AS p
CROSS JOIN LATERAL (
    SELECT q.reloptions FROM parts AS q
    WHERE q.upper < p.upper AND q.reloptions IS NOT NULL
    ORDER BY q.upper DESC
    LIMIT 1
) AS b
CROSS JOIN LATERAL (
    SELECT string_agg(format('%%I = %%L', f.option_name, f.option_value), ', ') AS options
    FROM pg_options_to_table(b.reloptions) AS f
) AS o
WHERE p.reloptions IS NULL
UNION ALL
SELECT format('ALTER TABLE %%s ALTER COLUMN %%I SET STATISTICS %%s', p.oid::regclass, t.attname, t.attstattarget)
FROM parts AS p
INNER JOIN pg_attribute AS t ON t.attrelid = %(oid)s AND t.attnum > 0 AND t.attstattarget >= 0
INNER JOIN pg_attribute AS a ON p.oid = a.attrelid AND t.attname = a.attname
WHERE coalesce(a.attstattarget, -1) < 0
UNION ALL
SELECT
    format(
        'ALTER TABLE %%s REPLICA IDENTITY %%s',
        p.oid::regclass,
        CASE t.relreplident WHEN 'f' THEN 'FULL' ELSE 'NOTHING' END
    )
FROM parts AS p
INNER JOIN pg_class AS t ON t.oid = %(oid)s
WHERE t.relreplident IN ('f', 'n') AND t.relreplident <> p.relreplident
