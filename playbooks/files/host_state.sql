-- What can be changed by hand in one database and its cluster, a line each: kind, name, value, what it is a part of, as
-- kind and name, and whether it belongs to a role that is no superuser, as an application's tables do. No value is a
-- secret: passwords are told apart by a part of a checksum of what the server keeps of them.
WITH
secret_settings (name) AS (
    VALUES ('primary_conninfo'), ('ssl_passphrase_command')
),

-- What the files say of each setting, taken up or not: the last line wins.
files AS (
    SELECT DISTINCT ON (name)
        name,
        setting,
        sourcefile,
        nullif(error, 'setting could not be applied') AS error
    FROM pg_catalog.pg_file_settings
    WHERE name IS NOT NULL
    ORDER BY name ASC, seqno DESC
),

loaded AS (
    SELECT
        name,
        setting,
        sourcefile
    FROM pg_catalog.pg_settings
    WHERE source = 'configuration file'
),

settings AS (
    SELECT
        'setting' AS kind,
        name,
        concat_ws(
            '; ',
            CASE WHEN k.name IS NULL THEN s.setting ELSE left(md5(s.setting), 8) END
            || coalesce(' by ' || regexp_replace(s.sourcefile, '^.*/', ''), ''),
            'written: ' || CASE WHEN k.name IS NULL THEN f.setting ELSE left(md5(f.setting), 8) END
            || ' by ' || regexp_replace(f.sourcefile, '^.*/', ''),
            f.error
        ) AS value
    FROM loaded AS s
    FULL JOIN files AS f USING (name)
    LEFT JOIN secret_settings AS k USING (name)
),

-- Each line of the files that says a setting, in the order in which they are read, where more than one does.
lines AS (
    SELECT
        'line' AS kind,
        f.name,
        string_agg(
            concat_ws(
                E'\t', f.sourcefile, CASE WHEN k.name IS NULL THEN f.setting ELSE left(md5(f.setting), 8) END
            ), E'\n' ORDER BY f.seqno
        ) AS value
    FROM pg_catalog.pg_file_settings AS f
    LEFT JOIN secret_settings AS k USING (name)
    WHERE f.name IS NOT NULL
    GROUP BY f.name
    HAVING count(DISTINCT f.sourcefile) > 1
),

role_settings AS (
    SELECT
        'setting' AS kind,
        'of ' || coalesce('role ' || r.rolname, 'every role') || coalesce(' in ' || d.datname, '') AS name,
        array_to_string(s.setconfig, ', ') AS value
    FROM pg_catalog.pg_db_role_setting AS s
    LEFT JOIN pg_catalog.pg_roles AS r ON s.setrole = r.oid
    LEFT JOIN pg_catalog.pg_database AS d ON s.setdatabase = d.oid
),

login_rules AS (
    SELECT
        'login rule' AS kind,
        concat_ws(
            ' ', type, array_to_string(database, ','), array_to_string(user_name, ','), address, netmask, auth_method,
            array_to_string(options, ',')
        ) AS name,
        coalesce(error, 'there') AS value
    FROM pg_catalog.pg_hba_file_rules
),

-- Whoever made it, a rule for a role that is not there lets in whoever is given that name.
rules_for_nobody AS (
    SELECT DISTINCT
        'rule for nobody' AS kind,
        u.name,
        'pg_hba.conf' AS value
    FROM pg_catalog.pg_hba_file_rules AS h, unnest(h.user_name) AS u (name)
    WHERE
        u.name NOT IN ('all', 'sameuser')
        AND u.name !~ '^[+@/]'
        AND h.auth_method <> 'reject'
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_roles AS r
            WHERE r.rolname = u.name
        )
),

roles AS (
    SELECT
        'role' AS kind,
        a.rolname::text AS name,
        concat_ws(
            ' ',
            CASE WHEN a.rolsuper THEN 'superuser' END,
            CASE WHEN a.rolcreaterole THEN 'createrole' END,
            CASE WHEN a.rolcreatedb THEN 'createdb' END,
            CASE WHEN a.rolreplication THEN 'replication' END,
            CASE WHEN a.rolbypassrls THEN 'bypassrls' END,
            CASE WHEN a.rolcanlogin THEN 'login' ELSE 'nologin' END,
            'limit ' || a.rolconnlimit,
            'until ' || nullif(a.rolvaliduntil, 'infinity'),
            'verifier ' || left(md5(a.rolpassword), 8),
            'member of ' || (
                SELECT string_agg(g.rolname, ',' ORDER BY g.rolname)
                FROM pg_catalog.pg_auth_members AS m
                INNER JOIN pg_catalog.pg_roles AS g ON m.roleid = g.oid
                WHERE m.member = a.oid
            )
        ) AS value
    FROM pg_catalog.pg_authid AS a
    WHERE a.rolname !~ '^pg_'
),

-- What extensions made is theirs, and what the jobs of this project keep is its own.
relations AS (
    SELECT
        c.oid,
        c.relkind,
        c.relacl,
        c.relowner,
        c.oid::pg_catalog.regclass::text AS name,
        NOT r.rolsuper AS of_application
    FROM pg_catalog.pg_class AS c
    INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
    INNER JOIN pg_catalog.pg_roles AS r ON c.relowner = r.oid
    WHERE
        NOT c.relispartition
        AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'mltrading_audit')
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_depend AS d
            WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
        )
),

-- A sequence of a column is a part of its table.
owned_sequences AS (
    SELECT
        d.objid AS oid,
        d.refobjid::pg_catalog.regclass::text AS of_table
    FROM pg_catalog.pg_depend AS d
    WHERE
        d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
        AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
),

privileges AS (
    SELECT
        'privileges' AS kind,
        'database ' || d.datname AS name,
        (
            SELECT string_agg(a::text, ', ' ORDER BY a::text)
            FROM unnest(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) AS a
        ) AS value,
        NULL AS part_of,
        FALSE AS of_application
    FROM pg_catalog.pg_database AS d
    UNION ALL
    SELECT
        'privileges' AS kind,
        'schema ' || n.nspname AS name,
        (
            SELECT string_agg(a::text, ', ' ORDER BY a::text)
            FROM unnest(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) AS a
        ) AS value,
        NULL AS part_of,
        NOT r.rolsuper AS of_application
    FROM pg_catalog.pg_namespace AS n
    INNER JOIN pg_catalog.pg_roles AS r ON n.nspowner = r.oid
    WHERE n.nspname !~ '^pg_(toast|temp)' AND n.nspname <> 'mltrading_audit'
    UNION ALL
    SELECT
        'privileges' AS kind,
        c.name,
        (
            SELECT string_agg(a::text, ', ' ORDER BY a::text)
            FROM unnest(
                coalesce(
                    c.relacl,
                    pg_catalog.acldefault(CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END, c.relowner)
                )
            ) AS a
        ) AS value,
        CASE
            WHEN o.of_table IS NOT NULL THEN 'table: ' || o.of_table
            WHEN c.relkind = 'v' THEN 'view: ' || c.name
            WHEN c.relkind = 'm' THEN 'materialized view: ' || c.name
            WHEN c.relkind IN ('r', 'p') THEN 'table: ' || c.name
        END AS part_of,
        c.of_application
    FROM relations AS c
    LEFT JOIN owned_sequences AS o ON c.oid = o.oid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S')
),

objects AS (
    SELECT
        'table' AS kind,
        c.name,
        'of ' || pg_catalog.pg_get_userbyid(c.relowner) AS value,
        NULL AS part_of,
        c.of_application
    FROM relations AS c
    WHERE c.relkind IN ('r', 'p')
    UNION ALL
    SELECT
        'index' AS kind,
        c.name,
        pg_catalog.pg_get_indexdef(c.oid) || CASE WHEN i.indisvalid THEN '' ELSE ' INVALID' END AS value,
        CASE t.relkind WHEN 'm' THEN 'materialized view: ' ELSE 'table: ' END || t.name AS part_of,
        c.of_application
    FROM pg_catalog.pg_index AS i
    INNER JOIN relations AS c ON i.indexrelid = c.oid
    INNER JOIN relations AS t ON i.indrelid = t.oid
    WHERE
        c.name !~ '_cc(new|old)[0-9]*"?$'
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_constraint AS k
            WHERE k.conindid = c.oid AND k.contype IN ('p', 'u', 'x')
        )
    UNION ALL
    SELECT
        'constraint' AS kind,
        t.name || ': ' || pg_catalog.quote_ident(k.conname) AS name,
        pg_catalog.pg_get_constraintdef(k.oid) AS value,
        'table: ' || t.name AS part_of,
        t.of_application
    FROM pg_catalog.pg_constraint AS k
    INNER JOIN relations AS t ON k.conrelid = t.oid
    WHERE k.contype IN ('p', 'u', 'x')
    UNION ALL
    SELECT
        CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END AS kind,
        c.name,
        pg_catalog.pg_get_viewdef(c.oid) AS value,
        NULL AS part_of,
        c.of_application
    FROM relations AS c
    WHERE c.relkind IN ('v', 'm')
    UNION ALL
    SELECT
        'extension' AS kind,
        extname::text AS name,
        extversion AS value,
        NULL AS part_of,
        FALSE AS of_application
    FROM pg_catalog.pg_extension
    UNION ALL
    SELECT
        'function with its owner''s rights' AS kind,
        p.oid::pg_catalog.regprocedure::text AS name,
        left(md5(p.prosrc), 8) AS value,
        NULL AS part_of,
        FALSE AS of_application
    FROM pg_catalog.pg_proc AS p
    WHERE
        p.prosecdef
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_depend AS d
            WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
        )
),

of_cluster AS (
    SELECT * FROM settings
    UNION ALL
    SELECT * FROM lines
    UNION ALL
    SELECT * FROM role_settings
    UNION ALL
    SELECT * FROM login_rules
    UNION ALL
    SELECT * FROM rules_for_nobody
    UNION ALL
    SELECT * FROM roles
)

SELECT pg_catalog.json_build_array(kind, name, value, part_of, of_application)
FROM (
    SELECT
        kind,
        name,
        value,
        NULL AS part_of,
        FALSE AS of_application
    FROM of_cluster
    UNION ALL
    SELECT * FROM privileges
    UNION ALL
    SELECT * FROM objects
) AS found
ORDER BY kind, name;
