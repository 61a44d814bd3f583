-- Index pages found in shared_buffers, since the last reset of the statistics. Fewer than 1,000 reads say nothing.
-- Source: the operations guide, "Index hit ratio" and ALERT_THRESHOLDS['index_hit_ratio_percent'].
SELECT
    current_database() AS item,
    CASE
        WHEN sum(idx_blks_hit + idx_blks_read) >= 1000
            THEN round(100 * sum(idx_blks_hit) / sum(idx_blks_hit + idx_blks_read), 1)
    END AS value,
    format('%s reads', coalesce(sum(idx_blks_hit + idx_blks_read), 0)) AS detail
FROM pg_statio_user_indexes;
