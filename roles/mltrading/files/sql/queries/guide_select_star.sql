-- The guide's slow pattern: every column of every row of a symbol.
SELECT *
FROM feature_engineered_data
WHERE symbol = 'AAPL';
