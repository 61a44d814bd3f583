-- WAL that each standby has not replayed, seen from the primary; on a standby, what it has received and not replayed.
-- Source: the operations guide, ALERT_THRESHOLDS['replication_lag_mb'], which has no query.
SELECT
    coalesce(nullif(application_name, ''), client_addr::text, 'standby') AS item,
    pg_wal_lsn_diff(
        CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, replay_lsn
    )::bigint AS value,
    state AS detail
FROM pg_stat_replication
WHERE application_name <> 'pg_basebackup'
UNION ALL
SELECT
    'this standby',
    greatest(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), 0)::bigint,
    'received and not replayed'
WHERE pg_is_in_recovery()
ORDER BY value DESC;
