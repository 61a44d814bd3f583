-- Whether pgbouncer.get_auth(text) is what the role installs, down to its owner and who may call it; one row.
-- The parameter `body` is get_auth_body.sql.
SELECT
    count(*) = 1
    AND bool_and(
        p.prosrc = %(body)s
        AND p.prosecdef
        AND p.provolatile = 's'
        AND p.proconfig = ARRAY['search_path=pg_catalog, pg_temp']
        AND pg_get_userbyid(p.proowner) = 'postgres'
        AND l.lanname = 'sql'
        AND pg_get_function_result(p.oid) = 'SETOF record'
        AND (
            SELECT array_agg(DISTINCT pg_get_userbyid(a.grantee)::text ORDER BY pg_get_userbyid(a.grantee)::text)
            FROM aclexplode(p.proacl) AS a
        ) = ARRAY['pgbouncer_auth', 'postgres']
        AND has_database_privilege('pgbouncer_auth', current_database(), 'CONNECT')
        AND has_schema_privilege('pgbouncer_auth', n.oid, 'USAGE')
        AND NOT has_schema_privilege('public', n.oid, 'USAGE')
    ) AS as_declared
FROM pg_proc AS p
INNER JOIN pg_namespace AS n ON p.pronamespace = n.oid AND n.nspname = 'pgbouncer'
INNER JOIN pg_language AS l ON p.prolang = l.oid
WHERE p.proname = 'get_auth';
