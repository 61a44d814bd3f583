-- How much of the transaction and multixact numbers is used up before PostgreSQL refuses writes.
-- Source: PostgreSQL's manual, "Preventing Transaction ID Wraparound Failures".
SELECT
    datname AS item,
    round(100.0 * greatest(age(datfrozenxid), mxid_age(datminmxid)) / 2147483648.0, 1) AS value,
    format('%s transactions', greatest(age(datfrozenxid), mxid_age(datminmxid))) AS detail
FROM pg_database
ORDER BY value DESC
LIMIT 5;
