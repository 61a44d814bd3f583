-- What a killed REINDEX CONCURRENTLY left: INVALID indexes named _ccnew or _ccold, beside the index they were made from
--
-- PostgreSQL cuts the name to 63 bytes before it appends the ending, and numbers it where it is taken. One whose table
-- is being built on belongs to somebody who is at work.
SELECT
    format('%I.%I', n.nspname, c.relname) AS name,
    format('%I.%I', n.nspname, t.relname) AS table_name,
    pg_size_pretty(pg_relation_size(c.oid)) AS size,
    i.indisready AS slows_down_writes,
    TRUE AS attention
FROM pg_index AS i
INNER JOIN pg_class AS c ON i.indexrelid = c.oid
INNER JOIN pg_class AS t ON i.indrelid = t.oid
INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
WHERE
    NOT i.indisvalid
    AND c.relkind = 'i'
    AND c.relname ~ '_cc(new|old)[0-9]*$'
    AND n.nspname !~ '^pg_'
    AND EXISTS (
        SELECT FROM pg_index AS o
        INNER JOIN pg_class AS original ON o.indexrelid = original.oid
        WHERE
            o.indrelid = i.indrelid
            AND o.indexrelid <> i.indexrelid
            AND starts_with(original.relname::text, regexp_replace(c.relname, '_cc(new|old)[0-9]*$', ''))
    )
    AND i.indrelid NOT IN (SELECT p.relid FROM pg_stat_progress_create_index AS p)
ORDER BY 1;
