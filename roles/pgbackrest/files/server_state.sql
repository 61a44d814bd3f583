-- Who the server is, and what it has taken up of the archive's settings; one row.
SELECT json_build_object(
    'primary', NOT pg_is_in_recovery(),
    'timeline', (SELECT timeline_id FROM pg_control_checkpoint()),
    'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
    'heartbeat', to_regclass('backup.heartbeat') IS NOT NULL,
    'settings', (
        SELECT coalesce(json_object_agg(name, setting), '{}')
        FROM pg_file_settings
        WHERE sourcefile LIKE '%/conf.d/20-pgbackrest.conf' AND applied
    )
);
