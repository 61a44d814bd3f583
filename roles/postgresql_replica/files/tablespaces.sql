-- The locations of the tablespaces by their names, of those that have one of their own.
SELECT coalesce(json_object_agg(s.spcname, s.location), '{}') AS locations
FROM (
    SELECT
        spcname,
        pg_tablespace_location(oid) AS location
    FROM pg_tablespace
) AS s
WHERE s.location <> '';
