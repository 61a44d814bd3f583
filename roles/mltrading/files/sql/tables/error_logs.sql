-- Errors with their traces.
CREATE TABLE public.error_logs (
    id bigserial PRIMARY KEY,
    timestamp timestamptz NOT NULL DEFAULT now(),
    error_type varchar(100) NOT NULL,
    error_message text,
    stack_trace text,
    component varchar(100),
    correlation_id varchar(64),
    user_id varchar(64),
    request_path text,
    metadata jsonb,
    created_at timestamptz DEFAULT now()
);

CREATE INDEX idx_error_logs_timestamp ON public.error_logs (timestamp);
