"""The SQL that observes. Parameters are positional; an empty list is an empty array.

Comments are read from their catalog: obj_description() is a function in SQL, whose every call starts an executor.
"""

from __future__ import annotations

# names (schemas, names) that are not to be those of types; the type of an array makes room by itself; schemas
CONTEXT = """
SELECT current_user AS role,
       (SELECT json_agg(json_build_array(n.nspname, y.typname))
        FROM pg_namespace n JOIN pg_type y ON y.typnamespace = n.oid
        WHERE (n.nspname, y.typname) IN (SELECT * FROM unnest(%s::text[], %s::text[])) AND y.typrelid = 0
          AND NOT EXISTS (SELECT FROM pg_type e WHERE e.oid = y.typelem AND e.typarray = y.oid)) AS types,
       has_database_privilege(current_database(), 'TEMP') AS temporary,
       (SELECT json_agg(json_build_array(nspname, has_schema_privilege(oid, 'CREATE')))
        FROM pg_namespace WHERE nspname = ANY (%s::text[])) AS schemas,
       (SELECT json_agg(json_build_array(oid::bigint, spcname, nullif(pg_tablespace_location(oid), '')))
        FROM pg_tablespace) AS tablespaces,
       (SELECT coalesce(json_agg(spcname), '[]') FROM pg_tablespace
        WHERE NOT has_tablespace_privilege(oid, 'CREATE')) AS closed_tablespaces,
       (SELECT spcname FROM pg_database d JOIN pg_tablespace s ON s.oid = d.dattablespace
        WHERE d.datname = current_database()) AS default_tablespace,
       pg_size_bytes(current_setting('maintenance_work_mem')) AS work_memory
"""


def _comment(oid: str, catalog: str, column: str = "0") -> str:
    """Return the expression of an object's comment."""
    return (
        f"(SELECT description FROM pg_description WHERE objoid = {oid} AND classoid = '{catalog}'::regclass"  # noqa: S608
        f" AND objsubid = {column})"
    )


def _extensions(oid: str) -> str:
    """Return the expression of the extensions that a relation goes with, by ALTER … DEPENDS ON EXTENSION."""
    return (
        "ARRAY(SELECT e.extname::text FROM pg_depend x JOIN pg_extension e ON e.oid = x.refobjid"  # noqa: S608
        f" WHERE x.classid = 'pg_class'::regclass AND x.objid = {oid}"
        " AND x.refclassid = 'pg_extension'::regclass AND x.deptype = 'x' ORDER BY 1)"
    )


_GRANT = (
    "json_build_array(CASE WHEN g.grantee = 0 THEN '' ELSE pg_get_userbyid(g.grantee) END, g.privilege_type,"
    " g.is_grantable)"
)

# names (schemas, names), the mark, the pattern of own names
RELATIONS = f"""
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind, c.relpersistence AS persistence,
       pg_get_userbyid(c.relowner) AS owner, pg_has_role(c.relowner, 'USAGE') AS owned,
       c.reloptions, (SELECT t.reloptions FROM pg_class t WHERE t.oid = c.reltoastrelid) AS toast_options,
       c.reltoastrelid <> 0 AS has_toast,
       c.reltablespace::bigint AS tablespace,
       {_comment("c.oid", "pg_class")} AS comment, c.relispopulated AS populated,
       (SELECT amname FROM pg_am WHERE oid = c.relam) AS access_method,
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END AS query,
       CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS partition_key,
       CASE WHEN c.relkind IN ('r', 'p', 'm', 'f', 'v') THEN (
           SELECT json_agg(json_build_array(
               a.attname, a.attnotnull, coalesce(a.attstattarget, -1), CASE WHEN a.attlen > 0 THEN a.attlen ELSE 16 END,
               has_type_privilege(a.atttypid, 'USAGE'), a.attgenerated = 'v',
               CASE WHEN a.attacl IS NOT NULL THEN (SELECT json_agg({_GRANT}) FROM aclexplode(a.attacl) g) END,
               CASE WHEN c.relkind = 'm' THEN json_build_array(
                   format_type(a.atttypid, a.atttypmod), {_comment("c.oid", "pg_class", "a.attnum")}, a.attoptions,
                   CASE WHEN a.attstorage <> y.typstorage THEN a.attstorage END, nullif(a.attcompression, '')) END)
               ORDER BY a.attnum)
           FROM pg_attribute a
           JOIN pg_type y ON y.oid = a.atttypid
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) END AS columns,
       CASE WHEN c.relacl IS NOT NULL THEN
           (SELECT coalesce(json_agg({_GRANT}), '[]') FROM aclexplode(c.relacl) g) END AS acl,
       CASE WHEN c.relkind = 'm' THEN {_extensions("c.oid")} END AS extensions,
       CASE WHEN c.relkind = 'm' THEN ARRAY(
           SELECT DISTINCT CASE WHEN g.grantee = 0 THEN '' ELSE pg_get_userbyid(g.grantee) END::text
           FROM pg_default_acl d CROSS JOIN aclexplode(d.defaclacl) g
           WHERE d.defaclobjtype = 'r' AND d.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = current_user)
             AND d.defaclnamespace IN (0, c.relnamespace)) END AS default_grantees
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (n.nspname, c.relname) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
   OR (c.relkind = 'm' AND c.oid >= 16384
       AND (right({_comment("c.oid", "pg_class")}, length(%s)) = %s OR c.relname ~ %s))
ORDER BY 2, 3
"""  # noqa: S608 - parts of this file

# Average widths of columns in bytes, as ANALYZE saw them: schemas, names. A view that is costly to plan.
WIDTHS = """
SELECT s.schemaname AS schema, s.tablename AS name, s.attname AS column, max(s.avg_width) AS width
FROM pg_stats s WHERE (s.schemaname, s.tablename) IN (SELECT * FROM unnest(%s::text[], %s::text[])) GROUP BY 1, 2, 3
"""

# Rows and pages as ANALYZE saw them, and bytes now, which takes the weakest lock: oids of relations
SIZES = """
SELECT oid::bigint AS oid, reltuples AS tuples, relpages AS pages, coalesce(pg_relation_size(oid), 0) AS bytes
FROM pg_class WHERE oid = ANY (%s::oid[]) AND relkind IN ('r', 'm')
"""

# oids of relations
PARTITIONS = """
SELECT r.oid::bigint AS root, t.relid::oid::bigint AS oid, t.parentrelid::oid::bigint AS parent,
       n.nspname AS schema, c.relname AS name, c.relkind AS kind, c.reloptions,
       (SELECT x.reloptions FROM pg_class x WHERE x.oid = c.reltoastrelid) AS toast_options,
       c.reltoastrelid <> 0 AS has_toast,
       pg_get_userbyid(c.relowner) AS owner, pg_has_role(c.relowner, 'USAGE') AS owned
FROM pg_class r
CROSS JOIN LATERAL pg_partition_tree(r.oid) t
JOIN pg_class c ON c.oid = t.relid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.oid = ANY (%s::oid[]) AND r.relkind = 'p' AND t.level > 0
  AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = t.relid AND h.inhdetachpending)
ORDER BY r.oid, t.level, n.nspname, c.relname
"""

# What makes a definition; `i` is pg_index, `c` the index's pg_class, `t` and `tn` the table's pg_class and schema.
DEFINITION = """
       pg_get_indexdef(i.indexrelid) AS definition, i.indisunique AS is_unique,
       quote_ident(c.relname) AS quoted_index, quote_ident(t.relname) AS quoted_table, c.reloptions,
       (SELECT string_agg(quote_ident(split_part(o, '=', 1)) || '=' ||
               CASE WHEN quote_ident(substr(o, strpos(o, '=') + 1)) = substr(o, strpos(o, '=') + 1)
                    THEN substr(o, strpos(o, '=') + 1) ELSE quote_literal(substr(o, strpos(o, '=') + 1)) END,
               ', ' ORDER BY k)
        FROM unnest(c.reloptions) WITH ORDINALITY u(o, k)) AS with_text,
       ARRAY(SELECT concat_ws(' ', pg_get_indexdef(i.indexrelid, k, false), i.indclass[k - 1]::oid::text,
                              i.indcollation[k - 1]::oid::text, i.indoption[k - 1]::text)
             FROM generate_series(1, i.indnkeyatts::int) k ORDER BY k) AS parts,
       i.indpred IS NULL AS plain, i.indnatts - i.indnkeyatts AS includes
"""

# What a dependency is called, by the view or the object that has it: `d` is pg_depend, `r` pg_rewrite, `v` and `vn`
# the relation of the rule and its schema.
_LABEL = """CASE WHEN r.rulename = '_RETURN' THEN format('%%s %%I.%%I', CASE v.relkind WHEN 'v' THEN 'view'
                ELSE 'materialized view' END, vn.nspname, v.relname)
            ELSE pg_describe_object(d.classid, d.objid, 0) END"""

# What stands on a constraint `con` but foreign keys: views that are grouped by a primary key and show what depends on
# it, ON CONFLICT ON CONSTRAINT in rules and in functions of SQL, policies with such queries.
_STANDING = f"""(
        SELECT json_agg(DISTINCT {_LABEL}) FROM pg_depend d
        LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
        LEFT JOIN pg_class v ON v.oid = r.ev_class
        LEFT JOIN pg_namespace vn ON vn.oid = v.relnamespace
        WHERE d.refclassid = 'pg_constraint'::regclass AND d.refobjid = con.oid AND d.deptype = 'n'
          AND d.classid <> 'pg_constraint'::regclass)"""  # noqa: S608 - parts of this file

# oids of relations, names of indexes (schemas, names), the mark, twice, the pattern of own names; `temporal` depends on
# the release
INDEXES = f"""
SELECT i.indexrelid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
       tn.nspname AS table_schema, t.relname AS table_name, i.indrelid::bigint AS table_oid,
       {DEFINITION},
       i.indisvalid AND i.indisready AND i.indislive AS is_valid,
       i.indisclustered AS clustered, i.indisreplident AS replica_identity,
       c.reltablespace::bigint AS tablespace,
       {_comment("i.indexrelid", "pg_class")} AS comment,
       con.conname AS con_name, con.contype AS con_kind,
       con.condeferrable AS con_deferrable, con.condeferred AS con_deferred,
       {_comment("con.oid", "pg_constraint")} AS con_comment, {{temporal}} AS con_temporal,
       CASE WHEN con.oid IS NOT NULL THEN {_STANDING} END AS con_standing,
       CASE WHEN c.relispartition THEN (
           SELECT json_build_array(pn.nspname, p.relname)
           FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace
           WHERE h.inhrelid = i.indexrelid) END AS parent,
       pg_get_userbyid(c.relowner) AS owner, pg_has_role(c.relowner, 'USAGE') AS owned,
       {_extensions("i.indexrelid")} AS extensions,
       CASE WHEN i.indisunique THEN (
        SELECT json_agg(format('%%I on %%s', f.conname, f.conrelid::regclass) ORDER BY f.oid)
        FROM pg_constraint f
        WHERE f.contype = 'f' AND f.conindid = i.indexrelid AND f.conparentid = 0) END AS referenced_by,
       CASE WHEN i.indexprs IS NOT NULL THEN (
        SELECT json_agg(json_build_array(a.attnum, a.attstattarget) ORDER BY a.attnum)
        FROM pg_attribute a WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0) END AS targets
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace tn ON tn.oid = t.relnamespace
LEFT JOIN pg_constraint con ON con.conindid = i.indexrelid AND con.contype IN ('p', 'u', 'x')
WHERE i.indrelid = ANY (%s::oid[])
   OR (n.nspname, c.relname) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
   OR (i.indexrelid >= 16384 AND right({_comment("i.indexrelid", "pg_class")}, length(%s)) = %s)
   OR (i.indexrelid >= 16384 AND c.relname ~ %s)
ORDER BY 2, 3
"""  # noqa: S608 - parts of this file

# Which indexes that are not valid another session is building: oids of indexes
BUILDING = """
SELECT i.indexrelid::bigint AS oid FROM pg_index i
WHERE i.indexrelid = ANY (%s::oid[]) AND EXISTS (
    SELECT FROM pg_stat_progress_create_index p
    WHERE p.datname = current_database() AND p.pid <> pg_backend_pid()
      AND (p.index_relid = i.indexrelid
           OR (p.index_relid IS NULL AND NOT i.indisvalid AND EXISTS (
               SELECT FROM pg_locks l
               WHERE l.pid = p.pid AND l.relation = i.indrelid AND l.granted
                 AND l.mode = 'ShareUpdateExclusiveLock'))))
"""

# The partitions of tables, which a partitioned index on one has to do with: oids of tables
MEMBERS = """
SELECT r.oid::bigint AS root, n.nspname AS schema, c.relname AS name
FROM unnest(%s::oid[]) r (oid)
CROSS JOIN LATERAL pg_partition_tree(r.oid) t
JOIN pg_class c ON c.oid = t.relid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE t.level > 0 ORDER BY 1, t.level, 2, 3
"""

# names (schemas, names), oids of relations, the mark, twice
STATISTICS = f"""
SELECT s.oid::bigint AS oid, n.nspname AS schema, s.stxname AS name,
       tn.nspname AS table_schema, t.relname AS table_name,
       pg_get_statisticsobjdef_columns(s.oid) AS columns,
       (SELECT string_agg(k::text, ' ' ORDER BY k) FROM unnest(s.stxkind) k WHERE k <> 'e') AS kinds,
       coalesce(s.stxstattarget, -1) AS target, {_comment("s.oid", "pg_statistic_ext")} AS comment,
       pg_get_statisticsobjdef(s.oid) AS definition,
       pg_get_userbyid(s.stxowner) AS owner, pg_has_role(s.stxowner, 'USAGE') AS owned
FROM pg_statistic_ext s
JOIN pg_namespace n ON n.oid = s.stxnamespace
JOIN pg_class t ON t.oid = s.stxrelid
JOIN pg_namespace tn ON tn.oid = t.relnamespace
WHERE (n.nspname, s.stxname) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
   OR s.stxrelid = ANY (%s::oid[])
   OR right({_comment("s.oid", "pg_statistic_ext")}, length(%s)) = %s
ORDER BY 2, 3
"""  # noqa: S608 - parts of this file

# What stands on relations: whether the queries of views on tables are wanted, and oids of relations
DEPENDENTS = """
SELECT DISTINCT n.nspname AS on_schema, m.relname AS on_name,
       CASE WHEN r.rulename = '_RETURN' AND v.relkind = 'v' AND pg_has_role(v.relowner, 'USAGE') THEN 'view'
            WHEN r.rulename = '_RETURN' AND v.relkind = 'm' THEN 'materialized view' ELSE 'other' END AS kind,
       CASE WHEN r.rulename = '_RETURN' THEN format('%%s %%I.%%I%%s',
                CASE v.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, vn.nspname, v.relname,
                CASE WHEN NOT pg_has_role(v.relowner, 'USAGE') THEN format(' of %%s', v.relowner::regrole) END)
            ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END AS label,
       vn.nspname AS schema, v.relname AS name,
       CASE WHEN v.relkind = 'v' AND (m.relkind = 'm' OR %s) THEN pg_get_viewdef(v.oid) END AS query,
       v.reloptions AS options,
       pg_get_userbyid(v.relowner) AS owner
FROM pg_class m
JOIN pg_namespace n ON n.oid = m.relnamespace
JOIN pg_type y ON y.oid = m.reltype
JOIN pg_depend d ON (d.refclassid = 'pg_class'::regclass AND d.refobjid = m.oid)
                 OR (d.refclassid = 'pg_type'::regclass AND d.refobjid IN (y.oid, y.typarray))
LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
LEFT JOIN pg_class v ON v.oid = r.ev_class
LEFT JOIN pg_namespace vn ON vn.oid = v.relnamespace
WHERE m.oid = ANY (%s::oid[]) AND d.deptype = 'n' AND v.oid IS DISTINCT FROM m.oid
  -- A table's own parts, and what refers to its key, are asked for by themselves.
  AND d.classid NOT IN ('pg_constraint'::regclass, 'pg_trigger'::regclass, 'pg_attrdef'::regclass,
                        'pg_publication_rel'::regclass)
ORDER BY 1, 2, 4
"""
