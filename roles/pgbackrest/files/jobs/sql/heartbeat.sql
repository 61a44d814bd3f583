-- One more heartbeat, and no more than eight days of them. Only this job writes here, so the numbers have no gap.
INSERT INTO backup.heartbeat (number)
SELECT coalesce(max(number), 0) + 1 FROM backup.heartbeat;

DELETE FROM backup.heartbeat
WHERE written_at < now() - interval '8 days' AND number < (SELECT max(number) FROM backup.heartbeat);

-- archive_timeout is looked at by the checkpointer, which sleeps up to checkpoint_timeout when a start finds it at work
-- before the recovery has ended: then the segment is switched from here.
SELECT pg_switch_wal()
FROM pg_stat_archiver
WHERE
    current_setting('archive_mode') = 'on'
    AND coalesce(last_archived_time, pg_postmaster_start_time()) < now() - current_setting('archive_timeout')::interval;
