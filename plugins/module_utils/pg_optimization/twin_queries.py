"""The SQL that reads back what was made on twins, all at once. Parameters are positional."""

from __future__ import annotations

from .queries import DEFINITION

# The definitions of the indexes that were just built on twins: the pattern of their names
TWIN_INDEXES = f"""
SELECT c.relname AS twin, {DEFINITION}
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid
WHERE c.relnamespace = pg_my_temp_schema() AND c.relname ~ %s
"""  # noqa: S608 - parts of this file

_VIEW = """
       pg_get_viewdef(v.oid) AS query,
       (SELECT json_agg(json_build_array(a.attname, format_type(a.atttypid, a.atttypmod), a.attcollation::bigint)
                        ORDER BY a.attnum)
        FROM pg_attribute a WHERE a.attrelid = v.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
"""

# The definition of a view and its columns; the view's name, quoted and qualified
VIEW = f"SELECT {_VIEW} FROM (SELECT %s::regclass::oid AS oid) v"  # noqa: S608 - parts of this file

# The same of the views that were just made as twins
TWIN_VIEWS = f"""
SELECT v.relname AS twin, {_VIEW} FROM pg_class v WHERE v.relnamespace = pg_my_temp_schema() AND v.relkind = 'v'
"""  # noqa: S608 - parts of this file

# What a view reads, by itself and through plain views; `twin` stands for a relation in pg_temp: the view's name
READS = """
WITH RECURSIVE reads (oid, direct) AS (
    SELECT d.refobjid, true
    FROM pg_rewrite r
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
    WHERE r.ev_class = %s::regclass AND d.refobjid <> r.ev_class
    UNION
    SELECT d.refobjid, false
    FROM reads
    JOIN pg_class v ON v.oid = reads.oid AND v.relkind = 'v'
    JOIN pg_rewrite r ON r.ev_class = v.oid
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
    WHERE d.refobjid <> r.ev_class
)
SELECT n.nspname AS schema, c.relname AS name, n.oid = pg_my_temp_schema() AS twin, bool_or(direct) AS direct
FROM reads JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
GROUP BY 1, 2, 3
"""

# The schemas of the search path, and which of them have relations of given names, twins apart: names
PATH = """
SELECT current_schemas(true)::text[] AS schemas,
       (SELECT json_agg(json_build_array(n.nspname, c.relname))
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relname = ANY (%s) AND n.nspname = ANY (current_schemas(true)) AND n.oid <> pg_my_temp_schema()
       ) AS relations
"""

# How the server writes a name: its schema, the name
QUOTED = "SELECT quote_ident(%s) AS schema, quote_ident(%s) AS name"

# The columns of a table as a twin of it is made: its oid
COLUMNS = """
SELECT a.attname AS name, a.attnotnull AS not_null, a.attgenerated AS generated,
       a.atttypid::bigint AS type, format_type(a.atttypid, a.atttypmod) AS shown,
       CASE WHEN a.attcollation <> y.typcollation THEN (
           SELECT json_build_array(n.nspname, c.collname)
           FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
           WHERE c.oid = a.attcollation) END AS collation,
       pg_get_expr(d.adbin, d.adrelid) AS expression
FROM pg_attribute a
JOIN pg_type y ON y.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated <> ''
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""

# The types of a table's columns, and those that types are made of which the role may not use: the table's oid
TYPES = """
WITH RECURSIVE used (oid) AS (
    SELECT atttypid FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped
    UNION
    SELECT x.oid
    FROM used
    JOIN pg_type y ON y.oid = used.oid AND NOT has_type_privilege(y.oid, 'USAGE')
    CROSS JOIN LATERAL (
        SELECT y.typbasetype WHERE y.typtype = 'd'
        UNION ALL SELECT y.typelem WHERE y.typsubscript = 'array_subscript_handler'::regproc
        UNION ALL SELECT rngsubtype FROM pg_range WHERE rngtypid = y.oid
        UNION ALL SELECT atttypid FROM pg_attribute WHERE attrelid = y.typrelid AND attnum > 0 AND NOT attisdropped
    ) x (oid)
)
SELECT y.oid::bigint AS oid, n.nspname AS schema, y.typname AS name, y.typtype AS kind,
       has_type_privilege(y.oid, 'USAGE') AS usable,
       CASE WHEN y.typsubscript = 'array_subscript_handler'::regproc THEN y.typelem::bigint END AS element,
       format_type(y.typelem, NULL) AS element_shown,
       y.typbasetype::bigint AS base, format_type(y.typbasetype, y.typtypmod) AS base_shown,
       g.rngsubtype::bigint AS subtype, format_type(g.rngsubtype, NULL) AS subtype_shown,
       (SELECT json_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = y.oid) AS labels,
       (SELECT json_agg(json_build_array(attname, atttypid::bigint, format_type(atttypid, atttypmod)) ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = y.typrelid AND attnum > 0 AND NOT attisdropped) AS fields
FROM used JOIN pg_type y USING (oid) JOIN pg_namespace n ON n.oid = y.typnamespace
LEFT JOIN pg_range g ON g.rngtypid = y.oid
"""

# The event triggers, with schema and name of their functions
EVENT_TRIGGERS = """
SELECT e.evtname AS name, n.nspname AS schema, p.proname AS function
FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE e.evtenabled <> 'D' ORDER BY 1
"""

# Functions that a role may not execute and a twin needs, also as those of operators: the twin's name, twice, the role
CLOSED_FUNCTIONS = """
SELECT DISTINCT p.oid::regprocedure::text AS function
FROM pg_depend d
LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
JOIN pg_proc p ON p.oid = CASE WHEN d.refclassid = 'pg_proc'::regclass THEN d.refobjid ELSE o.oprcode END
WHERE (d.classid, d.objid) IN (
        SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relname = %s AND relnamespace = pg_my_temp_schema()
        UNION ALL
        SELECT 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext
        WHERE stxname = %s AND stxnamespace = pg_my_temp_schema())
  AND NOT has_function_privilege(%s, p.oid, 'EXECUTE')
ORDER BY 1
"""

# The statistics that were just made on twins: the pattern of their names
TWIN_STATISTICS = """
SELECT s.stxname AS twin, pg_get_statisticsobjdef_columns(s.oid) AS columns,
       (SELECT string_agg(k::text, ' ' ORDER BY k) FROM unnest(s.stxkind) k WHERE k <> 'e') AS kinds
FROM pg_statistic_ext s
WHERE s.stxnamespace = pg_my_temp_schema() AND s.stxname ~ %s
"""

# What the server keeps of indexes on twins: their names. Trees are of one twin, so columns have the same numbers.
TWIN_INDEX_TREES = f"""
SELECT c.relname AS twin, {DEFINITION},
       c.relam::bigint AS method, i.indkey::text AS columns, i.indclass::text AS classes,
       i.indcollation::text AS collations, i.indoption::text AS options, i.indnkeyatts::int AS keys,
       i.indnullsnotdistinct AS distinct_nulls, i.indexprs::text AS expressions, i.indpred::text AS predicate,
       (SELECT json_agg(json_build_array(a.attnum, a.attoptions, (
            SELECT p.proname
            FROM pg_opclass o
            JOIN pg_amproc s ON s.amprocfamily = o.opcfamily AND s.amproclefttype = o.opcintype
            JOIN pg_proc p ON p.oid = s.amproc
            WHERE o.oid = i.indclass[a.attnum - 1] AND p.proname ~ 'options$' LIMIT 1)))
        FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attoptions IS NOT NULL) AS parameters
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid
WHERE c.relnamespace = pg_my_temp_schema() AND c.relname = ANY (%s)
"""  # noqa: S608 - parts of this file

# The same of statistics
TWIN_STATISTICS_TREES = """
SELECT s.stxname AS twin, s.stxkeys::text AS keys, s.stxexprs::text AS expressions
FROM pg_statistic_ext s WHERE s.stxnamespace = pg_my_temp_schema() AND s.stxname = ANY (%s)
"""

# The same of views
TWIN_VIEW_TREES = """
SELECT v.relname AS twin, v.oid::bigint AS oid, r.ev_action::text AS tree
FROM pg_class v JOIN pg_rewrite r ON r.ev_class = v.oid
WHERE v.relnamespace = pg_my_temp_schema() AND v.relname = ANY (%s)
"""
