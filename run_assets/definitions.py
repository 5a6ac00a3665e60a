"""The only place where assets, checks, jobs, schedules and resources meet."""

from typing import Any

import dagster as dg
from dagster_duckdb import DuckDBResource

from run_assets.assets import (
    curves,
    derived,
    diagnostics,
    evaluations,
    published,
    raw,
    reports,
    rewards,
    stats,
    sweeps,
    warehouse,
)
from run_assets.checks import checks
from run_assets.config import FILE_NAME
from run_assets.jobs import (
    SWEEP,
    changes,
    nightly,
    refresh_job,
    training_job,
    training_schedule,
)
from run_assets.lab import Lab
from run_assets.lab import open as open_lab
from run_assets.resources import OpenLab, use_lab


def build_definitions(
    lab: Lab, resources: dict[str, Any] | None = None
) -> dg.Definitions:
    """Everything Dagster knows of a lab; tests and deployments assemble their own.

    Args:
        lab: Configuration and lake.
        resources: Replaces or adds resources by name.
    """
    return dg.Definitions(
        assets=[
            raw.raw_runs(lab.config),
            raw.sync_state,
            *warehouse.model_assets(),
            *dg.load_assets_from_modules(
                [
                    derived,
                    evaluations,
                    stats,
                    diagnostics,
                    rewards,
                    curves,
                    reports,
                    published,
                    sweeps,
                ]
            ),
        ],
        asset_checks=[*checks(), diagnostics.diagnosis],
        jobs=[refresh_job(lab.config), training_job(), SWEEP],
        schedules=[nightly(lab.config), *_training(lab)],
        sensors=[changes(lab.config)],
        executor=dg.in_process_executor,
        resources={
            "lab": use_lab(lab, str(lab.config.root / FILE_NAME)),
            "open_lab": OpenLab(config_path=str(lab.config.root / FILE_NAME)),
            "duckdb": DuckDBResource(database=":memory:"),
            **(resources or {}),
        },
    )


def _training(lab: Lab) -> list[dg.ScheduleDefinition]:
    curves = lab.config.curves
    return [training_schedule(lab.config)] if curves and curves.cron else []


@dg.definitions
def defs() -> dg.Definitions:
    """What ``dagster``, ``dg`` and the code server load."""
    return build_definitions(open_lab())
