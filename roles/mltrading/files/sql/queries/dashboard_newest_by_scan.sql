-- Dashboard: the newest row of twenty symbols, as it is best read without an index: in one pass over the table.
SELECT DISTINCT ON (symbol)
    symbol,
    timestamp,
    close,
    returns,
    rsi_1d,
    price_ma_short
FROM feature_engineered_data
WHERE
    symbol IN (
        'AAPL', 'MSFT', 'IBM', 'GOOG', 'FB',
        'SYN00005', 'SYN00006', 'SYN00007', 'SYN00008', 'SYN00009',
        'SYN00010', 'SYN00011', 'SYN00012', 'SYN00013', 'SYN00014',
        'SYN00015', 'SYN00016', 'SYN00017', 'SYN00018', 'SYN00019'
    )
    AND feature_version = '3.0'
ORDER BY symbol ASC, timestamp DESC;
