-- One row per sweep and model: how well it does over all its tasks.
-- reads: core.trials, marts.model_tasks
with

scoped as (

    -- each sweep by itself, and all trials together
    select
        unnest(case when sweep_id = '' then ['*'] else ['*', sweep_id] end) as scope,
        sweep_id,
        source,
        model,
        task,
        trial,
        trial_status,
        is_success,
        reward,
        n_steps,
        total_tokens,
        cost,
        duration_seconds,
        started_at,
        ended_at,
        is_stopped_early
    from core.trials

),

totals as (

    select
        scope as sweep_id,
        model,
        list(reward order by source, sweep_id, model, task, trial)
        filter (where reward is not null and is_success is not null) as rewards,
        avg(n_steps) filter (where is_success is not null) as mean_steps,
        avg(total_tokens) filter (where is_success is not null) as mean_tokens,
        list(cost order by source, sweep_id, model, task, trial)
        filter (where cost is not null) as costs,
        list(duration_seconds order by source, sweep_id, model, task, trial)
        filter (where duration_seconds is not null and is_success is not null)
            as durations,
        cast(sum(total_tokens) as bigint) as total_tokens,
        min(started_at) as first_started_at,
        max(ended_at) as last_ended_at
    from scoped
    group by scope, model

),

cells as (

    -- tasks count alike, however many trials each has
    select
        sweep_id,
        model,
        cast(sum(n_trials) as bigint) as n_trials,
        cast(sum(n_successes) as bigint) as n_successes,
        cast(sum(n_errors) as bigint) as n_errors,
        cast(sum(n_open) as bigint) as n_open,
        count(success_rate) as n_tasks,
        list_avg(
            list(success_rate order by task) filter (where success_rate is not null)
        ) as success_rate,
        avg(any_success_rate) as any_success_rate,
        count(*) filter (where success_class = 'all') as n_all,
        count(*) filter (where success_class = 'some') as n_some,
        count(*) filter (where success_class = 'none') as n_none,
        bool_or(is_stopped_early) as is_stopped_early
    from marts.model_tasks
    group by sweep_id, model

)

select
    cells.sweep_id,
    cells.model,
    cells.n_tasks,
    cells.n_trials,
    cells.n_successes,
    cells.n_errors,
    cells.n_open,
    cells.success_rate,
    cells.any_success_rate,
    cells.n_all,
    cells.n_some,
    cells.n_none,
    cells.is_stopped_early,
    list_avg(totals.rewards) as mean_reward,
    list_median(totals.rewards) as median_reward,
    list_stddev_samp(totals.rewards) as std_reward,
    list_min(totals.rewards) as min_reward,
    list_max(totals.rewards) as largest_reward,
    totals.mean_steps,
    totals.mean_tokens,
    list_avg(totals.costs) as mean_cost,
    list_avg(totals.durations) as mean_seconds,
    totals.total_tokens,
    list_sum(totals.costs) as cost,
    totals.first_started_at,
    totals.last_ended_at
from cells
inner join totals
    on cells.sweep_id = totals.sweep_id and cells.model = totals.model
