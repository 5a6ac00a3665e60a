-- One row per run, metric and step with a number, at its declared x value.
-- reads: staging.history, staging.metric_definitions
with

metrics as (

    select distinct
        run_path,
        metric
    from staging.history

),

prefix_axes as (

    -- W&B takes any matching prefix; here the longest wins, so that the answer is one
    select
        metrics.run_path,
        metrics.metric,
        arg_max(definitions.step_metric, len(definitions.prefix)) as x_metric
    from metrics
    inner join staging.metric_definitions as definitions
        on
            metrics.run_path = definitions.run_path
            and starts_with(metrics.metric, definitions.prefix)
    -- a leading underscore is internal to W&B: only an exact name defines it
    where definitions.is_prefix and not starts_with(metrics.metric, '_')
    group by metrics.run_path, metrics.metric

),

axes as (

    select
        metrics.run_path,
        metrics.metric,
        coalesce(definitions.step_metric, prefix_axes.x_metric) as x_metric
    from metrics
    left join staging.metric_definitions as definitions
        on
            metrics.run_path = definitions.run_path
            and metrics.metric = definitions.pattern
            and not definitions.is_prefix
    left join prefix_axes
        on
            metrics.run_path = prefix_axes.run_path
            and metrics.metric = prefix_axes.metric

),

declared as (

    select
        run_path,
        metric,
        x_metric
    from axes
    where x_metric not in ('_step', metric)

),

logged_axes as (

    select distinct
        run_path,
        x_metric
    from declared
    where x_metric not in ('_runtime', '_timestamp')

),

x_points as (

    select
        history.run_path,
        history.metric as x_metric,
        history.step,
        history.value as x
    from staging.history
    inner join logged_axes
        on
            history.run_path = logged_axes.run_path
            and history.metric = logged_axes.x_metric

),

steps as (

    select distinct
        run_path,
        step
    from staging.history
    where run_path in (select logged_axes.run_path from logged_axes)

),

axis_steps as (

    select
        steps.run_path,
        steps.step,
        logged_axes.x_metric
    from steps
    inner join logged_axes on steps.run_path = logged_axes.run_path

),

x_values as (

    -- one lookup per step and axis, not per point: far fewer rows to sort
    select
        axis_steps.run_path,
        axis_steps.x_metric,
        axis_steps.step,
        x_points.x
    from axis_steps
    asof inner join x_points
        on
            axis_steps.run_path = x_points.run_path
            and axis_steps.x_metric = x_points.x_metric
            and axis_steps.step >= x_points.step

)

select
    history.run_path,
    history.metric,
    history.step,
    history.logged_at,
    history.runtime_seconds,
    history.value,
    coalesce(declared.x_metric, '_step') as x_metric,
    case coalesce(declared.x_metric, '_step')
        when '_step' then cast(history.step as double)
        when '_runtime' then history.runtime_seconds
        when '_timestamp' then epoch(history.logged_at)
        else x_values.x  -- null before the first value of the axis
    end as x
from staging.history
left join declared
    on history.run_path = declared.run_path and history.metric = declared.metric
left join x_values
    on
        declared.run_path = x_values.run_path
        and declared.x_metric = x_values.x_metric
        and history.step = x_values.step
