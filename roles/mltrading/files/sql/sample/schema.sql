-- What makes sample data, in the lab's own schema, which is empty: nothing of it is in `public`.
CREATE TABLE mltrading_lab.real_bars (
    symbol text NOT NULL,
    day date NOT NULL,
    open float8 NOT NULL,
    high float8 NOT NULL,
    low float8 NOT NULL,
    close float8 NOT NULL,
    volume float8 NOT NULL,
    adjusted_close float8 NOT NULL,
    PRIMARY KEY (symbol, day)
);

-- The hours of the generated bars, numbered from the oldest (0); and the batches that are loaded.
CREATE TABLE mltrading_lab.calendar (
    bar_no integer PRIMARY KEY,
    day_no integer NOT NULL,
    slot integer NOT NULL,
    timestamp timestamp NOT NULL
);

CREATE TABLE mltrading_lab.finished_batches (
    batch integer PRIMARY KEY,
    rows bigint NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A number in [0, 1) that depends on the key and the seed alone.
CREATE FUNCTION mltrading_lab.uniform(key text, seed bigint) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT (hashtextextended(key, seed) & 9007199254740991) / 9007199254740992.0::float8 $$;

-- Averages that carry on from bar to bar. The state is {values seen, average, n}; nulls are passed over, and the result
-- is null until n values were seen. Wilder's average is the mean of the first n, then each new value weighs 1 / n. The
-- exponential one starts with the first value, then each new one weighs 2 / (n + 1).
CREATE FUNCTION mltrading_lab.ema_step(state float8[], x float8, n integer) RETURNS float8[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
BEGIN
    RETURN CASE WHEN state[1] = 0 THEN ARRAY[1, x, n]
        ELSE ARRAY[state[1] + 1, state[2] + (x - state[2]) * 2 / (n + 1), n] END;
END
$$;

CREATE FUNCTION mltrading_lab.wilder_step(state float8[], x float8, n integer) RETURNS float8[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
BEGIN
    RETURN ARRAY[state[1] + 1, state[2] + (x - state[2]) / least(state[1] + 1, n), n];
END
$$;

CREATE FUNCTION mltrading_lab.average_of(state float8[]) RETURNS float8
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
BEGIN
    RETURN CASE WHEN state[1] >= state[3] THEN state[2] END;
END
$$;

-- The relative strength index, 100 * gain / (gain + loss): both averages in one state, {values seen, gain, loss, n}.
-- Null where the price did not move at all.
CREATE FUNCTION mltrading_lab.rsi_step(state float8[], change float8, n integer) RETURNS float8[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
BEGIN
    RETURN ARRAY[
        state[1] + 1,
        state[2] + (greatest(change, 0) - state[2]) / least(state[1] + 1, n),
        state[3] + (greatest(-change, 0) - state[3]) / least(state[1] + 1, n),
        n
    ];
END
$$;

CREATE FUNCTION mltrading_lab.rsi_ema_step(state float8[], change float8, n integer) RETURNS float8[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
BEGIN
    RETURN CASE WHEN state[1] = 0 THEN ARRAY[1, greatest(change, 0), greatest(-change, 0), n]
        ELSE ARRAY[
            state[1] + 1,
            state[2] + (greatest(change, 0) - state[2]) * 2 / (n + 1),
            state[3] + (greatest(-change, 0) - state[3]) * 2 / (n + 1),
            n
        ] END;
END
$$;

CREATE FUNCTION mltrading_lab.rsi_of(state float8[]) RETURNS float8
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
BEGIN
    RETURN CASE WHEN state[1] >= state[4] THEN 100 * state[2] / nullif(state[2] + state[3], 0) END;
END
$$;

-- From sums of the first powers of n values: the sample standard deviation, and the sample skewness and excess kurtosis
-- corrected for bias. The last two are null where the values do not vary.
CREATE FUNCTION mltrading_lab.deviation(n integer, s1 float8, s2 float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT sqrt(greatest((s2 - s1 * s1 / n) / (n - 1), s2 - s2)) $$;

CREATE FUNCTION mltrading_lab.skew(n integer, s1 float8, s2 float8, s3 float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT
        sqrt(n::float8 * (n - 1)) / (n - 2)
        * (s3 / n - 3 * (s1 / n) * (s2 / n) + 2 * (s1 / n) * (s1 / n) * (s1 / n))
        / nullif(greatest(s2 / n - (s1 / n) * (s1 / n), 0), 0) ^ 1.5
$$;

CREATE FUNCTION mltrading_lab.kurt(n integer, s1 float8, s2 float8, s3 float8, s4 float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT
        (n - 1)::float8 / ((n - 2) * (n - 3)) * (
            (n + 1)
            * (
                s4 / n - 4 * (s1 / n) * (s3 / n) + 6 * (s1 / n) * (s1 / n) * (s2 / n)
                - 3 * (s1 / n) * (s1 / n) * (s1 / n) * (s1 / n)
            )
            / nullif(greatest(s2 / n - (s1 / n) * (s1 / n), 0), 0) ^ 2
            - 3 * (n - 1)
        )
$$;

-- The aggregates of these. sqlfluff 4.5 does not know the statement, so they stand last.
CREATE AGGREGATE mltrading_lab.ema(float8, integer) ( -- noqa: PRS
    SFUNC = mltrading_lab.ema_step,
    STYPE = float8[],
    INITCOND = '{0,0,1}',
    FINALFUNC = mltrading_lab.average_of
);

CREATE AGGREGATE mltrading_lab.wilder(float8, integer) (
    SFUNC = mltrading_lab.wilder_step,
    STYPE = float8[],
    INITCOND = '{0,0,1}',
    FINALFUNC = mltrading_lab.average_of
);

CREATE AGGREGATE mltrading_lab.rsi(float8, integer) (
    SFUNC = mltrading_lab.rsi_step,
    STYPE = float8[],
    INITCOND = '{0,0,0,1}',
    FINALFUNC = mltrading_lab.rsi_of
);

CREATE AGGREGATE mltrading_lab.rsi_ema(float8, integer) (
    SFUNC = mltrading_lab.rsi_ema_step,
    STYPE = float8[],
    INITCOND = '{0,0,0,1}',
    FINALFUNC = mltrading_lab.rsi_of
);

-- A sum over a moving window, in one addition and one subtraction a row. PostgreSQL has none for float8, as the
-- subtractions round: here a window slides over a few thousand values of one size, and the error stays near one part in
-- a billion.
CREATE AGGREGATE mltrading_lab.moving_sum(float8) (
    SFUNC = float8pl,
    STYPE = float8,
    MSFUNC = float8pl,
    MINVFUNC = float8mi,
    MSTYPE = float8
);
