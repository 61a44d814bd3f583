-- Tables and materialized views with their size and row activity, largest first. The counters are those since the last
-- reset of the statistics; the number of rows is an estimate.
-- Source: the operations guide, "Table sizes and row counts"; by relid, as a name needs quotes there.
SELECT
    format('%I.%I', schemaname, relname) AS relation,
    pg_total_relation_size(relid) AS bytes,
    pg_indexes_size(relid) AS index_bytes,
    n_live_tup AS live_rows,
    n_dead_tup AS dead_rows,
    n_tup_ins AS inserts,
    n_tup_upd AS updates,
    n_tup_del AS deletes,
    seq_scan AS sequential_scans,
    coalesce(idx_scan, 0) AS index_scans,
    greatest(last_vacuum, last_autovacuum) AS last_vacuum,
    greatest(last_analyze, last_autoanalyze) AS last_analyze
FROM pg_stat_user_tables
ORDER BY bytes DESC
LIMIT 50;
