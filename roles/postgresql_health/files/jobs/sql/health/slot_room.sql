-- How much of max_slot_wal_keep_size each slot has left before its WAL is removed; 0 where it was (wal_status lost).
-- Source: ours, from pg_replication_slots (wal_status, safe_wal_size).
SELECT
    slot_name AS item,
    CASE
        WHEN wal_status = 'lost' THEN 0
        ELSE least(100, round(100.0 * safe_wal_size / one.limit_bytes, 1))
    END AS value,
    format('WAL %s, %s until it is lost', wal_status, coalesce(pg_size_pretty(safe_wal_size), 'none')) AS detail
FROM pg_replication_slots
CROSS JOIN (
    SELECT setting::bigint * 1048576 AS limit_bytes
    FROM pg_settings
    WHERE name = 'max_slot_wal_keep_size'
) AS one
WHERE NOT temporary AND wal_status IS NOT NULL AND one.limit_bytes > 0
ORDER BY value ASC, item ASC;
