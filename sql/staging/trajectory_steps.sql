-- One row per step of a trial, with sweep, model, task and number named.
-- reads: raw.trajectory_steps, staging.trials
with

versions_of_trials as (

    -- a source may name model, task and number of a trial in one of its tables only
    select
        source,
        version,
        sweep_id,
        model,
        task,
        trial
    from staging.trials
    where version is not null
    qualify row_number() over (partition by source, version order by row_id) = 1

)

select
    steps.source,
    steps.row_id,
    coalesce(
        steps.sweep_id,
        trials.sweep_id,
        case
            when json_valid(steps.meta_json)
                then json_extract_string(steps.meta_json, '$.sweep_id')
        end,
        ''
    ) as sweep_id,
    coalesce(steps.model, trials.model, '(unnamed)') as model,
    coalesce(
        steps.task,
        trials.task,
        nullif(
            trim(
                regexp_extract(
                    steps.version_description, '(?m)^type:([^\r\n]*)', 1
                )
            ),
            ''
        ),
        '(unnamed)'
    ) as task,
    coalesce(steps.trial, trials.trial) as trial,
    steps.version,
    coalesce(steps.instance, 0) as instance,
    steps.step,
    steps.reward,
    coalesce(
        steps.production_score,
        case
            when json_valid(steps.meta_json)
                then try_cast(
                    json_extract_string(steps.meta_json, '$.production_score')
                    as double
                )
        end
    ) as production_score,
    steps.prompt_tokens,
    steps.completion_tokens,
    coalesce(
        steps.total_tokens, steps.prompt_tokens + steps.completion_tokens
    ) as total_tokens,
    steps.cost,
    coalesce(
        steps.has_error,
        case
            when json_valid(steps.meta_json)
                then try_cast(
                    json_extract_string(steps.meta_json, '$.error_occurred')
                    as boolean
                )
        end,
        false
    ) as has_error,
    coalesce(steps.has_early_stop, false) as has_early_stop,
    steps.recorded_at
from raw.trajectory_steps as steps
left join versions_of_trials as trials
    on steps.source = trials.source and steps.version = trials.version
