-- Index pages found in shared_buffers, as counters since their last reset: health_samples.py has the share of the last
-- hour from them.
-- Source: the operations guide, "Index hit ratio" and ALERT_THRESHOLDS['index_hit_ratio_percent'].
SELECT
    current_database() AS item,
    coalesce(sum(idx_blks_hit), 0) AS hits,
    coalesce(sum(idx_blks_hit + idx_blks_read), 0) AS reads,
    round(100 * sum(idx_blks_hit) / nullif(sum(idx_blks_hit + idx_blks_read), 0), 1) AS percent_since_reset
FROM pg_statio_user_indexes;
