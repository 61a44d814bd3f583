-- Connections by database, login and state, with the longest time in that state.
-- Source: the operations guide, "Database connection usage"; background processes have no state and are left out.
SELECT
    coalesce(datname, '-') AS database,
    coalesce(usename, '-') AS login,
    coalesce(state, '-') AS state,
    count(*) AS connections,
    max(extract(EPOCH FROM now() - state_change))::int AS longest_seconds
FROM pg_stat_activity
WHERE backend_type = 'client backend'
GROUP BY datname, usename, state
ORDER BY connections DESC, database ASC, login ASC;
