-- One row per sweep, model and task: a cell of trials.
-- reads: core.trials
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

cells as (

    select
        scope as sweep_id,
        model,
        task,
        count(is_success) as n_trials,
        count(*) filter (where is_success) as n_successes,
        count(*) filter (where trial_status = 'failed_final') as n_errors,
        count(*) - count(is_success) as n_open,
        bool_or(is_stopped_early) as is_stopped_early,
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
    group by scope, model, task

)

select
    sweep_id,
    model,
    task,
    n_trials,
    n_successes,
    n_errors,
    n_open,
    case when n_trials > 0 then n_successes / n_trials end as success_rate,
    case when n_trials > 0 then cast(n_successes > 0 as double) end
        as any_success_rate,
    case
        when n_trials = 0 then null
        when n_successes = n_trials then 'all'
        when n_successes = 0 then 'none'
        else 'some'
    end as success_class,
    is_stopped_early,
    list_avg(rewards) as mean_reward,
    list_median(rewards) as median_reward,
    list_stddev_samp(rewards) as std_reward,
    list_min(rewards) as min_reward,
    list_max(rewards) as largest_reward,
    mean_steps,
    mean_tokens,
    list_avg(costs) as mean_cost,
    list_avg(durations) as mean_seconds,
    total_tokens,
    list_sum(costs) as cost,
    first_started_at,
    last_ended_at
from cells
