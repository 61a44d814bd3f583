-- Indexes that say the same as another of their table: equal in everything, or the beginning of another one's columns
SELECT
    format('%I.%I', n.nspname, c.relname) AS name,
    format('%I.%I', n.nspname, t.relname) AS table_name,
    format('%I.%I', n.nspname, o.relname) AS same_as,
    CASE WHEN j.indnatts = i.indnatts THEN 'equal' ELSE 'its beginning' END AS how,
    pg_size_pretty(pg_relation_size(c.oid)) AS size,
    j.indnatts = i.indnatts AS attention
FROM pg_index AS i
INNER JOIN pg_index AS j ON i.indrelid = j.indrelid AND i.indexrelid <> j.indexrelid
INNER JOIN pg_class AS c ON i.indexrelid = c.oid
INNER JOIN pg_class AS o ON j.indexrelid = o.oid
INNER JOIN pg_class AS t ON i.indrelid = t.oid
INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
INNER JOIN pg_am AS m ON c.relam = m.oid
WHERE
    i.indisvalid AND j.indisvalid
    AND n.nspname !~ '^pg_'
    AND n.nspname <> 'information_schema'
    -- The one that holds a rule is kept: a unique index is superfluous only beside another unique one that is equal.
    AND (NOT i.indisunique OR (j.indisunique AND i.indnkeyatts = j.indnkeyatts))
    AND i.indexrelid NOT IN (SELECT k.conindid FROM pg_constraint AS k)
    AND i.indexrelid NOT IN (SELECT h.inhrelid FROM pg_inherits AS h)
    AND c.relam = o.relam
    AND coalesce(pg_get_expr(i.indpred, i.indrelid), '') = coalesce(pg_get_expr(j.indpred, j.indrelid), '')
    AND coalesce(pg_get_expr(i.indexprs, i.indrelid), '') = coalesce(pg_get_expr(j.indexprs, j.indrelid), '')
    AND (
        (
            i.indnatts = j.indnatts AND i.indnkeyatts = j.indnkeyatts
            AND i.indkey::text = j.indkey::text
            AND i.indclass::text = j.indclass::text
            AND i.indcollation::text = j.indcollation::text
            AND i.indoption::text = j.indoption::text
            -- Of two equal ones the younger is named, and one that backs a constraint never.
            AND (i.indexrelid > j.indexrelid OR j.indexrelid IN (SELECT k.conindid FROM pg_constraint AS k))
        )
        OR (
            NOT i.indisunique
            AND i.indexprs IS NULL
            AND m.amname = 'btree'
            AND i.indnatts = i.indnkeyatts AND i.indnatts < j.indnkeyatts
            AND starts_with(j.indkey::text, i.indkey::text || ' ')
            AND starts_with(j.indclass::text, i.indclass::text || ' ')
            AND starts_with(j.indcollation::text, i.indcollation::text || ' ')
            AND starts_with(j.indoption::text, i.indoption::text || ' ')
        )
    )
ORDER BY pg_relation_size(c.oid) DESC, n.nspname, c.relname ASC, o.relname ASC;
