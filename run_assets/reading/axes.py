"""Every value at its own x: a step, a time, or another metric at the same step."""

import polars as pl

from run_assets.errors import UsageError, did_you_mean
from run_assets.reading.run import Run

AXES = {
    "step": "step",
    "_step": "step",
    "logged_at": "logged_at",
    "_timestamp": "logged_at",
    "runtime_seconds": "runtime_seconds",
    "_runtime": "runtime_seconds",
}
"""Axes that every value has: the names of columns here, and W&B's for the same."""

PLACED = ("metric", "x_axis", "x", "step", "value")


def placed(run: Run, points: pl.DataFrame, axis: str) -> pl.DataFrame:
    """Each value with its place on an axis, in the order of the axis.

    A value stands at the x of its own row, so sparse metrics keep their true steps. A
    value whose step has no x is kept, with a null x, behind the others.

    Args:
        run: Whose axis.
        points: As ``Run.points``.
        axis: One of ``AXES``, or a metric of the run.

    Returns:
        Columns of ``PLACED``.

    Raises:
        UsageError: The run has no such metric.
    """
    bare = points.drop("x", "x_metric").with_columns(x_axis=pl.lit(axis))
    if axis in AXES:
        found = bare.with_columns(x=pl.col(AXES[axis]))
    else:
        found = bare.join(_axis(run, axis), on="step", how="left", validate="m:1")
    order = found.sort("metric", "x", "step", nulls_last=True)
    return order.select(PLACED)


def _axis(run: Run, metric: str) -> pl.DataFrame:
    if metric not in run.metrics:
        hint = did_you_mean(metric, [*AXES, *run.metrics])
        msg = f"no column and no metric of this run is called {metric!r}{hint}"
        raise UsageError(msg)
    return run.points(metric).select("step", x="value")
