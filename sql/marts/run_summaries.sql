-- One row per run and metric: its numbers in one line.
-- reads: core.metric_points, staging.runs
with recursive

series as (

    -- one ordered list a metric: no window, and no sum depends on the thread count
    select
        run_path,
        metric,
        list(value order by step) as points,
        min(step) as first_step,
        max(step) as last_step,
        min(x) filter (where isfinite(value) and isfinite(x)) as first_x,
        max(x) filter (where isfinite(value) and isfinite(x)) as last_x,
        any_value(x_metric) as x_metric,
        max(logged_at) as last_logged_at
    from core.metric_points
    group by run_path, metric

),

finite_series as (

    select
        run_path,
        metric,
        list_filter(points, lambda point: isfinite(point)) as points,
        list_filter(
            points[-cast(ceil(len(points) / 10) as bigint):],
            lambda point: isfinite(point)
        ) as last_10pct
    from series

),

scaled_series as (

    -- a diverging run passes 1e155, where sums of squares overflow, on its way to inf;
    -- a power of two changes no digit
    select
        run_path,
        metric,
        points,
        last_10pct,
        case
            when greatest(list_max(points), -list_min(points)) > 1e150
                then pow(2, -600)
            else 1
        end as scale
    from finite_series

),

summaries as (

    select
        run_path,
        metric,
        len(points) as n_finite,
        list_avg(list_transform(points, lambda point: point * scale)) / scale as mean,
        list_stddev_samp(
            list_transform(points, lambda point: point * scale)
        ) / scale as std,
        list_min(points) as min,
        list_aggregate(points, 'quantile_cont', [0.25, 0.5, 0.75]) as quartiles,
        list_max(points) as max,
        list_avg(
            list_transform(last_10pct, lambda point: point * scale)
        ) / scale as mean_last_10pct
    from scaled_series

),

summary_nodes as (

    -- as in core.run_configs
    select
        run_path,
        unnest(json_keys(summary_json)) as metric,
        unnest(json_extract(summary_json, '$.*')) as value_json,
        [unnest(range(len(json_keys(summary_json))))] as place
    from staging.runs
    union all
    select
        run_path,
        metric || '.' || unnest(json_keys(value_json)) as metric,
        unnest(json_extract(value_json, '$.*')) as value_json,
        list_append(place, unnest(range(len(json_keys(value_json))))) as place
    from summary_nodes
    where len(place) < 64

),

summary_values as (

    select
        run_path,
        metric,
        case
            when json_type(value_json) = 'BOOLEAN'
                then cast(cast(value_json as boolean) as double)
            else try_cast(trim(cast(value_json as varchar), '"') as double)
        end as summary_value
    from summary_nodes
    where
        json_type(value_json)
        in ('UBIGINT', 'BIGINT', 'HUGEINT', 'DOUBLE', 'BOOLEAN')
        -- JSON has no other spelling for them
        or cast(value_json as varchar) in ('"NaN"', '"Infinity"', '"-Infinity"')
    qualify
        row_number() over (
            partition by run_path, metric
            order by len(place) asc, place desc
        ) = 1

)

select
    series.run_path,
    runs.project,
    series.metric,
    len(series.points) as n_points,
    len(series.points) - summaries.n_finite as n_nonfinite,
    -- fewer rows than points happen in damaged files: a share is never negative
    case
        when runs.history_rows > 0
            then greatest(1 - len(series.points) / runs.history_rows, 0)
    end as missing_rate,
    summaries.mean,
    summaries.std,
    summaries.min,
    summaries.quartiles[1] as p25,
    summaries.quartiles[2] as median,
    summaries.quartiles[3] as p75,
    summaries.max,
    series.points[1] as first,
    series.points[-1] as last,
    summaries.mean_last_10pct,
    series.first_step,
    series.last_step,
    series.first_x,
    series.last_x,
    series.x_metric,
    series.last_logged_at,
    summary_values.summary_value
from series
inner join staging.runs on series.run_path = runs.run_path
inner join summaries
    on series.run_path = summaries.run_path and series.metric = summaries.metric
left join summary_values
    on
        series.run_path = summary_values.run_path
        and series.metric = summary_values.metric
