-- The settings of a server, a line each, as server_settings.py reads them: one JSON object by name. Of a new major:
-- psql --no-psqlrc -At --file server_settings.sql > server_settings_19.json
-- What an extension brings is left out, as it is there only while it is loaded.
SELECT '{' || string_agg(E'\n' || to_json(name) || ': ' || json_strip_nulls(
    json_build_object(
        'context', context,
        'kind', vartype,
        'unit', unit,
        'low', min_val,
        'high', max_val,
        'words', enumvals
    )
), ',' ORDER BY name COLLATE "C") || E'\n}'
FROM pg_settings
WHERE strpos(name, '.') = 0;
