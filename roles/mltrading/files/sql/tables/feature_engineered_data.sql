-- One row a symbol, bar and source: the bar and the features computed from it (105 columns).
-- Timestamps have no time zone and are UTC.
CREATE TABLE public.feature_engineered_data (
    -- key
    id serial PRIMARY KEY,
    symbol varchar(10) NOT NULL,
    timestamp timestamp NOT NULL,

    -- bar
    open float8,
    high float8,
    low float8,
    close float8,
    volume float8,

    -- price
    returns float8,
    log_returns float8,
    high_low_pct float8,
    open_close_pct float8,
    price_acceleration float8,
    returns_sign float8,
    returns_squared float8,

    -- volatility
    realized_vol_short float8,
    realized_vol_med float8,
    realized_vol_long float8,
    gk_volatility float8,
    vol_of_vol float8,

    -- moving averages
    price_ma_short float8,
    price_ma_med float8,
    price_ma_long float8,
    price_to_ma_short float8,
    price_to_ma_med float8,
    price_to_ma_long float8,
    ma_short_to_med float8,
    ma_med_to_long float8,

    -- volume
    volume_ma float8,
    volume_ratio float8,
    log_volume float8,
    vpt float8,
    vpt_ma float8,
    vpt_normalized float8,
    mfi float8,

    -- relative strength
    rsi_1d float8,
    rsi_3d float8,
    rsi_1w float8,
    rsi_2w float8,
    rsi_ema float8,

    -- time
    hour integer,
    day_of_week integer,
    date varchar(20),
    hour_sin float8,
    hour_cos float8,
    dow_sin float8,
    dow_cos float8,
    is_market_open integer,
    is_morning integer,
    is_afternoon integer,
    hours_since_open float8,
    hours_to_close float8,

    -- intraday
    returns_from_daily_open float8,
    intraday_high float8,
    intraday_low float8,
    intraday_range_pct float8,
    position_in_range float8,
    overnight_gap float8,
    dist_from_intraday_high float8,
    dist_from_intraday_low float8,

    -- lags
    returns_lag_1 float8,
    returns_lag_2 float8,
    returns_lag_4 float8,
    returns_lag_8 float8,
    returns_lag_24 float8,
    vol_lag_1 float8,
    vol_lag_2 float8,
    vol_lag_4 float8,
    vol_lag_8 float8,
    vol_lag_24 float8,
    volume_ratio_lag_1 float8,
    volume_ratio_lag_2 float8,
    volume_ratio_lag_4 float8,
    volume_ratio_lag_8 float8,
    volume_ratio_lag_24 float8,

    -- rolling
    returns_mean_6h float8,
    returns_std_6h float8,
    returns_skew_6h float8,
    returns_kurt_6h float8,
    price_momentum_6h float8,
    returns_mean_12h float8,
    returns_std_12h float8,
    returns_skew_12h float8,
    returns_kurt_12h float8,
    price_momentum_12h float8,
    returns_mean_24h float8,
    returns_std_24h float8,
    returns_skew_24h float8,
    returns_kurt_24h float8,
    price_momentum_24h float8,

    -- indicators
    bb_upper float8,
    bb_lower float8,
    bb_position float8,
    bb_squeeze float8,
    macd float8,
    macd_signal float8,
    macd_histogram float8,
    macd_normalized float8,
    atr float8,
    atr_normalized float8,
    williams_r float8,

    -- metadata
    source varchar(20) DEFAULT 'yahoo',
    feature_version varchar(20) DEFAULT '1.0',
    created_at timestamp DEFAULT now(),
    updated_at timestamp DEFAULT now(),

    CONSTRAINT unique_symbol_timestamp_features UNIQUE (symbol, timestamp, source)
);

-- What the table carries before any optimisation.
CREATE INDEX idx_features_symbol_timestamp ON public.feature_engineered_data (symbol, timestamp);
CREATE INDEX idx_features_symbol ON public.feature_engineered_data (symbol);
CREATE INDEX idx_features_timestamp ON public.feature_engineered_data (timestamp);
CREATE INDEX idx_features_recent ON public.feature_engineered_data (symbol, timestamp DESC);
CREATE INDEX idx_features_created_at ON public.feature_engineered_data (created_at);
CREATE INDEX idx_features_market_hours ON public.feature_engineered_data (symbol, timestamp) WHERE is_market_open = 1;
