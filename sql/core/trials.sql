-- One row per trial of a model on a task: its reward, success, steps, tokens and cost.
-- reads: core.trajectories
with

ranked as (

    -- a trial of several agents is one trial: the best of them speaks for it
    select
        source,
        sweep_id,
        model,
        task,
        trial,
        version,
        instance,
        trial_status,
        error_class,
        reward,
        reward_kind,
        success_threshold,
        first_reward,
        final_reward,
        max_reward,
        production_score
    from core.trajectories
    qualify
        row_number() over (
            partition by source, sweep_id, model, task, trial
            order by reward desc nulls last, instance asc
        ) = 1

),

totals as (

    select
        source,
        sweep_id,
        model,
        task,
        trial,
        count(*) as n_instances,
        bool_or(is_success) as is_success,
        cast(sum(n_steps) as bigint) as n_steps,
        cast(sum(n_error_steps) as bigint) as n_error_steps,
        cast(sum(n_nonfinite) as bigint) as n_nonfinite,
        min(first_success_step) as first_success_step,
        cast(sum(prompt_tokens) as bigint) as prompt_tokens,
        cast(sum(completion_tokens) as bigint) as completion_tokens,
        cast(sum(total_tokens) as bigint) as total_tokens,
        list_sum(list(cost order by instance) filter (where cost is not null)) as cost,
        max(duration_seconds) as duration_seconds,
        min(started_at) as started_at,
        max(ended_at) as ended_at,
        bool_or(has_early_stop) as has_early_stop
    from core.trajectories
    group by source, sweep_id, model, task, trial

)

select
    ranked.source,
    ranked.sweep_id,
    ranked.model,
    ranked.task,
    ranked.trial,
    ranked.version,
    ranked.instance,
    totals.n_instances,
    ranked.trial_status,
    ranked.error_class,
    totals.is_success,
    ranked.reward,
    ranked.reward_kind,
    ranked.success_threshold,
    ranked.first_reward,
    ranked.final_reward,
    ranked.max_reward,
    ranked.production_score,
    totals.n_steps,
    totals.n_error_steps,
    totals.n_nonfinite,
    totals.first_success_step,
    totals.prompt_tokens,
    totals.completion_tokens,
    totals.total_tokens,
    totals.cost,
    totals.duration_seconds,
    totals.started_at,
    totals.ended_at,
    bool_or(
        ranked.trial_status = 'skipped_early_stop'
        or (totals.has_early_stop and coalesce(totals.is_success, false))
    ) over (
        partition by ranked.source, ranked.sweep_id, ranked.model, ranked.task
    ) as is_stopped_early
from ranked
inner join totals
    on
        ranked.source = totals.source
        and ranked.sweep_id = totals.sweep_id
        and ranked.model = totals.model
        and ranked.task = totals.task
        and ranked.trial = totals.trial
