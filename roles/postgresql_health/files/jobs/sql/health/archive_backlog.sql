-- WAL files that are ready and not archived yet.
-- Source: ours, from the folder archive_status.
SELECT
    'archive' AS item,
    (
        SELECT count(*)
        FROM pg_ls_archive_statusdir() AS f
        WHERE f.name LIKE '%.ready'
    ) AS value
WHERE current_setting('archive_mode') <> 'off' AND NOT pg_is_in_recovery();
