-- For each table that is partitioned by ranges of one column: an EXPLAIN that has to read its newest partition alone
--
-- By hand: put \gexec in place of the last semicolon, and each question is asked.
SELECT DISTINCT ON (p.oid)
    format('%I.%I', n.nspname, p.relname) AS table_name,
    a.attname AS key,
    count(*) OVER (PARTITION BY p.oid) AS partitions,
    format(
        'EXPLAIN (FORMAT JSON) SELECT FROM %1$I.%2$I WHERE %3$I >= %4$s AND %3$I < %5$s',
        n.nspname, p.relname, a.attname, b.bounds[1], b.bounds[2]
    ) AS question
FROM pg_partitioned_table AS k
INNER JOIN pg_class AS p ON k.partrelid = p.oid
INNER JOIN pg_namespace AS n ON p.relnamespace = n.oid
INNER JOIN pg_attribute AS a ON a.attrelid = p.oid AND a.attnum = k.partattrs[0]
INNER JOIN pg_inherits AS h ON h.inhparent = p.oid AND NOT h.inhdetachpending
INNER JOIN pg_class AS c ON h.inhrelid = c.oid
CROSS JOIN LATERAL (
    SELECT regexp_match(pg_get_expr(c.relpartbound, c.oid), '^FOR VALUES FROM \((.+)\) TO \((.+)\)$') AS bounds
) AS b
WHERE
    k.partstrat = 'r' AND k.partnatts = 1
    AND b.bounds[1] NOT IN ('MINVALUE', 'MAXVALUE') AND b.bounds[2] NOT IN ('MINVALUE', 'MAXVALUE')
ORDER BY p.oid, length(b.bounds[1]) DESC, b.bounds[1] DESC;
