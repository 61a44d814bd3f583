-- What users did, request by request.
CREATE TABLE public.user_action_logs (
    id bigserial PRIMARY KEY,
    timestamp timestamptz NOT NULL DEFAULT now(),
    action_type varchar(50) NOT NULL,
    user_id varchar(64),
    session_id varchar(64),
    ip_address inet,
    user_agent text,
    request_path text,
    request_method varchar(10),
    response_status integer,
    duration_ms numeric(10, 3),
    correlation_id varchar(64),
    metadata jsonb,
    created_at timestamptz DEFAULT now()
);

CREATE INDEX idx_user_action_logs_timestamp ON public.user_action_logs (timestamp);
