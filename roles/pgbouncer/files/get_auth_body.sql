
    SELECT rolname::text, rolpassword::text
    FROM pg_catalog.pg_authid
    WHERE rolname = p_username
        AND rolcanlogin
        AND NOT rolsuper
        AND NOT rolreplication
        AND rolname <> 'pgbouncer_auth'
        AND (rolvaliduntil IS NULL OR rolvaliduntil > pg_catalog.now());
