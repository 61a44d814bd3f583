-- How long a session has waited for a lock, and for whom.
-- Source: ours, from pg_locks.waitstart and pg_blocking_pids().
SELECT
    coalesce(a.datname, '-') AS item,
    extract(EPOCH FROM clock_timestamp() - l.waitstart)::bigint AS value,
    format('PID %s of %s waits for PID %s', a.pid, a.usename, array_to_string(pg_blocking_pids(a.pid), ', ')) AS detail
FROM pg_locks AS l
INNER JOIN pg_stat_activity AS a ON l.pid = a.pid
WHERE NOT l.granted AND l.waitstart IS NOT NULL
ORDER BY value DESC
LIMIT 5;
