-- One row per run, metric and step with a number: what can be computed with.
-- reads: raw.history
select
    run_path,
    metric,
    step,
    logged_at,
    runtime_seconds,
    value
from raw.history
where value is not null
