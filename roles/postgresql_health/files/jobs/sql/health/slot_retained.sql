-- WAL that the server keeps for each slot.
-- Source: ours, from pg_replication_slots.
SELECT
    slot_name AS item,
    coalesce(pg_wal_lsn_diff(
        CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn
    ), 0)::bigint AS value,
    format(
        '%s%s', coalesce(wal_status, 'keeps nothing'),
        coalesce(', ' || pg_size_pretty(safe_wal_size) || ' until it is lost', '')
    ) AS detail
FROM pg_replication_slots
WHERE NOT temporary
ORDER BY value DESC;
