-- Settings of the roles' files (conf.d, "Ansible managed" in their first lines) that do not hold, since ALTER SYSTEM, a
-- later file or the command line has another word: 2 for one that keeps data safe, 1 for any other. What wins with the
-- same value is told too: a change of the file would do nothing. Asked as who connects: pg_monitor may not see files.
-- Source: ours, from pg_file_settings, which has what a reload would take up, and pg_settings.
WITH files AS (
    SELECT DISTINCT sourcefile AS path
    FROM pg_file_settings
    WHERE sourcefile ~ '/conf\.d/[^/]+\.conf$'
),

ours AS MATERIALIZED (
    SELECT path
    FROM files
    WHERE pg_read_file(path, 0, 300, TRUE) ~ '^#[^\n]*\n?# Ansible managed'
),

said AS (
    SELECT
        f.name,
        f.setting,
        f.sourcefile,
        f.seqno,
        o.path IS NOT NULL AS ours
    FROM pg_file_settings AS f
    LEFT JOIN ours AS o ON f.sourcefile = o.path
    WHERE f.name IS NOT NULL
),

declared AS (
    SELECT DISTINCT ON (name) *
    FROM said
    WHERE ours
    ORDER BY name ASC, seqno DESC
),

winning AS (
    SELECT DISTINCT ON (name) *
    FROM said
    ORDER BY name ASC, seqno DESC
)

SELECT
    d.name AS item,
    CASE
        WHEN d.name IN (
            'archive_mode', 'archive_command', 'archive_library', 'archive_timeout', 'fsync', 'full_page_writes',
            'synchronous_commit', 'ssl', 'password_encryption', 'hba_file'
        ) THEN 2
        ELSE 1
    END AS value,
    -- What may hold a password is not shown.
    concat_ws(
        ' ',
        CASE
            WHEN s.source IN ('command line', 'environment variable') THEN 'the ' || s.source
            WHEN w.sourcefile ~ '/postgresql\.auto\.conf$' THEN 'ALTER SYSTEM'
            ELSE w.sourcefile
        END,
        'wins',
        CASE
            WHEN d.name ~ 'conninfo|passphrase|password|secret' THEN NULL
            WHEN s.source IN ('command line', 'environment variable')
                THEN format('with %L, declared is %L', s.setting, d.setting)
            ELSE format('with %L, declared is %L', w.setting, d.setting)
        END
    ) AS detail
FROM declared AS d
INNER JOIN winning AS w ON d.name = w.name
INNER JOIN pg_settings AS s ON d.name = s.name
WHERE NOT w.ours OR s.source IN ('command line', 'environment variable')
ORDER BY value DESC, item ASC;
