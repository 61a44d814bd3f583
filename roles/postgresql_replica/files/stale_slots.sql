-- Slots of standbys that the cluster no longer has, one a row. `prefix` is what their names begin with, `kept` those
-- that are still wanted, separated by commas.
SELECT slot_name
FROM pg_replication_slots
WHERE
    slot_type = 'physical'
    AND NOT temporary
    AND NOT active
    AND starts_with(slot_name, :'prefix')
    AND slot_name <> all(string_to_array(:'kept', ','));
