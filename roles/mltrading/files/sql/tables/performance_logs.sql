-- How long each operation of the application took.
CREATE TABLE public.performance_logs (
    id bigserial PRIMARY KEY,
    timestamp timestamptz NOT NULL DEFAULT now(),
    operation_name varchar(100) NOT NULL,
    duration_ms numeric(10, 3) NOT NULL,
    status varchar(20) NOT NULL CHECK (status IN ('success', 'error', 'timeout')),
    component varchar(100),
    correlation_id varchar(64),
    memory_usage_mb numeric(10, 2),
    cpu_usage_percent numeric(5, 2),
    metadata jsonb,
    created_at timestamptz DEFAULT now()
);

CREATE INDEX idx_performance_logs_timestamp ON public.performance_logs (timestamp);
