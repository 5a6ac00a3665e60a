-- One row per run that was not deleted: everything a person filters by.
-- reads: staging.runs, marts.run_summaries
with

metric_counts as (

    select
        run_path,
        count(*) as n_metrics
    from marts.run_summaries
    group by run_path

)

select
    runs.run_path,
    runs.entity,
    runs.project,
    runs.run_id,
    runs.run_name,
    runs.run_group,
    runs.job_type,
    runs.tags,
    runs.notes,
    runs.run_state,
    runs.is_complete,
    runs.created_at,
    runs.ended_at,
    runs.heartbeat_at,
    runs.runtime_seconds,
    runs.last_step,
    runs.history_rows,
    coalesce(metric_counts.n_metrics, 0) as n_metrics,
    runs.user_name,
    runs.host_name,
    runs.program,
    runs.git_commit,
    runs.sdk_version,
    runs.sweep_name,
    runs.url,
    runs.source,
    runs.config_json
from staging.runs
left join metric_counts on runs.run_path = metric_counts.run_path
