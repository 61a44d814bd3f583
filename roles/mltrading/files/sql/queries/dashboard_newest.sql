-- Dashboard: the newest row of twenty symbols, each by one step into the index.
SELECT
    symbols.symbol,
    newest.timestamp,
    newest.close,
    newest.returns,
    newest.rsi_1d,
    newest.price_ma_short
FROM (
    VALUES
    ('AAPL'), ('MSFT'), ('IBM'), ('GOOG'), ('FB'),
    ('SYN00005'), ('SYN00006'), ('SYN00007'), ('SYN00008'), ('SYN00009'),
    ('SYN00010'), ('SYN00011'), ('SYN00012'), ('SYN00013'), ('SYN00014'),
    ('SYN00015'), ('SYN00016'), ('SYN00017'), ('SYN00018'), ('SYN00019')
) AS symbols (symbol)
CROSS JOIN LATERAL (
    SELECT
        f.timestamp,
        f.close,
        f.returns,
        f.rsi_1d,
        f.price_ma_short
    FROM feature_engineered_data AS f
    WHERE
        f.symbol = symbols.symbol
        AND f.feature_version = '3.0'
    ORDER BY f.timestamp DESC
    LIMIT 1
) AS newest;
