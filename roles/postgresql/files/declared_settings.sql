-- What wins over a declared setting, one JSON list. A setting is declared by a drop-in in conf.d that says that it is
-- managed; names are compared without regard to case, as the server reads them.
--   kind        system (ALTER SYSTEM), file (a later file), twice (another drop-in of ours, with another value), start
--               (an option of the server's start), or role (ALTER ROLE or ALTER DATABASE, with another value)
--   name        the setting, as the drop-in has it
--   declared, drop_in     the value there, and the file
--   value, winner         the value that wins, and where it stands
--   statement   what takes it away
WITH files AS (
    SELECT
        lower(name) AS key,
        name,
        setting,
        sourcefile,
        sourceline,
        seqno,
        sourcefile LIKE '%/postgresql.auto.conf' AS by_system
    FROM pg_file_settings
    WHERE name IS NOT NULL
),

managed AS (
    SELECT sourcefile AS path
    FROM files
    WHERE sourcefile ~ '/conf\.d/[0-9]+-[a-z_]+\.conf$'
    GROUP BY sourcefile
    HAVING left(pg_read_file(sourcefile), 200) LIKE '%Ansible managed%'
),

declared AS (
    SELECT DISTINCT ON (f.key)
        f.key,
        f.name,
        f.setting,
        f.sourcefile,
        string_to_array(f.name, '.') AS parts
    FROM files AS f
    INNER JOIN managed AS m ON f.sourcefile = m.path
    ORDER BY f.key ASC, f.seqno DESC
),

written AS (
    SELECT DISTINCT ON (key)
        key,
        setting,
        sourcefile,
        sourceline
    FROM files
    WHERE NOT by_system
    ORDER BY key ASC, seqno DESC
),

of_roles AS (
    SELECT
        lower(split_part(c.setting, '=', 1)) AS key,
        substring(c.setting FROM position('=' IN c.setting) + 1) AS setting,
        CASE
            WHEN s.setrole = 0 AND s.setdatabase = 0 THEN 'ROLE ALL'
            WHEN s.setrole = 0 THEN format('DATABASE %I', d.datname)
            WHEN s.setdatabase = 0 THEN format('ROLE %s', s.setrole::regrole)
            ELSE format('ROLE %s IN DATABASE %I', s.setrole::regrole, d.datname)
        END AS place
    FROM pg_db_role_setting AS s
    LEFT JOIN pg_database AS d ON s.setdatabase = d.oid
    CROSS JOIN unnest(s.setconfig) AS c (setting)
),

found AS (
    SELECT 'system' AS kind, d.*, f.setting AS value, f.sourcefile AS winner, 'ALTER SYSTEM RESET %s' AS statement
    FROM declared AS d
    INNER JOIN files AS f ON d.key = f.key AND f.by_system
    UNION ALL
    SELECT 'file', d.*, w.setting, format('%s line %s', w.sourcefile, w.sourceline), NULL
    FROM declared AS d
    INNER JOIN written AS w ON d.key = w.key AND d.sourcefile <> w.sourcefile
    UNION ALL
    SELECT 'twice', d.key, d.name, f.setting, f.sourcefile, d.parts, d.setting, d.sourcefile, NULL
    FROM declared AS d
    INNER JOIN files AS f ON d.key = f.key AND d.sourcefile <> f.sourcefile AND d.setting <> f.setting
    INNER JOIN managed AS m ON f.sourcefile = m.path
    UNION ALL
    SELECT 'start', d.*, s.setting, s.source, NULL
    FROM declared AS d
    INNER JOIN pg_settings AS s ON d.key = lower(s.name) AND s.source IN ('command line', 'environment variable')
    UNION ALL
    SELECT 'role', d.*, r.setting, 'ALTER ' || r.place, format('ALTER %s RESET ', r.place) || '%s'
    FROM declared AS d
    INNER JOIN of_roles AS r ON d.key = r.key AND lower(d.setting) <> lower(r.setting)
)

SELECT
    coalesce(
        json_agg(
            json_build_object(
                'kind', f.kind, 'name', f.name, 'declared', f.setting, 'drop_in', f.sourcefile, 'value', f.value,
                'winner', f.winner,
                'statement', format(
                    f.statement, (SELECT string_agg(quote_ident(p.part), '.') FROM unnest(f.parts) AS p (part))
                )
            )
            ORDER BY f.kind, f.name, f.winner
        ), '[]'
    )
FROM found AS f;
