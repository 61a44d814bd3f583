-- Table pages found in shared_buffers, since the last reset of the statistics. Fewer than 1,000 reads say nothing.
-- Source: ours, beside the guide's index hit ratio.
SELECT
    current_database() AS item,
    CASE
        WHEN sum(heap_blks_hit + heap_blks_read) >= 1000
            THEN round(100 * sum(heap_blks_hit) / sum(heap_blks_hit + heap_blks_read), 1)
    END AS value,
    format('%s reads', coalesce(sum(heap_blks_hit + heap_blks_read), 0)) AS detail
FROM pg_statio_user_tables;
