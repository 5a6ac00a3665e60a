-- One row per run that was not deleted, and when it ended.
-- reads: raw.runs
select
    run_path,
    entity,
    project,
    run_id,
    run_name,
    run_group,
    job_type,
    tags,
    notes,
    run_state,
    created_at,
    heartbeat_at,
    runtime_seconds,
    last_step,
    history_rows,
    -- what is not JSON would stop every run of the part; its text stays in raw.runs
    case when json_valid(config_json) then config_json end as config_json,
    case when json_valid(summary_json) then summary_json end as summary_json,
    user_name,
    host_name,
    program,
    git_commit,
    sdk_version,
    sweep_name,
    url,
    source,
    source_location,
    case when run_state not in ('running', 'unknown') then heartbeat_at end as ended_at,
    coalesce(run_state = 'finished', false) as is_complete,
    fetched_at
from raw.runs
where not coalesce(is_deleted, false)
