-- What a declared table is, who owns it, and whether its owner may use pg_partman.
-- Parameter: the table's name, as public.orders.
SELECT
    c.oid,
    c.relkind = 'p' AS partitioned,
    c.relowner::regrole::text AS owner,
    pg_get_userbyid(c.relowner) AS owner_name,
    e.extversion AS partman,
    coalesce(has_schema_privilege(c.relowner, to_regnamespace('partman'), 'USAGE'), false)
    AND NOT EXISTS (
        SELECT FROM pg_class AS t
        WHERE
            t.relnamespace = to_regnamespace('partman')
            AND t.relkind = 'r'
            AND NOT (
                has_table_privilege(c.relowner, t.oid, 'SELECT')
                AND has_table_privilege(c.relowner, t.oid, 'INSERT')
                AND has_table_privilege(c.relowner, t.oid, 'UPDATE')
                AND has_table_privilege(c.relowner, t.oid, 'DELETE')
            )
    ) AS may_use
FROM pg_class AS c
LEFT JOIN pg_extension AS e ON e.extname = 'pg_partman'
WHERE c.oid = to_regclass(%(table_name)s)
