-- How far a standby is behind, in seconds. On a standby that has replayed all it received it is 0, as the age of the
-- last transaction grows on a primary without writes too; whether it receives is the check replication_links. Right
-- after idle time that age is too much: health_samples.py knows when it had received what it has replayed.
-- The primary knows what it was last told: of a standby that has stopped replaying, only the standby's own value grows.
-- Source: ours, from pg_stat_replication.replay_lag.
SELECT
    coalesce(nullif(application_name, ''), client_addr::text, 'standby') AS item,
    round(coalesce(extract(EPOCH FROM replay_lag), 0), 1) AS value,
    NULL::numeric AS received,
    NULL::numeric AS replayed,
    state AS detail
FROM pg_stat_replication
WHERE application_name <> 'pg_basebackup'
UNION ALL
SELECT
    'this standby',
    CASE
        WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
        ELSE round(extract(
            EPOCH FROM clock_timestamp() - coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time())
        ), 1)
    END,
    pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0'),
    pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'),
    'last transaction of ' || coalesce(date_trunc('second', pg_last_xact_replay_timestamp())::text, 'unknown time')
WHERE pg_is_in_recovery()
ORDER BY value DESC;
