-- Register a table with pg_partman, which is to make its months; a row is returned only where that changes something.
-- create_parent() is not called: of pg_partman 4 it makes a DEFAULT partition, and it locks a table that has its
-- partitions already. Its retention is never set: it takes each partition for one month, and the history is not.
-- Parameters: table_name, time_column, premake, and four: whether it is pg_partman 4.
INSERT INTO partman.part_config AS p
(
    parent_table, control, partition_type, partition_interval, premake, datetime_string, infinite_time_partitions,
    retention, retention_keep_table, jobmon, automatic_maintenance
)
SELECT
    %(table_name)s,
    %(time_column)s,
    CASE WHEN %(four)s THEN 'native' ELSE 'range' END,
    '1 mon',
    %(premake)s,
    CASE WHEN %(four)s THEN 'YYYY_MM' ELSE 'YYYYMMDD' END,
    true,
    NULL,
    true,
    false,
    'on'
ON CONFLICT (parent_table) DO UPDATE SET
    control = excluded.control,
    partition_type = excluded.partition_type,
    partition_interval = excluded.partition_interval,
    premake = excluded.premake,
    datetime_string = excluded.datetime_string,
    infinite_time_partitions = excluded.infinite_time_partitions,
    retention = excluded.retention,
    retention_keep_table = excluded.retention_keep_table,
    automatic_maintenance = excluded.automatic_maintenance
WHERE
    (
        p.control, p.partition_type, p.partition_interval, p.premake, p.datetime_string, p.infinite_time_partitions,
        p.retention, p.retention_keep_table, p.automatic_maintenance
    ) IS DISTINCT FROM (
        excluded.control, excluded.partition_type, excluded.partition_interval, excluded.premake,
        excluded.datetime_string, excluded.infinite_time_partitions, excluded.retention, excluded.retention_keep_table,
        excluded.automatic_maintenance
    )
RETURNING p.parent_table
