-- Databases whose DROP DATABASE was interrupted: nobody gets in, and its files may be gone in part. 1 for each.
-- Source: ours, from pg_database.datconnlimit, which is -2 there since PostgreSQL 15.4.
SELECT
    datname AS item,
    1 AS value,
    'its DROP DATABASE was interrupted' AS detail
FROM pg_database
WHERE datconnlimit = -2
ORDER BY item;
