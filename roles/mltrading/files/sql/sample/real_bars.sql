-- The real daily bars: as they are into market_data, and adjusted for splits and dividends into the temporary table
-- `bars`, from which the features are computed. A daily bar carries the time of the exchange's opening, as an hourly
-- one does.
INSERT INTO public.market_data (symbol, timestamp, open, high, low, close, volume, source, created_at)
SELECT
    symbol,
    (day + time '09:30') AT TIME ZONE 'America/New_York' AT TIME ZONE 'UTC',
    open,
    high,
    low,
    close,
    volume,
    'bokeh_sampledata',
    (day + time '16:01') AT TIME ZONE 'America/New_York'
FROM mltrading_lab.real_bars
ORDER BY day, symbol;

INSERT INTO bars (symbol, timestamp, open, high, low, close, volume, source)
SELECT
    symbol,
    (day + time '09:30') AT TIME ZONE 'America/New_York' AT TIME ZONE 'UTC',
    open * adjusted_close / close,
    high * adjusted_close / close,
    low * adjusted_close / close,
    adjusted_close,
    volume,
    'bokeh_sampledata'
FROM mltrading_lab.real_bars;
