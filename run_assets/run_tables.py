"""Out of the lake: the rows from which runs are diagnosed."""

from collections.abc import Collection, Mapping, Sequence

import polars as pl

from run_assets.diagnostics.gathering import RunTables
from run_assets.errors import SourceError
from run_assets.store.lake import Lake, Part, empty

RUN_TABLES = (
    "core.metric_points",
    "raw.runs",
    "marts.run_summaries",
    "core.run_configs",
    "raw.metric_definitions",
    "raw.system_metrics",
    "raw.artifacts",
)
_POINT_COLUMNS = ("run_path", "metric", "step", "logged_at", "value")


def run_tables(
    lake: Lake,
    inputs: Mapping[str, Sequence[Part]] | None = None,
    *,
    paths: Collection[str] | None = None,
    metrics: Collection[str] | None = None,
) -> RunTables:
    """The rows of some files, of some runs, of some metrics; of all where not given.

    Args:
        lake: Where they are.
        inputs: The parts of each table; a table that is not named gives no rows.
        paths: Run paths.
        metrics: Names of logged metrics.

    Raises:
        SourceError: A file is damaged.
    """

    def rows(name: str) -> pl.LazyFrame:
        if inputs is not None and name not in inputs:
            return empty(name).lazy()
        found = lake.scan(name, None if inputs is None else inputs[name])
        return found if paths is None else found.filter(pl.col("run_path").is_in(paths))

    points = rows("core.metric_points").select(_POINT_COLUMNS)
    if metrics is not None:
        points = points.filter(pl.col("metric").is_in(metrics))
    try:
        return RunTables(
            runs=rows("raw.runs").filter(~pl.col("is_deleted")).collect(),
            points=points.collect(),
            summaries=rows("marts.run_summaries").collect(),
            configs=rows("core.run_configs").collect(),
            definitions=rows("raw.metric_definitions").collect(),
            system=rows("raw.system_metrics").collect(),
            artifacts=rows("raw.artifacts").collect(),
        )
    except (OSError, pl.exceptions.ComputeError) as error:
        msg = f"the lake cannot be read: {error}; `run-assets refresh` repairs it"
        raise SourceError(msg) from error
