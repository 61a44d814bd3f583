-- What the cluster has of all that the role decides about: roles by their names, the rest as flat lists of
-- "name=value"; one row. It holds the roles' verifiers: not to be shown.
-- The parameter `config_dir` is the folder of pg_hba.conf.
WITH fragments AS (
    SELECT
        f.name,
        pg_read_binary_file(%(config_dir)s || '/pg_hba.d/' || f.name) AS content
    FROM pg_ls_dir(%(config_dir)s || '/pg_hba.d', TRUE, FALSE) AS f (name)
    WHERE right(f.name, 5) = '.conf'
),

memberships AS (
    SELECT m.rolname || '=' || string_agg(g.rolname, ',' ORDER BY g.rolname) AS membership
    FROM pg_auth_members AS a
    INNER JOIN pg_roles AS m ON a.member = m.oid
    INNER JOIN pg_roles AS g ON a.roleid = g.oid
    GROUP BY m.rolname
),

roles AS (
    SELECT
        r.rolname,
        json_build_object(
            'attributes', array_remove(ARRAY[
                CASE WHEN r.rolcanlogin THEN 'LOGIN' END,
                CASE WHEN r.rolsuper THEN 'SUPERUSER' END,
                CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
                CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
                CASE WHEN r.rolreplication THEN 'REPLICATION' END,
                CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END
            ], NULL),
            'connection_limit', r.rolconnlimit,
            'expires', r.rolvaliduntil,
            'verifier', r.rolpassword,
            'settings', (
                SELECT coalesce(json_object_agg(split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)), '{}')
                FROM pg_db_role_setting AS s, unnest(s.setconfig) AS c
                WHERE s.setrole = r.oid AND s.setdatabase = 0
            )
        ) AS role
    FROM pg_authid AS r
),

-- What names a role: what it owns or is named in a policy of (o, r), and what it has rights on (a, i), which may be a
-- database itself.
dependencies AS (
    SELECT
        pg_get_userbyid(s.refobjid) AS role,
        coalesce(d.datname, 'postgres') AS database,
        s.deptype IN ('o', 'r') AS is_owned,
        count(*) AS number
    FROM pg_shdepend AS s
    LEFT JOIN pg_database AS d ON s.dbid = d.oid
    WHERE s.refclassid = 'pg_authid'::regclass
    GROUP BY pg_get_userbyid(s.refobjid), coalesce(d.datname, 'postgres'), s.deptype IN ('o', 'r')
),

privileges AS (
    SELECT
        d.datname,
        a.grantee,
        a.privilege_type
    FROM pg_database AS d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a
)

SELECT json_build_object(
    'roles', (SELECT json_object_agg(rolname, role) FROM roles),
    'fragments', (
        SELECT coalesce(json_agg(name || '=' || encode(sha256(content), 'hex')), '[]') FROM fragments
    ),
    'assembled', (
        SELECT string_agg(content, '' ORDER BY name COLLATE "C") = pg_read_binary_file(%(config_dir)s || '/pg_hba.conf')
        FROM fragments
    ),
    'memberships', (SELECT coalesce(json_agg(membership), '[]') FROM memberships),
    'owners', (SELECT json_agg(datname || '=' || pg_get_userbyid(datdba)) FROM pg_database),
    'public', (
        SELECT coalesce(json_agg(DISTINCT datname), '[]') FROM privileges
        WHERE grantee = 0
    ),
    'connect', (
        SELECT coalesce(json_agg(datname || '=' || pg_get_userbyid(grantee)), '[]')
        FROM privileges
        WHERE privilege_type = 'CONNECT' AND grantee <> 0
    ),
    'owned', (
        SELECT
            coalesce(
                json_agg(
                    json_build_object(
                        'role', role,
                        'owns', 'role ' || role || ' owns ' || number || ' objects in database ' || database
                    )
                    ORDER BY role, database
                ), '[]'
            )
        FROM dependencies
        WHERE is_owned
    ),
    'granted', (
        SELECT coalesce(json_agg(json_build_object('role', role, 'database', database) ORDER BY role, database), '[]')
        FROM dependencies
        WHERE NOT is_owned
    ),
    'extensions', (SELECT json_agg(current_database() || '=' || extname) FROM pg_extension)
) AS state;
