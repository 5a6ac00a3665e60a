"""Points of a run from curves written out by hand."""

from collections.abc import Mapping

import polars as pl

from run_assets.reading.run import ARTIFACTS, HISTORY, STATISTICS, Run


def points_of(curves: Mapping[str, Mapping[int, float]]) -> pl.DataFrame:
    """Columns metric, step and value."""
    rows = [
        (metric, step, value)
        for metric, curve in curves.items()
        for step, value in curve.items()
    ]
    schema = {"metric": pl.String, "step": pl.Int64, "value": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def run_of(
    curves: Mapping[str, Mapping[int, float]],
    *,
    run_id: str = "r1",
    config: Mapping[str, object] | None = None,
    goals: Mapping[str, str] | None = None,
) -> Run:
    """A run that logged these curves, two seconds a step."""
    points = points_of(curves)
    history = points.select(
        "metric",
        "step",
        pl.lit(None, HISTORY["logged_at"]).alias("logged_at"),
        (pl.col("step") * 2.0).alias("runtime_seconds"),
        "value",
        pl.lit(None, pl.String).alias("value_json"),
        pl.lit("_step").alias("x_metric"),
        pl.col("step").cast(pl.Float64).alias("x"),
    )
    value = pl.col("value")
    finite = value.filter(value.is_finite())
    statistics = points.group_by("metric").agg(
        pl.len().cast(pl.Int64).alias("n_points"),
        (~value.is_finite()).sum().cast(pl.Int64).alias("n_nonfinite"),
        finite.mean().alias("mean"),
        finite.std().alias("std"),
        value.last().alias("last"),
        pl.col("step").max().alias("last_step"),
    )
    known = pl.DataFrame(schema=STATISTICS)
    return Run(
        columns={"run_path": f"lab/p/{run_id}", "run_id": run_id, "run_name": run_id},
        config=config or {},
        summary={},
        statistics=pl.concat([known, statistics], how="diagonal").sort("metric"),
        history=history.lazy(),
        artifacts=pl.DataFrame(schema=ARTIFACTS),
        goals=goals or {},
    )
