-- One row per run and define_metric pattern: the x axis it declares, if only _step.
-- reads: raw.metric_definitions
select
    run_path,
    pattern,
    case when ends_with(pattern, '*') then left(pattern, -1) else pattern end as prefix,
    ends_with(pattern, '*') as is_prefix,
    -- a definition without x axis stays: W&B lets it hide the prefixes it matches
    coalesce(nullif(step_metric, ''), '_step') as step_metric
from raw.metric_definitions
