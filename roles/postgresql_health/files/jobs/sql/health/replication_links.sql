-- Whether the standbys are connected: 0 streams, 1 a slot that nobody reads, 2 a standby that does not receive, a slot
-- that is lost, or fewer standbys than the inventory has (health.replicas). The lag says nothing of a standby that is
-- gone.
-- Source: ours, from pg_replication_slots, pg_stat_replication and pg_stat_wal_receiver.
SELECT
    'slot ' || slot_name AS item,
    CASE WHEN active THEN 0 WHEN wal_status = 'lost' THEN 2 ELSE 1 END AS value,
    format('%s, WAL %s', CASE WHEN active THEN 'active' ELSE 'inactive' END, coalesce(wal_status, 'not kept')) AS detail
FROM pg_replication_slots
WHERE slot_type = 'physical' AND NOT temporary
UNION ALL
SELECT
    'expected standbys',
    CASE WHEN count(r.pid) < one.expected THEN 2 ELSE 0 END,
    format('%s of %s stream', count(r.pid), one.expected)
FROM (SELECT coalesce(nullif(current_setting('health.replicas', TRUE), '')::int, 0) AS expected) AS one
LEFT JOIN pg_stat_replication AS r ON r.state = 'streaming' AND r.application_name <> 'pg_basebackup'
WHERE NOT pg_is_in_recovery() AND one.expected > 0
GROUP BY one.expected
UNION ALL
SELECT
    'receiver',
    CASE WHEN bool_or(r.status = 'streaming') THEN 0 ELSE 2 END,
    coalesce(max(r.status) || ' from ' || max(r.sender_host), 'there is no WAL receiver')
FROM pg_stat_wal_receiver AS r
HAVING pg_is_in_recovery()
ORDER BY value DESC, item ASC;
