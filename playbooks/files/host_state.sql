-- What can be changed by hand in one database and its cluster, a line each: kind, name, value. No value is a secret:
-- passwords are told apart by a part of a checksum of what the server keeps of them.
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
            'until ' || a.rolvaliduntil,
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

privileges AS (
    SELECT
        'privileges' AS kind,
        'database ' || d.datname AS name,
        (SELECT string_agg(a::text, ', ' ORDER BY a::text) FROM unnest(d.datacl) AS a) AS value
    FROM pg_catalog.pg_database AS d
    UNION ALL
    SELECT
        'privileges' AS kind,
        'schema ' || n.nspname AS name,
        (SELECT string_agg(a::text, ', ' ORDER BY a::text) FROM unnest(n.nspacl) AS a) AS value
    FROM pg_catalog.pg_namespace AS n
    WHERE n.nspname !~ '^pg_(toast|temp)'
    UNION ALL
    SELECT
        'privileges' AS kind,
        c.oid::pg_catalog.regclass::text AS name,
        (SELECT string_agg(a::text, ', ' ORDER BY a::text) FROM unnest(c.relacl) AS a) AS value
    FROM pg_catalog.pg_class AS c
    INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
    WHERE
        c.relkind IN ('r', 'p', 'v', 'm', 'S')
        AND NOT c.relispartition
        AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
),

objects AS (
    SELECT
        'index' AS kind,
        c.oid::pg_catalog.regclass::text AS name,
        pg_catalog.pg_get_indexdef(c.oid) || CASE WHEN i.indisvalid THEN '' ELSE ' INVALID' END AS value
    FROM pg_catalog.pg_index AS i
    INNER JOIN pg_catalog.pg_class AS c ON i.indexrelid = c.oid
    INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
    WHERE NOT c.relispartition AND n.nspname !~ '^pg_' AND c.relname !~ '_cc(new|old)[0-9]*$'
    UNION ALL
    SELECT
        CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END AS kind,
        c.oid::pg_catalog.regclass::text AS name,
        regexp_replace(pg_catalog.pg_get_viewdef(c.oid), '\s+', ' ', 'g') AS value
    FROM pg_catalog.pg_class AS c
    INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
    WHERE c.relkind IN ('v', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    UNION ALL
    SELECT
        'extension' AS kind,
        extname::text AS name,
        extversion AS value
    FROM pg_catalog.pg_extension
    UNION ALL
    SELECT
        'function with its owner''s rights' AS kind,
        oid::pg_catalog.regprocedure::text AS name,
        left(md5(prosrc), 8) AS value
    FROM pg_catalog.pg_proc
    WHERE prosecdef
)

SELECT pg_catalog.json_build_array(kind, name, value)
FROM (
    SELECT * FROM settings
    UNION ALL
    SELECT * FROM role_settings
    UNION ALL
    SELECT * FROM login_rules
    UNION ALL
    SELECT * FROM roles
    UNION ALL
    SELECT * FROM privileges
    UNION ALL
    SELECT * FROM objects
) AS found
ORDER BY kind, name;
