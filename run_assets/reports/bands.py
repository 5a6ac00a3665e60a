"""Learning curves of many runs as one line with a band per group."""

import polars as pl

_SERIES = ["metric", "task", "group_name"]
_SHARE_OF_RUNS = 0.5


def curve_bands(curves: pl.DataFrame) -> pl.DataFrame:
    """Interquartile mean over runs, with the interquartile range as the band.

    The line is the mean of the middle half of the runs (``floor(n / 4)`` dropped at
    each end, as in ``run_assets.stats``) and the band reaches from the 25th to the
    75th percentile (linear): it shows how far the runs differ, not how certain the
    line is. A point needs a value from at least half of the runs of its group and
    task, so that the line does not jump to the few runs that lasted longest. Values
    that are not finite are left out.

    Args:
        curves: ``run_assets.reports.content.CURVE_COLUMNS``.

    Returns:
        metric, x_metric, task, group_name, grid_x, center, low, high (in the unit
        of the metric) and n_runs; sorted.
    """
    finite = curves.filter(pl.col("value").is_finite())
    sizes = finite.group_by(_SERIES).agg(
        pl.col("run_path").n_unique().alias("n_series_runs")
    )
    drop = pl.len() // 4
    points = finite.group_by([*_SERIES, "x_metric", "grid_x"]).agg(
        pl.col("value").sort().slice(drop, pl.len() - 2 * drop).mean().alias("center"),
        pl.col("value").quantile(0.25, "linear").alias("low"),
        pl.col("value").quantile(0.75, "linear").alias("high"),
        pl.col("run_path").n_unique().alias("n_runs"),
    )
    enough = pl.col("n_runs") >= _SHARE_OF_RUNS * pl.col("n_series_runs")
    columns = ["metric", "x_metric", "task", "group_name", "grid_x"]
    return (
        points.join(sizes, on=_SERIES, nulls_equal=True)
        .filter(enough)
        .select(*columns, "center", "low", "high", "n_runs")
        .sort(columns)
    )
