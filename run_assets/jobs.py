"""The refresh as a Dagster job, its schedule, and running it without a daemon."""

import os
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from run_assets import errors
from run_assets.assets.results import keys
from run_assets.config import Config
from run_assets.lab import Lab
from run_assets.records import recorded
from run_assets.refresh import (
    RefreshFailedError,
    Selection,
    is_built,
    plan_refresh,
    read_stamp,
    write_stamp,
)
from run_assets.resources import PID_TAG

Job = UnresolvedAssetJobDefinition
REFRESH = "refresh"
TRAIN = "train_curves"

SWEEP = dg.define_asset_job(
    "sweep",
    selection=dg.AssetSelection.groups("sweeps"),
    description="Run what is left of a sweep, then its statistics and its report.",
)


def refresh_job(config: Config) -> Job:
    """Everything but the training of a model; no curves where none are configured."""
    from run_assets.assets.curves import REFRESHED, TRAINED

    apart = TRAINED if config.curves else (*TRAINED, *REFRESHED)
    return dg.define_asset_job(
        REFRESH,
        selection=dg.AssetSelection.all()
        - dg.AssetSelection.groups("sweeps")
        - dg.AssetSelection.assets(*keys(apart)),
        description="Read what changed and rebuild what depends on it.",
    )


def training_job() -> Job:
    """Train the model of training curves, judge it, and forecast with it."""
    from run_assets.assets.curves import REFRESHED, TRAINED

    wanted = (*TRAINED, *(one for one in REFRESHED if one not in _OF_REFRESH_ALONE))
    return dg.define_asset_job(
        TRAIN,
        selection=dg.AssetSelection.assets(*keys(wanted)),
        description="Train the model of training curves, judge it and use it.",
    )


def training_schedule(config: Config) -> dg.ScheduleDefinition:
    """The training by the clock, where ``curves.cron`` is set."""
    assert config.curves is not None  # noqa: S101  # the caller has looked
    return dg.ScheduleDefinition(
        name="training",
        job_name=TRAIN,
        cron_schedule=config.curves.cron or "",
        execution_timezone=config.schedule.timezone,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Trains the model of training curves again.",
    )


# They are made from what was read; a training takes them as the last refresh left them.
_OF_REFRESH_ALONE = ("curves.features", "curves.dataset")

SECONDS_BETWEEN_QUESTIONS = 300
_UNDER_WAY = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
)

# Dagster's log lines belong into its event log, not onto a terminal.
_SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def nightly(config: Config) -> dg.ScheduleDefinition:
    """The refresh by the clock; skips with a reason when nothing changed."""

    @dg.schedule(
        name="nightly",
        job_name=REFRESH,
        cron_schedule=config.schedule.cron,
        execution_timezone=config.schedule.timezone,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Refreshes when a source, the code or the config has changed.",
    )
    def tick() -> dg.RunRequest | dg.SkipReason:
        return _requested(Lab(config))

    return tick


def changes(config: Config) -> dg.SensorDefinition:
    """The refresh by what changes: asks the sources every few minutes."""

    @dg.sensor(
        name="changes",
        job_name=REFRESH,
        minimum_interval_seconds=SECONDS_BETWEEN_QUESTIONS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Asks every few minutes what changed; refreshes if something did.",
    )
    def look(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        under_way = dg.RunsFilter(job_name=REFRESH, statuses=list(_UNDER_WAY))
        if context.instance.get_runs_count(under_way):
            return dg.SkipReason("A refresh is under way.")
        return _requested(Lab(config))

    return look


def _requested(lab: Lab) -> dg.RunRequest | dg.SkipReason:
    """A refresh if a source, the code or the config has changed."""
    now = datetime.now(UTC)
    try:
        plan = plan_refresh(lab, now=now, selection=Selection())
    except errors.TryAgainError as error:
        return dg.SkipReason(str(error))
    plan.asked.close()
    if not plan.is_empty or not is_built(lab):
        from run_assets.definitions import build_definitions

        job = build_definitions(lab).resolve_job_def(REFRESH)
        return dg.RunRequest(asset_selection=_asked_for(lab, job))
    since = (read_stamp(lab) or {}).get("refreshed_at")
    write_stamp(lab, now, is_whole=True)
    return dg.SkipReason(f"Nothing has changed since {since}.")


def _asked_for(lab: Lab, job: dg.JobDefinition) -> list[dg.AssetKey] | None:
    """What a refresh builds; where nothing was evaluated, that costs nothing."""
    from run_assets.assets.evaluations import EVALUATION_KEYS, has_evaluations

    if has_evaluations(lab):
        return None
    return sorted(job.asset_layer.selected_asset_keys - EVALUATION_KEYS)


def run_config(selection: Selection) -> dict[str, Any]:
    """The run config of a refresh that may read only some runs."""
    options = {
        "reread": selection.reread,
        "project": selection.project,
        "since": selection.since and selection.since.isoformat(),
        "local_only": selection.local_only,
    }
    given = {name: value for name, value in options.items() if value}
    return {"ops": {"raw_runs": {"config": given}}} if given else {}


def evaluation_config(selection: Selection) -> dict[str, Any]:
    """The run config of reading result sources, which know no project and no day."""
    options = {"reread": selection.reread, "local_only": selection.local_only}
    given = {name: value for name, value in options.items() if value}
    return {"raw_results": {"config": given}} if given else {}


def run_in_process(lab: Lab, selection: Selection, job_name: str = REFRESH) -> str:
    """Run the refresh, or another job, in this process, recorded in the lab's Dagster.

    Returns:
        The id of the Dagster run.

    Raises:
        RefreshFailedError: A step failed; the message names it and why.
        SourceError: Dagster's records could not be written.
        RunAssetsError: One of its classes, where every failed step ended with it.
        KeyboardInterrupt: Somebody interrupted a step.
    """
    from run_assets.assets.evaluations import has_evaluations
    from run_assets.definitions import build_definitions

    definitions = build_definitions(lab)
    job = definitions.resolve_job_def(job_name)
    config, chosen = {}, None
    if job_name == REFRESH:
        config, chosen = run_config(selection), _asked_for(lab, job)
        if has_evaluations(lab):
            config["ops"] = {**config.get("ops", {}), **evaluation_config(selection)}
    with recorded(lab.config.root) as instance:
        result = job.execute_in_process(
            instance=instance,
            asset_selection=chosen,
            run_config={**config, **_SILENT},
            tags={PID_TAG: str(os.getpid())},
            raise_on_error=False,
        )
    if not result.success:
        raise _error(result)
    return result.run_id


def record_sweep(lab: Lab, sweep_id: str) -> str:
    """Let the lab's Dagster know a sweep: its partition, its numbers and its report.

    Trials that are still open are run.

    Returns:
        The id of the Dagster run.

    Raises:
        RunAssetsError: A step failed; the message names it and why.
    """
    from run_assets.definitions import build_definitions

    job = build_definitions(lab).resolve_job_def(SWEEP.name)
    with recorded(lab.config.root) as instance:
        instance.add_dynamic_partitions("sweep", [sweep_id])
        result = job.execute_in_process(
            instance=instance,
            partition_key=sweep_id,
            run_config=_SILENT,
            tags={PID_TAG: str(os.getpid())},
            raise_on_error=False,
        )
    if not result.success:
        raise _error(result)
    return result.run_id


def _error(result: dg.ExecuteInProcessResult) -> BaseException:
    """What stopped the refresh, in its own class: its exit code must not get lost."""
    names = {_error_name(event) for event in result.get_step_failure_events()}
    if "DagsterExecutionInterruptedError" in names:
        return KeyboardInterrupt()
    kind = getattr(errors, names.pop() or "", None) if len(names) == 1 else None
    if isinstance(kind, type) and issubclass(kind, errors.RunAssetsError):
        return kind(_failures(result))
    return RefreshFailedError(_failures(result))


def _error_name(event: dg.DagsterEvent) -> str | None:
    error = event.step_failure_data.error
    cause = error.cause if error and error.cause else error
    return cause.cls_name if cause else None


def _failures(result: dg.ExecuteInProcessResult) -> str:
    lines = []
    for event in result.get_step_failure_events():
        error = event.step_failure_data.error
        cause = error.cause if error and error.cause else error
        text = cause.message.strip() if cause else "no error was recorded"
        lines.append(f"{event.step_key}: {text}")
    return "\n".join(lines) or "the refresh failed before its first step"
