-- The partitions of a table with their bounds, in UTC. A lower bound is null where a partition holds everything before,
-- both are null for the DEFAULT partition. A bound of a year that Python does not have is the last or first of its own.
-- Parameter: the table's oid.
SELECT
    format('%%I.%%I', n.nspname, c.relname) AS name,
    b.bound = 'DEFAULT' AS is_default,
    h.inhdetachpending AS half_detached,
    -- greatest() and least() pass over nulls.
    CASE WHEN t.lower <> '-infinity' THEN least(greatest(t.lower, '0002-01-01'), '9998-01-01') END AS lower,
    CASE WHEN t.upper IS NOT NULL THEN least(greatest(t.upper, '0002-01-01'), '9998-01-01') END AS upper
FROM pg_inherits AS h
INNER JOIN pg_class AS c ON h.inhrelid = c.oid
INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid) AS bound) AS b
CROSS JOIN LATERAL (
    SELECT
        substring(b.bound FROM 'FROM \(''([^'']+)''\)')::timestamptz AS lower,
        substring(b.bound FROM ' TO \(''([^'']+)''\)')::timestamptz AS upper
) AS t
WHERE h.inhparent = %(oid)s
ORDER BY t.upper NULLS LAST
