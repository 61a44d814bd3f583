-- What the cluster has of all that the role decides about, as flat lists of "name=value"; one row.
-- The parameter `config_dir` is the folder of pg_hba.conf.
WITH fragments AS (
    SELECT
        f.name,
        pg_read_binary_file(%(config_dir)s || '/pg_hba.d/' || f.name) AS content
    FROM pg_ls_dir(%(config_dir)s || '/pg_hba.d', TRUE, FALSE) AS f (name)
),

memberships AS (
    SELECT m.rolname || '=' || string_agg(g.rolname, ',' ORDER BY g.rolname) AS membership
    FROM pg_auth_members AS a
    INNER JOIN pg_roles AS m ON a.member = m.oid
    INNER JOIN pg_roles AS g ON a.roleid = g.oid
    GROUP BY m.rolname
),

privileges AS (
    SELECT
        d.datname,
        a.grantee,
        a.privilege_type
    FROM pg_database AS d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a
)

SELECT json_build_object(
    'fragments', (
        SELECT coalesce(json_agg(name || '=' || encode(sha256(content), 'hex')), '[]') FROM fragments
    ),
    'assembled', (
        SELECT string_agg(content, '' ORDER BY name COLLATE "C") = pg_read_binary_file(%(config_dir)s || '/pg_hba.conf')
        FROM fragments
    ),
    'memberships', (SELECT coalesce(json_agg(membership), '[]') FROM memberships),
    'owners', (SELECT json_agg(datname || '=' || pg_get_userbyid(datdba)) FROM pg_database),
    'public', (SELECT coalesce(json_agg(DISTINCT datname), '[]') FROM privileges WHERE grantee = 0),
    'connect', (
        SELECT coalesce(json_agg(datname || '=' || pg_get_userbyid(grantee)), '[]')
        FROM privileges
        WHERE privilege_type = 'CONNECT' AND grantee <> 0
    ),
    'extensions', (SELECT json_agg(current_database() || '=' || extname) FROM pg_extension)
) AS state;
