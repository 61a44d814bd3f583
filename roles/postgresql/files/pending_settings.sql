-- What the files say and the server has not taken up; one row.
--   errors   the lines that the server refuses, or NULL
--   restart  the settings that need a restart, or NULL
--   reload   whether a file is newer than what the server last loaded
-- A setting that can only be set at start is reported by pg_file_settings as "setting could not be applied" as soon as
-- the file differs (PostgreSQL documentation, view pg_file_settings).
WITH files AS (
    SELECT
        f.sourcefile,
        f.sourceline,
        f.name,
        f.error,
        s.context = 'postmaster' AND f.error = 'setting could not be applied' AS needs_restart
    FROM pg_file_settings AS f
    LEFT JOIN pg_settings AS s USING (name)
),

sources AS (
    SELECT sourcefile AS path FROM files
    UNION
    SELECT setting FROM pg_settings
    WHERE name IN ('hba_file', 'ident_file', 'ssl_cert_file', 'ssl_key_file', 'ssl_ca_file') AND setting <> ''
),

problems AS (
    SELECT format('%s line %s: %s %s', sourcefile, sourceline, name, error) AS problem
    FROM files
    WHERE error IS NOT NULL AND needs_restart IS NOT TRUE
    UNION ALL
    SELECT format('pg_hba.conf line %s: %s', line_number, error)
    FROM pg_hba_file_rules
    WHERE error IS NOT NULL
    UNION ALL
    SELECT format('pg_ident.conf line %s: %s', line_number, error)
    FROM pg_ident_file_mappings
    WHERE error IS NOT NULL
)

SELECT
    (SELECT string_agg(problem, '; ') FROM problems) AS errors,
    (
        SELECT string_agg(DISTINCT p.name, ', ')
        FROM (
            SELECT name FROM files
            WHERE needs_restart
            UNION
            SELECT name FROM pg_settings
            WHERE pending_restart
        ) AS p
    ) AS restart,
    (
        SELECT coalesce(bool_or((pg_stat_file(path, TRUE)).modification > pg_conf_load_time()), FALSE) FROM sources
    ) AS reload;
