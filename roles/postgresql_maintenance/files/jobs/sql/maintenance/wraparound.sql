-- How far the oldest transaction is from the point at which PostgreSQL stops accepting writes; and what holds it back
SELECT
    'database ' || d.datname AS what,
    greatest(age(d.datfrozenxid), mxid_age(d.datminmxid)) AS age,
    round(100.0 * greatest(age(d.datfrozenxid), mxid_age(d.datminmxid)) / 2147483647.0, 1) AS percent_of_limit,
    greatest(age(d.datfrozenxid), mxid_age(d.datminmxid)) > 500000000 AS attention
FROM pg_database AS d
WHERE d.datallowconn
UNION ALL
SELECT *
FROM (
    SELECT
        format('table %I.%I', n.nspname, c.relname),
        greatest(age(c.relfrozenxid), mxid_age(c.relminmxid)),
        round(100.0 * greatest(age(c.relfrozenxid), mxid_age(c.relminmxid)) / 2147483647.0, 1),
        greatest(age(c.relfrozenxid), mxid_age(c.relminmxid)) > 500000000
    FROM pg_class AS c
    INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
    WHERE c.relkind IN ('r', 'm', 't') AND c.relpersistence <> 't'
    ORDER BY 2 DESC
    LIMIT 5
) AS oldest_tables
UNION ALL
SELECT
    format('prepared transaction %L of %s', x.gid, x.owner),
    age(x.transaction),
    round(100.0 * age(x.transaction) / 2147483647.0, 1),
    now() - x.prepared > interval '1 hour'
FROM pg_prepared_xacts AS x
UNION ALL
SELECT
    'replication slot ' || s.slot_name,
    greatest(age(s.xmin), age(s.catalog_xmin)),
    round(100.0 * greatest(age(s.xmin), age(s.catalog_xmin)) / 2147483647.0, 1),
    greatest(age(s.xmin), age(s.catalog_xmin)) > 500000000
FROM pg_replication_slots AS s
WHERE coalesce(s.xmin, s.catalog_xmin) IS NOT NULL;
