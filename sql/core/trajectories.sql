-- One row per trajectory: an agent in a trial of a model on a task.
-- reads: staging.trials, staging.trajectory_steps, raw.success_rules
with

unnumbered as (

    select
        source,
        sweep_id,
        model,
        task,
        version
    from staging.trials
    where trial is null
    union
    select
        source,
        sweep_id,
        model,
        task,
        version
    from staging.trajectory_steps
    where trial is null

),

numbered as (

    -- the number of a trial is the rank of its version
    select
        source,
        sweep_id,
        model,
        task,
        version,
        row_number() over (
            partition by source, sweep_id, model, task
            order by try_cast(version as bigint) nulls last, version
        ) - 1 as number
    from unnumbered

),


rules as (

    select
        tasks.task,
        rules.reward_kind,
        rules.success_threshold,
        rules.is_inclusive,
        rules.is_default,
        rules.is_error_failure
    from (
        select task from staging.trials
        union
        select task from staging.trajectory_steps
    ) as tasks
    inner join raw.success_rules as rules
        on regexp_full_match(tasks.task, rules.task_pattern)
    qualify row_number() over (partition by tasks.task order by rules.position) = 1

),

ordered_steps as (

    -- one ordered list an agent: neither the input's order nor threads change a sum
    select
        steps.source,
        steps.sweep_id,
        steps.model,
        steps.task,
        coalesce(steps.trial, numbered.number) as trial,
        steps.instance,
        min(steps.version) as version,
        list(steps.reward order by steps.step, steps.row_id)
        filter (where isfinite(steps.reward)) as rewards,
        max(steps.production_score) filter (where isfinite(steps.production_score))
            as production_score,
        list(steps.cost order by steps.row_id) filter (where steps.cost is not null)
            as costs,
        cast(sum(steps.prompt_tokens) as bigint) as prompt_tokens,
        cast(sum(steps.completion_tokens) as bigint) as completion_tokens,
        cast(sum(steps.total_tokens) as bigint) as total_tokens,
        count(*) as n_steps,
        count(*) filter (where steps.has_error) as n_error_steps,
        count(*) filter (where not isfinite(steps.reward)) as n_nonfinite,
        min(steps.step) filter (
            where
            case
                when rules.reward_kind = 'production_score'
                    then steps.production_score
                else steps.reward
            end > rules.success_threshold
            or (
                rules.is_inclusive
                and case
                    when rules.reward_kind = 'production_score'
                        then steps.production_score
                    else steps.reward
                end = rules.success_threshold
            )
        ) as first_success_step,
        bool_or(steps.has_early_stop) as has_early_stop,
        min(steps.recorded_at) as started_at,
        max(steps.recorded_at) as ended_at
    from staging.trajectory_steps as steps
    left join numbered
        on
            steps.source = numbered.source
            and steps.sweep_id = numbered.sweep_id
            and steps.model = numbered.model
            and steps.task = numbered.task
            and steps.version is not distinct from numbered.version
            and steps.trial is null
    left join rules on steps.task = rules.task
    group by
        steps.source,
        steps.sweep_id,
        steps.model,
        steps.task,
        coalesce(steps.trial, numbered.number),
        steps.instance

),

numbered_trials as (

    select
        trials.source,
        trials.sweep_id,
        trials.model,
        trials.task,
        coalesce(trials.trial, numbered.number) as number,
        trials.version,
        trials.instance,
        trials.reward,
        trials.max_reward,
        trials.production_score,
        trials.n_nonfinite,
        trials.has_succeeded,
        trials.n_steps,
        trials.prompt_tokens,
        trials.completion_tokens,
        trials.total_tokens,
        trials.cost,
        trials.duration_seconds,
        trials.trial_status,
        trials.error_class,
        trials.has_early_stop,
        trials.started_at,
        trials.ended_at
    from staging.trials as trials
    left join numbered
        on
            trials.source = numbered.source
            and trials.sweep_id = numbered.sweep_id
            and trials.model = numbered.model
            and trials.task = numbered.task
            and trials.version is not distinct from numbered.version
            and trials.trial is null
    qualify
        row_number() over (
            partition by
                trials.source,
                trials.sweep_id,
                trials.model,
                trials.task,
                coalesce(trials.trial, numbered.number),
                trials.instance
            order by trials.row_id desc
        ) = 1

),

agents as (

    select
        coalesce(trials.source, steps.source) as source,
        coalesce(trials.sweep_id, steps.sweep_id) as sweep_id,
        coalesce(trials.model, steps.model) as model,
        coalesce(trials.task, steps.task) as task,
        coalesce(trials.number, steps.trial) as trial,
        coalesce(trials.version, steps.version) as version,
        coalesce(trials.instance, steps.instance) as instance,
        coalesce(trials.trial_status, 'unknown') as trial_status,
        trials.error_class,
        trials.has_succeeded,
        steps.rewards[1] as first_reward,
        coalesce(trials.reward, steps.rewards[-1]) as final_reward,
        coalesce(
            trials.max_reward,
            list_max(list_append(coalesce(steps.rewards, []), trials.reward))
        ) as max_reward,
        coalesce(trials.production_score, steps.production_score)
            as production_score,
        coalesce(trials.n_steps, steps.n_steps) as n_steps,
        coalesce(steps.n_error_steps, 0) as n_error_steps,
        coalesce(trials.n_nonfinite, 0) + coalesce(steps.n_nonfinite, 0)
            as n_nonfinite,
        steps.first_success_step,
        coalesce(trials.prompt_tokens, steps.prompt_tokens) as prompt_tokens,
        coalesce(trials.completion_tokens, steps.completion_tokens)
            as completion_tokens,
        coalesce(trials.total_tokens, steps.total_tokens) as total_tokens,
        coalesce(trials.cost, list_sum(steps.costs)) as cost,
        coalesce(trials.started_at, steps.started_at) as started_at,
        coalesce(trials.ended_at, steps.ended_at) as ended_at,
        trials.duration_seconds,
        coalesce(trials.has_early_stop, false)
        or coalesce(steps.has_early_stop, false) as has_early_stop
    from numbered_trials as trials
    full outer join ordered_steps as steps
        on
            trials.source = steps.source
            and trials.sweep_id = steps.sweep_id
            and trials.model = steps.model
            and trials.task = steps.task
            and trials.number = steps.trial
            and trials.instance = steps.instance

)

select
    agents.source,
    agents.sweep_id,
    agents.model,
    agents.task,
    agents.trial,
    agents.instance,
    agents.version,
    agents.trial_status,
    agents.error_class,
    case rules.reward_kind
        when 'max' then agents.max_reward
        when 'production_score' then agents.production_score
        else agents.final_reward
    end as reward,
    rules.reward_kind,
    rules.success_threshold,
    case
        when
            agents.trial_status
            in ('pending', 'running', 'will_retry', 'skipped_early_stop')
            then null
        -- a rule that names the task counts more than what the source says
        when agents.has_succeeded is not null and (rules.is_default is not false)
            then agents.has_succeeded
        when reward is not null and rules.success_threshold is not null
            then
                reward > rules.success_threshold
                or (
                    rules.is_inclusive
                    and reward = rules.success_threshold
                )
        when agents.has_succeeded is not null then agents.has_succeeded
        when agents.trial_status = 'failed_final' and rules.is_error_failure
            then false
    end as is_success,
    agents.first_reward,
    agents.final_reward,
    agents.max_reward,
    agents.production_score,
    agents.n_steps,
    agents.n_error_steps,
    agents.n_nonfinite,
    agents.first_success_step,
    agents.prompt_tokens,
    agents.completion_tokens,
    agents.total_tokens,
    agents.cost,
    coalesce(
        agents.duration_seconds,
        date_diff('microsecond', agents.started_at, agents.ended_at) / 1e6
    ) as duration_seconds,
    agents.started_at,
    agents.ended_at,
    agents.has_early_stop
from agents
left join rules on agents.task = rules.task
