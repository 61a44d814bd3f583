-- Dashboard: rows, symbols and the newest bar of the last seven days.
SELECT
    count(*) AS total_rows,
    count(DISTINCT symbol) AS symbols,
    max(timestamp) AS latest
FROM feature_engineered_data
WHERE timestamp >= now() - interval '7 days';
