-- Table pages found in shared_buffers, as counters since their last reset: health_samples.py has the share of the last
-- hour from them.
-- Source: ours, beside the guide's index hit ratio.
SELECT
    current_database() AS item,
    coalesce(sum(heap_blks_hit), 0) AS hits,
    coalesce(sum(heap_blks_hit + heap_blks_read), 0) AS reads,
    round(100 * sum(heap_blks_hit) / nullif(sum(heap_blks_hit + heap_blks_read), 0), 1) AS percent_since_reset
FROM pg_statio_user_tables;
