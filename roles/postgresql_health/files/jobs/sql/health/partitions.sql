-- How many days the last partition of each table that is partitioned by time reaches into the future. A key of another
-- type may have bounds that only look like dates, and a date may be one that a timestamp cannot hold.
-- Source: ours, from pg_inherits and the bounds of the partitions.
SELECT
    item,
    floor(extract(EPOCH FROM max(upper_bound) - now()) / 86400)::int AS value,
    format('%s partitions, the last ends %s', count(*), max(upper_bound)::date) AS detail
FROM (
    SELECT
        p.partrelid::regclass::text AS item,
        CASE
            WHEN coalesce(nullif(t.typbasetype, 0), t.oid)
                IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)
                THEN least(substring(
                    pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''(\d{4,}-\d\d-\d\d[^'']*)''\)'
                )::date, '9999-12-31')::timestamptz
        END AS upper_bound
    FROM pg_partitioned_table AS p
    INNER JOIN pg_attribute AS a ON p.partrelid = a.attrelid AND p.partattrs[0] = a.attnum
    INNER JOIN pg_type AS t ON a.atttypid = t.oid
    INNER JOIN pg_inherits AS h ON p.partrelid = h.inhparent
    INNER JOIN pg_class AS c ON h.inhrelid = c.oid
    WHERE p.partstrat = 'r' AND p.partnatts = 1
) AS bounds
WHERE upper_bound IS NOT NULL
GROUP BY item
ORDER BY value;
