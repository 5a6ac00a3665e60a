"""Sweeps, one partition each: plan, results, statistics, report; no part of a refresh.

The trials of a sweep run in a pool inside the one step of ``results``: a Dagster run a
trial would cost a thousand times as much. The ledger, not Dagster, knows every trial.
"""

from pathlib import Path
from typing import Any

import dagster as dg

from run_assets.assets.results import OWNERS
from run_assets.resources import OpenLab
from run_assets.sweeps.ledger import ledger_path, open_ledger

SWEEPS = dg.DynamicPartitionsDefinition(name="sweep")
_KEYS = {name: dg.AssetKey(["sweeps", name]) for name in ("plan", "results")}


class PlanOptions(dg.Config):
    """What a sweep that has no ledger yet is to run."""

    file: str | None = None


def _definition(name: str, kinds: set[str], after: str | None = None) -> dict[str, Any]:
    return {
        "key": ["sweeps", name],
        "group_name": "sweeps",
        "kinds": kinds,
        "owners": OWNERS,
        "partitions_def": SWEEPS,
        "deps": [_KEYS[after]] if after else [],
    }


@dg.asset(**_definition("plan", {"sqlite"}))
def plan(
    context: dg.AssetExecutionContext, config: PlanOptions, open_lab: OpenLab
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # has no value
    """The trials of a sweep in its ledger: which, in which order, how configured."""
    from run_assets.sweeps.config import load_sweep, stored_values
    from run_assets.sweeps.running import start_sweep

    lab, sweep_id = open_lab.lab, context.partition_key
    path = ledger_path(lab.config.data_path, sweep_id)
    if config.file is not None and not path.exists():
        file = lab.config.root / Path(config.file).expanduser()
        start_sweep(lab, load_sweep(file), file=file, sweep_id=sweep_id)
    with open_ledger(path, read_only=True) as ledger:
        return dg.MaterializeResult(
            metadata={
                "ledger": dg.MetadataValue.path(str(path)),
                "trials": ledger.value("select count(*) from trials"),
                "config": dg.MetadataValue.json(stored_values(ledger.config)),
            }
        )


@dg.asset(**_definition("results", {"sqlite", "python"}, after="plan"))
def results(
    context: dg.AssetExecutionContext, open_lab: OpenLab
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # has no value
    """A result for each trial: whatever is not terminal is run, in one pool."""
    from run_assets.sweeps.running import SweepFailedError, work_on

    ran = work_on(open_lab.lab, context.partition_key, is_resume=True)
    if ran.publication_error:
        raise ran.publication_error
    if ran.n_open:
        msg = f"{ran.n_open} trials of {ran.sweep_id} are open: {ran.ending}"
        raise SweepFailedError(msg)
    return dg.MaterializeResult(
        metadata={"ending": ran.ending, "cost": ran.cost, **ran.counts}
    )


@dg.asset(**_definition("statistics", {"python", "polars", "parquet"}, after="results"))
def statistics(
    context: dg.AssetExecutionContext, open_lab: OpenLab
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # has no value
    """The pass rates of a sweep: one row per model, statistic and k."""
    from run_assets.sweeps.overview import write_pass_rates
    from run_assets.sweeps.running import output_folder

    path = ledger_path(open_lab.lab.config.data_path, context.partition_key)
    with open_ledger(path, read_only=True) as ledger:
        file, rates = write_pass_rates(ledger, output_folder(open_lab.lab, ledger))
    return dg.MaterializeResult(
        metadata={
            "file": dg.MetadataValue.path(str(file)),
            "dagster/row_count": rates.height,
        }
    )


@dg.asset(
    **{
        **_definition("report", {"json", "markdown"}),
        "deps": [_KEYS["results"], dg.AssetKey(["sweeps", "statistics"])],
    }
)
def report(
    context: dg.AssetExecutionContext, open_lab: OpenLab
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # has no value
    """What came of a sweep, as JSON and Markdown."""
    from run_assets.sweeps.overview import write_report
    from run_assets.sweeps.running import output_folder

    path = ledger_path(open_lab.lab.config.data_path, context.partition_key)
    with open_ledger(path, read_only=True) as ledger:
        files = write_report(ledger, output_folder(open_lab.lab, ledger))
    text = files["md"].read_text(encoding="utf-8")
    return dg.MaterializeResult(
        metadata={
            "report": dg.MetadataValue.md(text),
            **{name: dg.MetadataValue.path(str(one)) for name, one in files.items()},
        }
    )
