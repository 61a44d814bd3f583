-- What the declaration names and the database does not have, as one JSON object:
--   tables      the names of the tables to create, in the order of the declaration
--   statements  the GRANT and ALTER DEFAULT PRIVILEGES statements to run before creating them
-- psql variables: owner, tables (names, comma-separated), privileges (JSON: [{role, tables, sequences}]).
WITH
wanted AS (
    SELECT
        p.role,
        k.kind,
        k.objtype,
        k.privileges
    FROM jsonb_to_recordset(:'privileges'::jsonb) AS p (role text, tables text [], sequences text [])
    CROSS JOIN LATERAL (
        VALUES ('TABLES', 'r', p.tables), ('SEQUENCES', 'S', p.sequences)
    ) AS k (kind, objtype, privileges)
),

usage_of_schema AS (
    SELECT DISTINCT format('GRANT USAGE ON SCHEMA public TO %I', w.role) AS statement
    FROM wanted AS w
    WHERE NOT has_schema_privilege(w.role, 'public', 'USAGE')
),

by_default AS (
    SELECT
        format(
            'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT %s ON %s TO %I',
            string_agg(privilege, ', ' ORDER BY privilege), w.kind, w.role
        ) AS statement
    FROM wanted AS w
    CROSS JOIN unnest(w.privileges) AS privilege
    WHERE NOT EXISTS (
        SELECT FROM pg_default_acl AS d
        CROSS JOIN aclexplode(d.defaclacl) AS a
        WHERE
            d.defaclrole = :'owner'::regrole
            AND d.defaclnamespace = 'public'::regnamespace
            AND d.defaclobjtype = w.objtype::"char"
            AND a.grantee = w.role::regrole
            AND a.privilege_type = privilege
    )
    GROUP BY w.kind, w.role
),

-- Tables, partitioned tables, views and materialized views are all TABLES to GRANT.
on_relations AS (
    SELECT
        format(
            'GRANT %s ON %s %s TO %I',
            string_agg(privilege, ', ' ORDER BY privilege),
            CASE w.kind WHEN 'SEQUENCES' THEN 'SEQUENCE' ELSE 'TABLE' END,
            c.oid::regclass,
            w.role
        ) AS statement
    FROM wanted AS w
    CROSS JOIN unnest(w.privileges) AS privilege
    INNER JOIN pg_class AS c
        ON (w.objtype = 'S' AND c.relkind = 'S') OR (w.objtype = 'r' AND c.relkind IN ('r', 'p', 'v', 'm'))
    WHERE
        c.relnamespace = 'public'::regnamespace
        AND c.relowner = :'owner'::regrole
        AND NOT CASE w.kind
            WHEN 'SEQUENCES' THEN has_sequence_privilege(w.role, c.oid, privilege)
            ELSE has_table_privilege(w.role, c.oid, privilege)
        END
    GROUP BY w.kind, w.role, c.oid
)

SELECT
    jsonb_build_object(
        'tables',
        (
            SELECT coalesce(jsonb_agg(t.name ORDER BY t.position), '[]'::jsonb)
            FROM unnest(string_to_array(:'tables', ',')) WITH ORDINALITY AS t (name, position)
            WHERE to_regclass(format('public.%I', t.name)) IS NULL
        ),
        'statements',
        (
            SELECT coalesce(jsonb_agg(s.statement ORDER BY s.position, s.statement), '[]'::jsonb)
            FROM (
                SELECT
                    1 AS position,
                    statement
                FROM usage_of_schema
                UNION ALL
                SELECT
                    2,
                    statement
                FROM by_default
                UNION ALL
                SELECT
                    3,
                    statement
                FROM on_relations
            ) AS s
        )
    );
