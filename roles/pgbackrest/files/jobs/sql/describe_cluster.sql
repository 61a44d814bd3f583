-- What all databases of a cluster share: section, name and definition, a row each. Passwords as a checksum of what the
-- server keeps of them.
SELECT
    'role' AS section,
    r.rolname::text AS name,
    concat_ws(
        ' ',
        to_jsonb(r) - ARRAY['oid', 'rolname', 'rolpassword'],
        'password ' || encode(sha256(r.rolpassword::bytea), 'hex'),
        (
            SELECT 'member of ' || string_agg(m.roleid::regrole::text, ', ' ORDER BY m.roleid::regrole::text)
            FROM pg_auth_members AS m
            WHERE m.member = r.oid
        )
    ) AS definition
FROM pg_authid AS r
UNION ALL
SELECT
    'database',
    d.datname::text,
    concat_ws(
        ' ', 'owner', d.datdba::regrole, 'encoding', pg_encoding_to_char(d.encoding), 'collate', d.datcollate,
        'connections', d.datconnlimit, 'grants', d.datacl
    )
FROM pg_database AS d
UNION ALL
SELECT
    'role or database setting',
    concat_ws(' in ', CASE WHEN s.setrole <> 0 THEN s.setrole::regrole::text ELSE 'all' END, d.datname),
    s.setconfig::text
FROM pg_db_role_setting AS s
LEFT JOIN pg_database AS d ON s.setdatabase = d.oid
UNION ALL
SELECT
    'setting of a file',
    concat_ws(' ', substring(f.sourcefile FROM '[^/]+$'), f.name),
    f.setting
FROM pg_file_settings AS f
WHERE f.applied
ORDER BY 1, 2;
