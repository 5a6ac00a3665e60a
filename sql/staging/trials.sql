-- One row per trial, or agent of a trial, with sweep and task named.
-- reads: raw.trials
select
    source,
    row_id,
    coalesce(
        sweep_id,
        case
            when json_valid(meta_json)
                then json_extract_string(meta_json, '$.sweep_id')
        end,
        ''
    ) as sweep_id,
    coalesce(model, '(unnamed)') as model,
    coalesce(
        task,
        nullif(
            trim(regexp_extract(version_description, '(?m)^type:([^\r\n]*)', 1)),
            ''
        ),
        '(unnamed)'
    ) as task,
    trial,
    version,
    coalesce(instance, 0) as instance,
    case when isfinite(reward) then reward end as reward,
    case when isfinite(max_reward) then max_reward end as max_reward,
    case when isfinite(production_score) then production_score end
        as production_score,
    cast(coalesce(not isfinite(reward), false) as bigint) as n_nonfinite,
    has_succeeded,
    n_steps,
    prompt_tokens,
    completion_tokens,
    coalesce(total_tokens, prompt_tokens + completion_tokens) as total_tokens,
    cost,
    duration_seconds,
    coalesce(trial_status, 'unknown') as trial_status,
    error_class,
    coalesce(has_early_stop, false) as has_early_stop,
    started_at,
    ended_at
from raw.trials
