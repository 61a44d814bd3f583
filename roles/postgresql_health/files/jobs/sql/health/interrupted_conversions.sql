-- How many days are left until a table refuses new rows, as its conversion to partitions was interrupted.
-- Source: ours, from the constraint that playbooks/partition_table.yml takes away again; not while it is at work.
SELECT
    k.conrelid::regclass::text AS item,
    to_date(right(k.conname, 8), 'YYYYMMDD') - (now() AT TIME ZONE 'UTC')::date AS value,
    format('refuses rows from %s on', to_date(right(k.conname, 8), 'YYYYMMDD')) AS detail
FROM pg_constraint AS k
WHERE
    k.contype = 'c'
    AND k.conname ~ '^__pgpart_before_\d{8}$'
    AND NOT EXISTS (
        SELECT FROM pg_stat_activity AS a
        WHERE a.datname = current_database() AND a.application_name = 'postgresql_partition'
    )
ORDER BY value;
