-- Index pages found in shared_buffers, as counters since their last reset: health_samples.py has the share of the last
-- hour from them, once that much was read. `enough_reads` is five times the pages there are, or those of four times
-- shared_buffers: a dump, or the first look after a restart, reads each page once or twice.
-- Source: the operations guide, "Index hit ratio" and ALERT_THRESHOLDS['index_hit_ratio_percent'].
SELECT
    current_database() AS item,
    coalesce(sum(idx_blks_hit), 0) AS hits,
    coalesce(sum(idx_blks_hit + idx_blks_read), 0) AS reads,
    round(100 * sum(idx_blks_hit) / nullif(sum(idx_blks_hit + idx_blks_read), 0), 1) AS percent_since_reset,
    extract(EPOCH FROM now() - pg_postmaster_start_time())::bigint AS uptime,
    5 * least(
        (
            SELECT coalesce(sum(c.relpages), 0)
            FROM pg_class AS c
            WHERE c.relkind = 'i' AND c.oid >= 16384
        ),
        4 * (
            SELECT s.setting::bigint
            FROM pg_settings AS s
            WHERE s.name = 'shared_buffers'
        )
    ) AS enough_reads
FROM pg_statio_user_indexes;
