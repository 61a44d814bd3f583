-- Pages whose checksum was wrong when they were read.
-- Source: ours, from pg_stat_database.
SELECT
    coalesce(datname, 'shared') AS item,
    checksum_failures AS value,
    coalesce('last ' || date_trunc('second', checksum_last_failure), '') AS detail
FROM pg_stat_database
WHERE checksum_failures > 0;
