"""Curves of all runs on one grid: shares of the budget that each run had planned.

Runs that were killed stay in, as far as they came: leaving them out would bias final
values upward. A run is never stretched to its planned end.
"""

import numpy as np
import polars as pl

from run_assets.curves.examples import Bools, CurveTable, Floats, Names
from run_assets.curves.features import (
    BUDGET,
    NAME,
    ONE_TASK,
    TASK,
    feature_columns,
    label_of,
)
from run_assets.curves.settings import Curves
from run_assets.derived.curves import metric_curves

RUNNING = "running"
_PAST_THE_END = 1 + 1e-6


def budget_curves(
    points: pl.DataFrame, features: pl.DataFrame, settings: Curves
) -> pl.DataFrame:
    """Each run's curve on the grid of planned budget shares.

    A bin's value is the mean of its finite values; bins without are interpolated
    between two that have some, and nothing lies before the first or after the last.
    Values beyond the planned budget do not count. Runs without a planned budget have
    no curve.

    Args:
        points: run_path, x, value of the reward, non-finite values included.
        features: From ``run_features``.
        settings: How many points.

    Returns:
        run_path, grid_point, budget_fraction (the middle of the bin), value, n_points,
        is_observed, is_diverged (the run logged a value that is not finite).
    """
    planned = features.filter(
        pl.col("role") == BUDGET, pl.col("value_double") > 0
    ).select("run_path", pl.col("value_double").alias("budget"))
    share = pl.col("x") / pl.col("budget")
    inside = points.join(planned, "run_path").filter(share <= _PAST_THE_END)
    last = 1 - 0.5 / settings.points
    on_grid = inside.select(
        "run_path",
        pl.lit("reward").alias("metric"),
        pl.min_horizontal(share, pl.lit(last)).alias("x"),
        "value",
    ).filter(pl.col("x") >= 0)
    grid = pl.DataFrame({"metric": ["reward"], "bin_width": [1 / settings.points]})
    curves = metric_curves(on_grid, grid)
    diverged = points.filter(~pl.col("value").is_finite())["run_path"].unique()
    number = (pl.col("grid_x") * settings.points).round().cast(pl.Int64)
    return curves.select(
        "run_path",
        number.alias("grid_point"),
        ((number + 0.5) / settings.points).alias("budget_fraction"),
        "value",
        "n_points",
        "is_observed",
        pl.col("run_path").is_in(diverged.implode()).alias("is_diverged"),
    )


def curve_table(
    runs: pl.DataFrame, features: pl.DataFrame, curves: pl.DataFrame, settings: Curves
) -> CurveTable:
    """Some runs as models take them, sorted by run_path.

    Args:
        runs: run_path of the runs; those without a planned budget are left out.
        features: ``curves.features``.
        curves: ``curves.dataset``.
        settings: Which features.
    """
    planned = features.filter(pl.col("role") == BUDGET, pl.col("value_double") > 0)
    chosen = (
        runs.join(planned, "run_path", how="semi").select("run_path").sort("run_path")
    )
    paths = chosen["run_path"]
    specs = (*settings.environment_features, *settings.agent_features)
    wide = chosen.join(feature_columns(features, specs), "run_path", how="left")
    tasks = _labels(chosen, features, TASK, ONE_TASK)
    return CurveTable(
        run_paths=paths.to_numpy().astype(np.str_),
        features=wide.drop("run_path").with_columns(task=pl.Series(tasks.tolist())),
        environments=_labels(chosen, features, NAME, "unknown"),
        tasks=tasks,
        curves=_matrix(paths, curves, settings.points),
    )


def training_frame(table: CurveTable) -> pl.DataFrame:
    """Runs as ``TrainingCurveDataset`` takes them: features, and a list of rewards.

    Returns:
        run_path, environment, task, a column for each feature, and ``training_curve``,
        null where a run has no value.
    """
    curves = pl.Series("training_curve", table.curves.tolist(), pl.List(pl.Float64))
    about = {
        "run_path": table.run_paths.tolist(),
        "environment": table.environments.tolist(),
        "task": table.tasks.tolist(),
    }
    schema = dict.fromkeys(about, pl.String)
    frame = pl.DataFrame(about, schema)
    features = table.features.drop("task")
    return pl.concat([frame, features], how="horizontal").with_columns(
        curves.list.eval(pl.element().fill_nan(None))
    )


def ended_runs(runs: pl.DataFrame) -> pl.DataFrame:
    """Runs whose curve is as long as it will ever be, however they ended."""
    return runs.filter(pl.col("run_state") != RUNNING)


def has_curve(table: CurveTable, settings: Curves) -> Bools:
    """Runs with enough points to learn from; the others failed at once."""
    enough = np.isfinite(table.curves).sum(axis=1) >= settings.min_points
    return np.asarray(enough)


def _labels(
    chosen: pl.DataFrame, features: pl.DataFrame, role: str, otherwise: str
) -> Names:
    labels = label_of(features, role, otherwise)
    joined = chosen.join(labels, "run_path", how="left", maintain_order="left")
    texts = joined["label"].fill_null(otherwise).to_list()
    return np.array(texts, dtype=np.str_)


def _matrix(paths: pl.Series, curves: pl.DataFrame, points: int) -> Floats:
    matrix = np.full((len(paths), points), np.nan)
    place = pl.DataFrame({"run_path": paths}).with_row_index("row")
    found = curves.join(place, "run_path").filter(pl.col("grid_point") < points)
    matrix[found["row"].to_numpy(), found["grid_point"].to_numpy()] = found["value"]
    return matrix
