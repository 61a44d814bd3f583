-- Makes a slot anew. The standby that streams by it is disconnected, and tries again seconds later.
SELECT pg_terminate_backend(active_pid, 10000)
FROM pg_replication_slots
WHERE slot_name = :'slot' AND active;

SELECT pg_drop_replication_slot(:'slot');

SELECT pg_create_physical_replication_slot(:'slot', TRUE);
