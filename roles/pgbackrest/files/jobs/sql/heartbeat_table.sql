-- Where the heartbeat is written. Numbers without a gap: a restore that lost a row shows it.
CREATE SCHEMA IF NOT EXISTS backup;
REVOKE ALL ON SCHEMA backup FROM public;
CREATE TABLE IF NOT EXISTS backup.heartbeat (
    number bigint PRIMARY KEY,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
