-- Trained models and what they were measured at.
CREATE TABLE public.models (
    id bigserial PRIMARY KEY,
    model_id varchar(64) NOT NULL UNIQUE,
    name varchar(100) NOT NULL,
    version varchar(20) NOT NULL,
    model_type varchar(50),
    parameters jsonb,
    metrics jsonb,
    file_path text,
    status varchar(20) DEFAULT 'active',
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now()
);
