-- Models, predictions and the four log tables: a week of an application's life that ends at the end time. Every row
-- says "sample": true in its JSON column, and everything that looks random is a hash of the row's number and the seed.
--
-- The temporary table `request` has one row: seed, end_time (UTC), log_lines (of the busiest logs).
INSERT INTO public.models (
    model_id, name, version, model_type, parameters, metrics, file_path, status, created_at, updated_at
)
SELECT
    'sample-' || m.name,
    m.name,
    '3.0',
    m.model_type,
    jsonb_build_object('sample', true, 'features', m.features),
    jsonb_build_object('directional_accuracy', m.accuracy),
    '/srv/models/' || m.name || '.bin',
    m.status,
    q.end_time AT TIME ZONE 'UTC' - interval '30 days',
    q.end_time AT TIME ZONE 'UTC' - interval '1 day'
FROM request AS q
CROSS JOIN (
    VALUES
    ('xgboost_hourly', 'xgboost', 36, 0.531, 'active'),
    ('lightgbm_hourly', 'lightgbm', 36, 0.527, 'active'),
    ('ridge_baseline', 'linear', 13, 0.509, 'retired')
) AS m (name, model_type, features, accuracy, status);

INSERT INTO public.predictions (
    prediction_id, model_id, symbol, timestamp, prediction_type, prediction_value, confidence, features, created_at
)
SELECT
    'sample-' || m.model_id || '-' || f.id,
    m.model_id,
    f.symbol,
    f.timestamp,
    'price_1h',
    f.close * (1 + 0.02 * (mltrading_lab.uniform(m.model_id || f.symbol || f.timestamp, q.seed) - 0.5)),
    0.5 + 0.5 * mltrading_lab.uniform(f.symbol || f.timestamp || m.model_id, q.seed),
    jsonb_build_object('sample', true, 'rsi_1d', f.rsi_1d, 'macd', f.macd),
    f.created_at AT TIME ZONE 'UTC'
FROM request AS q
CROSS JOIN public.models AS m
CROSS JOIN public.feature_engineered_data AS f
WHERE
    f.timestamp > q.end_time - interval '7 days'
    AND f.symbol IN ('AAPL', 'MSFT', 'IBM', 'GOOG', 'FB')
    AND m.status = 'active'
ORDER BY f.timestamp, f.symbol, m.model_id;

INSERT INTO public.performance_logs (
    timestamp, operation_name, duration_ms, status, component, correlation_id, memory_usage_mb, cpu_usage_percent,
    metadata, created_at
)
SELECT
    r.at,
    o.operation_name,
    least(o.typical_ms * exp(1.5 * (r.a + r.b - 1)), 60000),
    CASE WHEN r.c < 0.97 THEN 'success' WHEN r.c < 0.99 THEN 'error' ELSE 'timeout' END,
    o.component,
    md5('performance' || r.n),
    200 + 600 * r.b,
    5 + 90 * r.a,
    '{"sample": true}',
    r.at
FROM (
    SELECT
        n,
        q.end_time AT TIME ZONE 'UTC' - (q.log_lines - n) * (interval '7 days' / q.log_lines) AS at,
        mltrading_lab.uniform('performance a' || n, q.seed) AS a,
        mltrading_lab.uniform('performance b' || n, q.seed) AS b,
        mltrading_lab.uniform('performance c' || n, q.seed) AS c,
        floor(8 * mltrading_lab.uniform('performance d' || n, q.seed))::integer AS operation
    FROM request AS q
    CROSS JOIN generate_series(1, q.log_lines) AS n
) AS r
INNER JOIN (
    VALUES
    (0, 'fetch_market_data', 'ingestion', 350),
    (1, 'compute_features', 'features', 900),
    (2, 'upsert_features', 'features', 140),
    (3, 'load_core_features', 'dashboard', 12),
    (4, 'load_technical_features', 'dashboard', 25),
    (5, 'dashboard_summary', 'dashboard', 60),
    (6, 'predict', 'models', 45),
    (7, 'train_model', 'models', 9000)
) AS o (operation, operation_name, component, typical_ms) ON o.operation = r.operation
ORDER BY r.n;

INSERT INTO public.error_logs (
    timestamp, error_type, error_message, stack_trace, component, correlation_id, user_id, request_path, metadata,
    created_at
)
SELECT
    r.at,
    e.error_type,
    e.error_type || ' in ' || e.component,
    'Traceback (most recent call last): ' || e.component || '.run',
    e.component,
    md5('error' || r.n),
    'user-' || floor(50 * r.a),
    '/api/' || e.component,
    '{"sample": true}',
    r.at
FROM (
    SELECT
        n,
        q.end_time AT TIME ZONE 'UTC' - (q.log_lines / 12 + 1 - n) * (interval '7 days' / (q.log_lines / 12 + 1)) AS at,
        mltrading_lab.uniform('error a' || n, q.seed) AS a,
        floor(4 * mltrading_lab.uniform('error b' || n, q.seed))::integer AS kind
    FROM request AS q
    CROSS JOIN generate_series(1, q.log_lines / 12 + 1) AS n
) AS r
INNER JOIN (
    VALUES
    (0, 'ConnectionTimeout', 'ingestion'),
    (1, 'RateLimited', 'ingestion'),
    (2, 'MissingBars', 'features'),
    (3, 'ModelNotFound', 'models')
) AS e (kind, error_type, component) ON e.kind = r.kind
ORDER BY r.n;

INSERT INTO public.system_logs (
    timestamp, level, logger_name, correlation_id, message, module, function_name, line_number, thread_name, process_id,
    metadata, created_at
)
SELECT
    r.at,
    CASE WHEN r.a < 0.9 THEN 'INFO' WHEN r.a < 0.98 THEN 'WARNING' ELSE 'ERROR' END,
    'mltrading.' || (ARRAY['ingestion', 'features', 'models', 'dashboard'])[1 + r.n % 4],
    md5('system' || r.n / 5),
    'step ' || r.n % 5 || ' done',
    (ARRAY['ingestion', 'features', 'models', 'dashboard'])[1 + r.n % 4],
    'run',
    10 + r.n % 400,
    'MainThread',
    1000 + r.n % 8,
    '{"sample": true}',
    r.at
FROM (
    SELECT
        n,
        q.end_time AT TIME ZONE 'UTC' - (q.log_lines - n) * (interval '7 days' / q.log_lines) AS at,
        mltrading_lab.uniform('system a' || n, q.seed) AS a
    FROM request AS q
    CROSS JOIN generate_series(1, q.log_lines) AS n
) AS r
ORDER BY r.n;

INSERT INTO public.user_action_logs (
    timestamp, action_type, user_id, session_id, ip_address, user_agent, request_path, request_method, response_status,
    duration_ms, correlation_id, metadata, created_at
)
SELECT
    r.at,
    (ARRAY['view_dashboard', 'view_symbol', 'run_backtest', 'export'])[1 + floor(4 * r.a)::integer],
    'user-' || floor(50 * r.b),
    md5('session' || r.n / 20),
    '192.0.2.0'::inet + floor(250 * r.b)::integer,
    'Mozilla/5.0',
    '/dashboard',
    'GET',
    CASE WHEN r.a < 0.98 THEN 200 ELSE 500 END,
    20 + 400 * r.a * r.b,
    md5('user' || r.n),
    '{"sample": true}',
    r.at
FROM (
    SELECT
        n,
        q.end_time AT TIME ZONE 'UTC' - (q.log_lines / 3 + 1 - n) * (interval '7 days' / (q.log_lines / 3 + 1)) AS at,
        mltrading_lab.uniform('user a' || n, q.seed) AS a,
        mltrading_lab.uniform('user b' || n, q.seed) AS b
    FROM request AS q
    CROSS JOIN generate_series(1, q.log_lines / 3 + 1) AS n
) AS r
ORDER BY r.n;
