-- Hourly bars of some symbols, into the temporary table `bars`.
--
-- Each generated day replays a real one: its overnight gap, its open, high, low and close in proportion, and its
-- volume, so that the seven bars of a day together are that real day, at the symbol's own price level. Symbols 0 to 4
-- are the real five, each replaying itself from its last close on; the others replay one of the five from a day of
-- their own. Everything that looks random is a hash of symbol, bar and seed.
--
-- The temporary table `request` has one row: rows and symbols (of the whole load), seed, and which symbols to make,
-- from first_symbol to last_symbol - 1.
INSERT INTO bars (symbol, timestamp, open, high, low, close, volume, source)
WITH
-- The real days as logarithms of proportions: prices over the open, the open over the adjusted close before.
proportions AS (
    SELECT
        r.symbol AS base,
        r.day,
        r.close AS last_close,
        coalesce(ln(r.open * r.adjusted_close / r.close / lag(r.adjusted_close) OVER series), 0) AS gap,
        ln(greatest(r.high, r.open, r.close) / r.open) AS high,
        ln(least(r.low, r.open, r.close) / r.open) AS low,
        ln(r.close / r.open) AS close,
        r.volume
    FROM mltrading_lab.real_bars AS r
    WINDOW series AS (PARTITION BY r.symbol ORDER BY r.day)
),

-- Numbered from 0. The mean growth of a day is taken out of the gap, so that a series which is replayed from its end to
-- its beginning again neither grows out of the column nor shrinks to nothing.
shapes AS MATERIALIZED (
    SELECT
        p.base,
        row_number() OVER series - 1 AS day,
        count(*) OVER whole AS days,
        last_value(p.last_close) OVER whole AS last_close,
        p.gap - avg(p.gap + p.close) OVER whole AS gap,
        p.high,
        p.low,
        p.close,
        p.volume
    FROM proportions AS p
    WINDOW
        series AS (PARTITION BY p.base ORDER BY p.day),
        whole AS (PARTITION BY p.base ORDER BY p.day RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
),

real_symbols AS (
    SELECT DISTINCT
        base,
        days,
        last_close,
        array_position(ARRAY['AAPL', 'MSFT', 'IBM', 'GOOG', 'FB'], base) - 1 AS number
    FROM shapes
),

-- The first symbols have one bar more where the rows do not divide evenly; all end with the newest.
symbols AS (
    SELECT
        q.seed,
        base.base,
        base.days,
        CASE WHEN n.number < 5 THEN base.base ELSE 'SYN' || lpad(n.number::text, 5, '0') END AS symbol,
        CASE
            WHEN n.number < 5 THEN base.last_close
            ELSE 10 ^ (1 + 1.5 * mltrading_lab.uniform(n.number || ':price', q.seed))
        END AS first_price,
        floor(base.days * mltrading_lab.uniform(n.number || ':offset', q.seed))::integer AS first_day,
        c.bars - q.rows / q.symbols - (n.number < q.rows % q.symbols)::integer AS first_bar
    FROM request AS q
    CROSS JOIN (SELECT count(*) AS bars FROM mltrading_lab.calendar) AS c
    CROSS JOIN generate_series(q.first_symbol, q.last_symbol - 1) AS n (number)
    INNER JOIN real_symbols AS base
        ON base.number = CASE
            WHEN n.number < 5 THEN n.number
            ELSE floor(5 * mltrading_lab.uniform(n.number || ':base', q.seed))::integer
        END
),

-- One row a symbol and day: the day's shape, and the logarithm of its opening price.
days AS (
    SELECT
        s.symbol,
        s.seed,
        c.day_no,
        s.first_bar,
        shape.high,
        shape.low,
        shape.close,
        shape.volume,
        ln(s.first_price) + shape.gap
        + coalesce(sum(shape.gap + shape.close) OVER before_this, 0) AS open,
        floor(7 * mltrading_lab.uniform(s.symbol || ':' || c.day_no || ':high', s.seed)) AS high_slot,
        floor(7 * mltrading_lab.uniform(s.symbol || ':' || c.day_no || ':low', s.seed)) AS low_slot
    FROM symbols AS s
    CROSS JOIN (SELECT DISTINCT day_no FROM mltrading_lab.calendar) AS c
    INNER JOIN shapes AS shape
        ON shape.base = s.base AND shape.day = (s.first_day + c.day_no) % s.days
    WINDOW before_this AS (
        PARTITION BY s.symbol ORDER BY c.day_no ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
),

-- The path of the seven closes from the open to the close: a straight line and a bridge of noise, kept inside the
-- range.
closes AS (
    SELECT
        d.*,
        c.bar_no,
        c.slot,
        c.timestamp,
        CASE
            WHEN c.slot = 6 THEN d.close
            ELSE least(d.high, greatest(
                d.low,
                d.close * (c.slot + 1) / 7
                + (mltrading_lab.uniform(d.symbol || ':' || c.bar_no, d.seed) - 0.5)
                * (d.high - d.low) * sqrt((c.slot + 1) * (6 - c.slot)) / 3.5
            ))
        END AS close_at,
        0.8 + 0.4 * mltrading_lab.uniform(d.symbol || ':' || c.bar_no || ':volume', d.seed) AS busy
    FROM days AS d
    INNER JOIN mltrading_lab.calendar AS c ON c.day_no = d.day_no
),

paths AS (
    SELECT
        c.*,
        lag(c.close_at, 1, 0::float8) OVER (PARTITION BY c.symbol, c.day_no ORDER BY c.slot) AS open_at
    FROM closes AS c
)

SELECT
    p.symbol,
    p.timestamp,
    round(exp(p.open + p.open_at)::numeric, 4)::float8,
    round(
        exp(p.open + CASE WHEN p.slot = p.high_slot THEN p.high ELSE greatest(p.open_at, p.close_at) END)::numeric, 4
    )::float8,
    round(
        exp(p.open + CASE WHEN p.slot = p.low_slot THEN p.low ELSE least(p.open_at, p.close_at) END)::numeric, 4
    )::float8,
    round(exp(p.open + p.close_at)::numeric, 4)::float8,
    round(p.volume * p.busy * (ARRAY[0.22, 0.14, 0.11, 0.10, 0.11, 0.13, 0.19])[p.slot + 1]::float8),
    'generated'
FROM paths AS p
WHERE p.bar_no >= p.first_bar;
