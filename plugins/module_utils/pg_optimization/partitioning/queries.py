"""The SQL that observes one table. Parameters are positional."""

from __future__ import annotations

# The name of the table, quoted and qualified; null where there is none.
FIND = "SELECT to_regclass(%s)::oid::bigint AS oid, (now() AT TIME ZONE 'UTC')::timestamp AS now"

# What is odd about it and cannot be carried over. oid
ODDITIES = """
SELECT array_remove(ARRAY[
    CASE WHEN c.relispartition THEN 'it is a partition of another table' END,
    CASE WHEN NOT c.relispartition AND EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid)
         THEN 'it inherits from another table' END,
    CASE WHEN c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid)
         THEN 'other tables inherit from it' END,
    CASE WHEN c.reloftype <> 0 THEN 'it is a typed table' END,
    CASE WHEN c.relpersistence = 't' THEN 'it is a temporary table' END,
    CASE WHEN c.relpersistence = 'u' THEN 'it is UNLOGGED, and a partitioned table cannot be' END,
    CASE WHEN c.relkind NOT IN ('r', 'p') THEN 'it is neither a table nor partitioned' END,
    CASE WHEN NOT pg_has_role(c.relowner, 'USAGE')
         THEN format('it belongs to %%I, and %%I is not a member of that role', pg_get_userbyid(c.relowner),
                     current_user) END,
    CASE WHEN EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid = c.oid)
         THEN 'a subscription of logical replication writes it' END,
    CASE WHEN c.relkind = 'r' AND (c.relrowsecurity OR EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid))
         THEN 'it has row-level security, which would stay with the history and hide no row of the partitioned table: '
              'drop it, and declare it again behind, in a window without readers' END,
    CASE WHEN c.relkind = 'r' AND EXISTS (SELECT FROM pg_rewrite WHERE ev_class = c.oid)
         THEN 'it has rules, which would stay with the history and rewrite nothing: make triggers of them first' END,
    CASE WHEN EXISTS (SELECT FROM pg_seclabel WHERE objoid = c.oid)
         THEN 'it has security labels, which would stay with the history: take them off, and set them again behind' END
], NULL) AS oddities
FROM pg_class c WHERE c.oid = %s
"""

# oid, column
TABLE = """
SELECT c.relkind AS kind, c.reltuples AS tuples, c.relreplident AS replica_identity,
       pg_total_relation_size(c.oid) AS total_bytes, format_type(a.atttypid, NULL) AS column_type,
       a.attnotnull AS not_null, a.attgenerated <> '' AS generated,
       CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS partition_key, quote_ident(a.attname) AS quoted,
       coalesce((SELECT coalesce(installed_version, default_version) FROM pg_available_extensions
                 WHERE name = 'pg_partman'), '4') AS partman,
       ARRAY(SELECT DISTINCT CASE WHEN g.grantee = 0 THEN '' ELSE pg_get_userbyid(g.grantee) END::text
             FROM pg_default_acl d CROSS JOIN aclexplode(d.defaclacl) g
             WHERE d.defaclobjtype = 'r' AND d.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = current_user)
               AND d.defaclnamespace IN (0, c.relnamespace)) AS default_grantees,
       (SELECT json_agg(json_build_array(o.attname, o.attoptions) ORDER BY o.attnum)
        FROM pg_attribute o WHERE o.attrelid = c.oid AND o.attoptions IS NOT NULL AND o.attnum > 0) AS column_options,
       ARRAY(SELECT t.relname::text FROM pg_class t WHERE t.relnamespace = c.relnamespace
             UNION SELECT y.typname::text FROM pg_type y
             WHERE y.typnamespace = c.relnamespace AND y.typrelid = 0 AND y.typcategory <> 'A') AS taken
FROM pg_class c
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = %s AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.oid = %s
"""

# oid
CONSTRAINTS = """
SELECT k.conname AS name, k.contype AS kind, pg_get_constraintdef(k.oid) AS definition,
       k.convalidated AND coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true) AS valid,
       NOT k.connoinherit AS inherited,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(number, position)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.position) AS columns,
       ARRAY(SELECT a.attname::text FROM pg_index i, unnest(i.indkey) WITH ORDINALITY u(number, position)
             JOIN pg_attribute a ON a.attrelid = %s AND a.attnum = u.number
             WHERE k.contype IN ('p', 'u') AND i.indexrelid = k.conindid AND u.position > i.indnkeyatts
             ORDER BY u.position) AS include,
       concat(CASE WHEN k.condeferrable THEN ' DEFERRABLE' END, CASE WHEN k.condeferred THEN ' INITIALLY DEFERRED' END)
           AS timing,
       obj_description(k.oid, 'pg_constraint') AS comment,
       CASE WHEN k.contype = 'f' THEN (SELECT json_build_array(n.nspname, r.relname) FROM pg_class r
            JOIN pg_namespace n ON n.oid = r.relnamespace WHERE r.oid = k.confrelid) END AS refers
FROM pg_constraint k WHERE k.conrelid = %s AND k.contype IN ('p', 'u', 'x', 'c', 'f', 'n')
ORDER BY k.contype, k.conname
"""

# oid
REFERENCING = """
SELECT format('%%I on %%s', conname, conrelid::regclass) AS label FROM pg_constraint
WHERE contype = 'f' AND confrelid = %s AND conparentid = 0 ORDER BY 1
"""

# oid
TRIGGERS = """
SELECT t.tgname AS name, pg_get_triggerdef(t.oid) AS definition, t.tgenabled AS enabled,
       (t.tgtype & 1) = 1 AND (t.tgoldtable IS NOT NULL OR t.tgnewtable IS NOT NULL) AS transition,
       obj_description(t.oid, 'pg_trigger') AS comment
FROM pg_trigger t WHERE t.tgrelid = %s AND NOT t.tgisinternal ORDER BY t.tgname
"""

# oid
SEQUENCES = """
SELECT n.nspname AS schema, s.relname AS name, a.attname AS column, a.attidentity <> '' AS identity
FROM pg_depend d
JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_namespace n ON n.oid = s.relnamespace
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = %s
  AND d.deptype IN ('a', 'i')
ORDER BY s.relname
"""

# oid, three times
PUBLICATIONS = """
SELECT p.pubname AS name, p.pubviaroot AS via_root, r.oid IS NOT NULL AS listed,
       pg_has_role(p.pubowner, 'USAGE') AS owned,
       ARRAY(SELECT a.attname::text FROM unnest(r.prattrs) u(number)
             JOIN pg_attribute a ON a.attrelid = r.prrelid AND a.attnum = u.number) AS columns,
       pg_get_expr(r.prqual, r.prrelid) AS condition
FROM pg_publication p
LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = %s
WHERE p.puballtables OR r.oid IS NOT NULL
   OR EXISTS (SELECT FROM pg_publication_namespace s JOIN pg_class c ON c.relnamespace = s.pnnspid
              WHERE s.pnpubid = p.oid AND c.oid = %s)
ORDER BY 1
"""

# Views that ask for the tableoid, the system column -6. oid
OF_TABLEOID = """
SELECT DISTINCT format('%%s %%I.%%I', CASE v.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, n.nspname,
                       v.relname) AS label
FROM pg_depend d
JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
JOIN pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm')
JOIN pg_namespace n ON n.oid = v.relnamespace
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = %s AND d.refobjsubid = -6
ORDER BY 1
"""

# oid
INDEXES = """
SELECT n.nspname AS schema, c.relname AS name,
       substr(pg_get_indexdef(i.indexrelid),
              length(format('CREATE %%sINDEX %%I ON %%I.%%I ', CASE WHEN i.indisunique THEN 'UNIQUE ' END, c.relname,
                            tn.nspname, t.relname)) + 1) AS tail,
       ARRAY(SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY u(number, position)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.number
             WHERE u.position <= i.indnkeyatts) AS keys
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace tn ON tn.oid = t.relnamespace
WHERE i.indrelid = %s AND t.relkind = 'r'
"""

# The partitions with their bounds as days. oid
PARTITIONS = """
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, b.bound = 'DEFAULT' AS is_default,
       b.bound ~ 'FROM \\((MINVALUE|''-infinity'')\\)' AS lowest,
       (regexp_match(b.bound, 'TO \\(''(\\d{4}-\\d\\d-\\d\\d)'))[1]::date AS upper,
       (regexp_match(b.bound, 'FROM \\(''(\\d{4}-\\d\\d-\\d\\d)'))[1]::date AS lower, c.reloptions,
       (SELECT t.reloptions FROM pg_class t WHERE t.oid = c.reltoastrelid) AS toast_options
FROM pg_inherits h
JOIN pg_class c ON c.oid = h.inhrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid) AS bound) b
WHERE h.inhparent = %s AND NOT h.inhdetachpending
ORDER BY 6 NULLS FIRST
"""

# Materialized views that read these relations, and those that read them in turn. oids, the pattern of own names
VIEWS = """
WITH RECURSIVE reads AS (
    SELECT DISTINCT d.refobjid AS source, r.ev_class AS view
    FROM pg_depend d
    JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    JOIN pg_class v ON v.oid = r.ev_class AND v.relkind = 'm'
    WHERE d.refclassid = 'pg_class'::regclass AND d.deptype = 'n' AND d.refobjid <> r.ev_class
), closure AS (
    SELECT view, source, 1 AS depth FROM reads WHERE source = ANY (%s::oid[])
    UNION ALL
    SELECT r.view, r.source, c.depth + 1 FROM reads r JOIN closure c ON c.view = r.source
)
SELECT n.nspname AS schema, v.relname AS name, max(k.depth) AS depth
FROM closure k JOIN pg_class v ON v.oid = k.view JOIN pg_namespace n ON n.oid = v.relnamespace
WHERE v.relname !~ %s
GROUP BY 1, 2 ORDER BY 3, 1, 2
"""
