-- Settings whose file says something else than the server runs with, as they take effect at a start.
-- Source: ours, from pg_settings.pending_restart.
SELECT
    'settings' AS item,
    count(*) AS value,
    coalesce(string_agg(name, ', ' ORDER BY name), '') AS detail
FROM pg_settings
WHERE pending_restart;
