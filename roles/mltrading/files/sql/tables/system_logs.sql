-- The application's log lines.
CREATE TABLE public.system_logs (
    id bigserial PRIMARY KEY,
    timestamp timestamptz NOT NULL DEFAULT now(),
    level varchar(10) NOT NULL,
    logger_name varchar(100),
    correlation_id varchar(64),
    message text,
    module varchar(100),
    function_name varchar(100),
    line_number integer,
    thread_name varchar(100),
    process_id integer,
    metadata jsonb,
    created_at timestamptz DEFAULT now()
);

CREATE INDEX idx_system_logs_timestamp ON public.system_logs (timestamp);
