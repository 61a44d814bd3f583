-- Sequences that used more than half of what they, or the column that they fill, can hold
--
-- A serial column is an integer, and its sequence goes on behind the column's end.
SELECT
    format('%I.%I', s.schemaname, s.sequencename) AS name,
    format('%I.%I.%I', n.nspname, t.relname, a.attname) AS column_name,
    s.last_value,
    m.highest,
    round(100 * s.last_value / m.highest::numeric, 1) AS used_percent,
    s.last_value > 0.8 * m.highest AS attention
FROM pg_sequences AS s
INNER JOIN pg_namespace AS sn ON s.schemaname = sn.nspname
INNER JOIN pg_class AS c ON c.relnamespace = sn.oid AND s.sequencename = c.relname
LEFT JOIN pg_depend AS d
    ON d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
    AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
LEFT JOIN pg_class AS t ON d.refobjid = t.oid
LEFT JOIN pg_namespace AS n ON t.relnamespace = n.oid
LEFT JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
CROSS JOIN LATERAL (
    SELECT least(
        s.max_value,
        CASE a.atttypid
            WHEN 'int2'::regtype THEN 32767
            WHEN 'int4'::regtype THEN 2147483647
            ELSE 9223372036854775807
        END
    ) AS highest
) AS m
WHERE s.increment_by > 0 AND NOT s.cycle AND s.last_value > 0.5 * m.highest
ORDER BY 5 DESC;
