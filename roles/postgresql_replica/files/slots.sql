-- The slots of standbys that need something done, one a row: `drop` where the cluster has the standby no longer, and
-- `renew` where it has, and WAL was removed that the slot was to keep. `prefix` is what their names begin with, `kept`
-- those that are wanted, separated by commas. PostgreSQL 17 lets a standby that caught up from the archive stream by a
-- lost slot, and keeps nothing for it; 15, which has no invalidation_reason, keeps WAL for it again.
SELECT
    slot_name,
    CASE WHEN slot_name = any(string_to_array(:'kept', ',')) THEN 'renew' ELSE 'drop' END
FROM pg_replication_slots AS s
WHERE
    slot_type = 'physical'
    AND NOT temporary
    AND starts_with(slot_name, :'prefix')
    AND CASE
        WHEN slot_name = any(string_to_array(:'kept', ',')) THEN to_jsonb(s) ->> 'invalidation_reason' IS NOT NULL
        ELSE NOT active
    END;
