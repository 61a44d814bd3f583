-- For how long WAL with content has not been archived. failed_count stays 0 where archive_command cannot even be run,
-- so two things are looked at: the oldest file that is ready, and how far the server has written beyond the last that
-- was archived. Since when that is so, health_samples.py knows: the server may have been idle since the last file.
-- Source: ours, from pg_stat_archiver and the folder archive_status.
SELECT
    'archive' AS item,
    greatest(0, extract(EPOCH FROM clock_timestamp() - ready.oldest))::bigint AS value,
    coalesce(a.last_archived_wal, '') AS last_archived,
    coalesce(written.bytes, 0)::bigint AS unarchived_bytes,
    concat_ws(
        ', ', 'last archived ' || coalesce(date_trunc('second', a.last_archived_time)::text, 'never'),
        CASE WHEN a.last_failed_time > coalesce(a.last_archived_time, '-infinity') THEN 'the last attempt failed' END
    ) AS detail
FROM pg_stat_archiver AS a
CROSS JOIN LATERAL (
    SELECT
        CASE
            WHEN a.last_archived_wal IS NULL THEN pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')
            WHEN a.last_archived_wal ~ '^[0-9A-F]{24}'
                THEN pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')
                    - ('x' || substr(a.last_archived_wal, 9, 8))::bit(32)::bigint * 4294967296
                    - (('x' || substr(a.last_archived_wal, 17, 8))::bit(32)::bigint + 1)
                    * pg_size_bytes(current_setting('wal_segment_size'))
        END AS bytes
    WHERE NOT pg_is_in_recovery()
) AS written
CROSS JOIN LATERAL (
    SELECT min(f.modification) AS oldest
    FROM pg_ls_archive_statusdir() AS f
    WHERE f.name LIKE '%.ready'
) AS ready
WHERE current_setting('archive_mode') <> 'off' AND NOT pg_is_in_recovery();
