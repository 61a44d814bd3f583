-- The partitions of a table with their bounds, in UTC. A lower bound is null where a partition holds everything before,
-- both are null for the DEFAULT partition.
-- Parameter: the table's oid.
SELECT
    format('%%I.%%I', n.nspname, c.relname) AS name,
    b.bound = 'DEFAULT' AS is_default,
    h.inhdetachpending AS half_detached,
    nullif(substring(b.bound FROM 'FROM \(''([^'']+)''\)'), '-infinity')::timestamptz AS lower,
    substring(b.bound FROM ' TO \(''([^'']+)''\)')::timestamptz AS upper
FROM pg_inherits AS h
INNER JOIN pg_class AS c ON h.inhrelid = c.oid
INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid) AS bound) AS b
WHERE h.inhparent = %(oid)s
ORDER BY upper NULLS LAST
