-- End the segment that holds the heartbeat, once that is committed: only then is it in what is archived now.
-- archive_timeout is the checkpointer's to look at, at moments of its own, and one that is asleep does not.
-- A server that is to archive less often than a heartbeat is written is left to it.
SELECT pg_switch_wal()
FROM pg_stat_archiver
WHERE
    current_setting('archive_mode') = 'on'
    AND coalesce(last_archived_time, pg_postmaster_start_time())
    < now() - greatest(current_setting('archive_timeout')::interval - interval '1 minute', interval '0');
