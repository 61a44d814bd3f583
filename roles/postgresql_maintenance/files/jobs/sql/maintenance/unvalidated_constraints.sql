-- Constraints that old rows were never held to (NOT VALID), with the statement that does it without stopping writes
SELECT
    format('%I.%I', n.nspname, t.relname) AS table_name,
    k.conname AS name,
    pg_get_constraintdef(k.oid) AS definition,
    format('ALTER TABLE %I.%I VALIDATE CONSTRAINT %I', n.nspname, t.relname, k.conname) AS to_validate,
    TRUE AS attention
FROM pg_constraint AS k
INNER JOIN pg_class AS t ON k.conrelid = t.oid
INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
WHERE NOT k.convalidated AND n.nspname !~ '^pg_'
ORDER BY 1, 2;
