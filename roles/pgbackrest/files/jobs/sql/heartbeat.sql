-- One more heartbeat, and no more than eight days of them. Only this job writes here, so the numbers have no gap.
INSERT INTO backup.heartbeat (number)
SELECT coalesce(max(number), 0) + 1 FROM backup.heartbeat;

DELETE FROM backup.heartbeat
WHERE written_at < now() - interval '8 days' AND number < (SELECT max(number) FROM backup.heartbeat);
