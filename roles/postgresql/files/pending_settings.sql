-- What the files say and the server has not taken up; one row.
--   errors   the lines that the server refuses, or NULL
--   restart  the settings that need a restart, and the release that is installed and does not run; or NULL
--   reload   whether a file is newer than what the server last loaded
--   shrinks  whether a restart lowers a setting that a standby must have no less of than its primary
--   started  when the server was started, in seconds since 1970
--   wanted   these settings as the files have them, in the order in which pg_controldata says the primary's
-- The parameter `installed` is the version of the server's Debian package, or empty; a percent sign is written twice.
-- A setting that can only be set at start is reported by pg_file_settings as "setting could not be applied" as soon as
-- the file differs (PostgreSQL documentation, view pg_file_settings). One that left the files, and goes back to its
-- default with a restart, is a row with an error and without a file.
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

guarded AS (
    SELECT
        g.place,
        s.setting::integer AS running,
        coalesce(
            (
                SELECT f.setting::integer FROM pg_file_settings AS f
                WHERE f.name = g.name
                ORDER BY f.seqno DESC
                LIMIT 1
            ),
            s.boot_val::integer
        ) AS wanted
    FROM unnest(ARRAY[
        'max_connections', 'max_worker_processes', 'max_wal_senders', 'max_prepared_transactions',
        'max_locks_per_transaction'
    ]) WITH ORDINALITY AS g (name, place)
    INNER JOIN pg_settings AS s ON g.name = s.name
),

problems AS (
    SELECT format('%%s line %%s: %%s %%s', sourcefile, sourceline, name, error) AS problem
    FROM files
    WHERE error IS NOT NULL AND sourcefile IS NOT NULL AND needs_restart IS NOT TRUE
    UNION ALL
    SELECT format('pg_hba.conf line %%s: %%s', line_number, error)
    FROM pg_hba_file_rules
    WHERE error IS NOT NULL
    UNION ALL
    SELECT format('pg_ident.conf line %%s: %%s', line_number, error)
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
            SELECT substring(error FROM '"(.*)"') FROM files
            WHERE sourcefile IS NULL
            UNION
            SELECT name FROM pg_settings
            WHERE pending_restart
            UNION
            SELECT 'release ' || %(installed)s || ' of PostgreSQL (it runs ' || current_setting('server_version') || ')'
            WHERE
                %(installed)s <> ''
                AND strpos(current_setting('server_version'), '(Debian ') > 0
                AND strpos(current_setting('server_version'), '(Debian ' || %(installed)s || ')') = 0
        ) AS p
    ) AS restart,
    (
        SELECT coalesce(bool_or((pg_stat_file(path, TRUE)).modification > pg_conf_load_time()), FALSE) FROM sources
    ) AS reload,
    (SELECT bool_or(wanted < running) FROM guarded) AS shrinks,
    (SELECT extract(EPOCH FROM pg_postmaster_start_time())::bigint) AS started,
    (SELECT array_agg(wanted ORDER BY place) FROM guarded) AS wanted;
