-- Whether the standbys are connected: 0 streams, 1 a slot that nobody reads, 2 a standby that does not receive, a slot
-- that is lost, or a standby of the inventory (health.standbys, by application_name) that is not there. The lag says
-- nothing of a standby that is gone, and a walsender of another name is none of them.
-- Source: ours, from pg_replication_slots, pg_stat_replication and pg_stat_wal_receiver.
SELECT
    'slot ' || slot_name AS item,
    -- PostgreSQL 17 lets a standby stream by a slot that is lost, which keeps nothing for it.
    CASE
        WHEN wal_status = 'lost' OR to_jsonb(s) ->> 'invalidation_reason' IS NOT NULL THEN 2
        WHEN active THEN 0
        ELSE 1
    END AS value,
    format(
        '%s, WAL %s', CASE WHEN active THEN 'active' ELSE 'inactive' END,
        coalesce(to_jsonb(s) ->> 'invalidation_reason', wal_status, 'not kept')
    ) AS detail
FROM pg_replication_slots AS s
WHERE slot_type = 'physical' AND NOT temporary
UNION ALL
SELECT
    'standby ' || expected.name,
    CASE WHEN bool_or(r.state = 'streaming') THEN 0 ELSE 2 END,
    coalesce(string_agg(r.state || coalesce(' to ' || r.client_addr, ''), ', '), 'not connected')
FROM unnest(string_to_array(nullif(current_setting('health.standbys', TRUE), ''), ',')) AS expected (name)
LEFT JOIN pg_stat_replication AS r ON expected.name = r.application_name
WHERE NOT pg_is_in_recovery()
GROUP BY expected.name
UNION ALL
SELECT
    'receiver',
    CASE WHEN bool_or(r.status = 'streaming') THEN 0 ELSE 2 END,
    coalesce(max(r.status) || ' from ' || max(r.sender_host), 'there is no WAL receiver')
FROM pg_stat_wal_receiver AS r
HAVING pg_is_in_recovery()
ORDER BY value DESC, item ASC;
