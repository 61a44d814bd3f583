-- Bars as the market gave them. Timestamps have no time zone and are UTC.
CREATE TABLE public.market_data (
    id bigserial PRIMARY KEY,
    symbol varchar(10) NOT NULL,
    timestamp timestamp NOT NULL,
    open numeric(10, 4),
    high numeric(10, 4),
    low numeric(10, 4),
    close numeric(10, 4),
    volume bigint,
    source varchar(20) DEFAULT 'yahoo',
    created_at timestamptz DEFAULT now(),
    CONSTRAINT unique_symbol_timestamp_market UNIQUE (symbol, timestamp, source)
);
