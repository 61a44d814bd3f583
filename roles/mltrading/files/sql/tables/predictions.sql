-- What a model said about a symbol at a bar. Timestamps have no time zone and are UTC.
CREATE TABLE public.predictions (
    id bigserial PRIMARY KEY,
    prediction_id varchar(64) NOT NULL UNIQUE,
    model_id varchar(64) NOT NULL REFERENCES public.models (model_id),
    symbol varchar(10) NOT NULL,
    timestamp timestamp NOT NULL,
    prediction_type varchar(50),
    prediction_value numeric(10, 4),
    confidence numeric(5, 4),
    features jsonb,
    created_at timestamptz DEFAULT now()
);

CREATE INDEX idx_predictions_symbol_timestamp ON public.predictions (symbol, timestamp);
CREATE INDEX idx_predictions_model_id ON public.predictions (model_id);
