"""Points of runs, filtered, summarised, filled, scaled and aligned.

Points are long frames: run_path, metric, step, value, one row for each point, in any
order; nulls are rows that are not there. No function alters its argument. What
each does with NaN and infinities, its docstring says.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias, get_args

import polars as pl

from run_assets.derived.curves import straight_line
from run_assets.errors import UsageError, did_you_mean

Fill: TypeAlias = Literal["linear", "forward"]
Scaling: TypeAlias = Literal["minmax", "zscore", "robust", "bounds"]

DEFAULT_AGGREGATES = ("mean", "std", "min", "max", "last")
AGGREGATED_SCHEMA: dict[str, type[pl.DataType]] = {
    "run_path": pl.String,
    "metric": pl.String,
    "aggregate": pl.String,
    "value": pl.Float64,
}
_CURVE = ["run_path", "metric"]
_POINT = ["run_path", "metric", "step"]
_VALUE = pl.col("value")
_FINITE = _VALUE.filter(_VALUE.is_finite())
_LOGGED = _VALUE.drop_nulls()
_LAST_TENTH = _LOGGED.tail((_LOGGED.len() / 10).ceil().cast(pl.Int64))

# In a group sorted by step, with the meanings of the same columns of
# `marts.run_summaries`. Quantiles are linear between neighbours.
AGGREGATES: Mapping[str, pl.Expr] = {
    "mean": _FINITE.mean(),
    "std": _FINITE.std(),
    "min": _FINITE.min(),
    "p25": _FINITE.quantile(0.25, "linear"),
    "median": _FINITE.median(),
    "p75": _FINITE.quantile(0.75, "linear"),
    "max": _FINITE.max(),
    "first": _LOGGED.first(),
    "last": _LOGGED.last(),
    "count": _LOGGED.len(),
    "mean_last_10pct": _LAST_TENTH.filter(_LAST_TENTH.is_finite()).mean(),
}


def complete_runs(points: pl.DataFrame, min_steps: float | None = None) -> pl.DataFrame:
    """The points of those runs that got far enough.

    Args:
        points: Points; every row counts, whatever its value.
        min_steps: The last step a run must have reached. Default: the median, over
            runs, of the last step.

    Returns:
        Rows of ``points``, in their order.
    """
    last_steps = points.group_by("run_path").agg(pl.col("step").max())
    needed = pl.col("step").median() if min_steps is None else pl.lit(min_steps)
    reached = last_steps.filter(pl.col("step") >= needed)
    return points.join(reached, on="run_path", how="semi", maintain_order="left")


def aggregate_by_run(
    points: pl.DataFrame,
    aggregations: Mapping[str, Sequence[str]] | None = None,
) -> pl.DataFrame:
    """Numbers that stand for a whole run.

    NaN and infinities are left out, except that ``first`` and ``last`` are the
    values logged first and last, whatever they are, and ``count`` counts them all.
    ``std`` has n - 1 in the denominator. ``mean_last_10pct`` is over the finite ones
    among the last tenth of the points, rounded up.

    Args:
        points: Points.
        aggregations: For each metric, which of `AGGREGATES`. Default: for each
            metric, `DEFAULT_AGGREGATES`. None at all is a valid wish: no rows.

    Returns:
        run_path, metric, aggregate, value, sorted by run and metric, aggregates in
        the order asked for; null where too few values are finite. A run that never
        logged a metric has no row for it.

    Raises:
        UsageError: No run logged the metric, or the aggregate is unknown.
    """
    if aggregations is None:
        aggregations = dict.fromkeys(points["metric"].unique(), DEFAULT_AGGREGATES)
    _check_known("metric", aggregations, points["metric"].unique())
    for names in aggregations.values():
        _check_known("aggregate", names, AGGREGATES)
    wanted = [
        (metric, aggregate, place)
        for metric, names in aggregations.items()
        for place, aggregate in enumerate(dict.fromkeys(names))
    ]
    schema = {"metric": pl.String, "aggregate": pl.String, "place": pl.Int64}
    selection = pl.DataFrame(wanted, schema=schema, orient="row")
    used = [name for name in AGGREGATES if name in set(selection["aggregate"])]
    if not used:
        return pl.DataFrame(schema=AGGREGATED_SCHEMA)
    return (
        points.filter(_VALUE.is_not_null() & pl.col("metric").is_in(list(aggregations)))
        .sort("step")
        .group_by(_CURVE, maintain_order=True)
        .agg(AGGREGATES[name].cast(pl.Float64).alias(name) for name in used)
        .unpivot(used, index=_CURVE, variable_name="aggregate")
        .join(selection, on=["metric", "aggregate"])
        .sort("run_path", "metric", "place")
        .select(list(AGGREGATED_SCHEMA))
    )


def pivot_by_step(
    points: pl.DataFrame, metric: str, *, fill: float | None = None
) -> pl.DataFrame:
    """One metric of all runs side by side.

    NaN and infinities stay as they are.

    Args:
        points: Points, one for each run and step of the metric.
        metric: Its name.
        fill: Stands in where a run has no point. Default: null.

    Returns:
        step, and a column for each run that has the metric, named by its run_path;
        one row per step at which one of them has a point. Both sorted.

    Raises:
        UsageError: No run logged the metric.
    """
    _check_known("metric", [metric], points["metric"].unique())
    rows = points.filter((pl.col("metric") == metric) & _VALUE.is_not_null())
    wide = rows.sort("run_path").pivot("run_path", index="step", values="value")
    runs = pl.exclude("step")
    filled = runs if fill is None else runs.fill_null(fill)
    return wide.select("step", filled).sort("step")


def interpolate_missing(
    points: pl.DataFrame, method: Fill = "linear", limit: int | None = None
) -> pl.DataFrame:
    """Points at those steps of a run where it logged others of the given metrics.

    A step is missing in a curve if the run has a point of another metric there.
    ``linear`` goes straight, by step, between the points before and after; ``forward``
    repeats the point before, also behind the last one. Nothing is put before the first
    point. A point that is NaN or infinite counts as there: it stays as it is, and
    neither method reaches from it into the gap beside it.

    Args:
        points: Points of all metrics whose steps matter.
        method: ``linear`` or ``forward``.
        limit: Only the first this many steps of each gap. Default: all.

    Returns:
        ``points`` and the new ones, with is_observed (false for these), sorted by
        run_path, metric, step. A step that cannot be filled is no row.

    Raises:
        UsageError: Unknown method, or ``limit`` below 1.
    """
    if limit is not None and limit < 1:
        message = f"limit must be at least 1 step, got {limit}; None fills all"
        raise UsageError(message)
    observed = _coded(points).drop_nulls("value")
    steps = observed.select("run_path", "step").unique().sort("run_path", "step")
    curves = observed.select(_CURVE).unique().sort(_CURVE)
    rows = curves.join(steps, on="run_path", maintain_order="left_right").join(
        observed, on=_POINT, how="left", maintain_order="left"
    )
    filled = _fill_between_points(rows, method)
    is_near = True if limit is None else pl.col("place_in_gap") <= limit
    return filled.filter(pl.col("is_observed") | (_VALUE.is_finite() & is_near)).select(
        pl.col(_CURVE).cast(pl.String), "step", "value", "is_observed"
    )


def align_runs_by_step(
    points: pl.DataFrame,
    grid: Iterable[int] | None = None,
    method: Fill = "linear",
) -> pl.DataFrame:
    """Every curve read off at the same steps.

    ``linear`` goes straight between the points before and after a step, and never
    beyond the last; ``forward`` takes the last point at or before it. Only finite
    points are used.

    Args:
        points: Points.
        grid: The steps. Default: every step that some run logged, up to the smallest
            last step of a run; so the work follows the points, never the numbers
            that count them (environment steps reach 1e9).
        method: ``linear`` or ``forward``.

    Returns:
        run_path, metric, step, value, sorted; a step that a curve does not reach is
        no row.

    Raises:
        UsageError: Unknown method.
    """
    finite = _coded(points).filter(_VALUE.is_finite())
    steps = _shared_steps(points) if grid is None else pl.Series(list(grid))
    wanted = (
        finite.select(_CURVE)
        .unique()
        .join(steps.unique().cast(pl.Int64).alias("step").to_frame(), how="cross")
        .with_columns(is_wanted=pl.lit(value=True))
    )
    rows = finite.join(wanted, on=_POINT, how="full", coalesce=True).sort(_POINT)
    filled = _fill_between_points(rows, method)
    return filled.filter(pl.col("is_wanted") & _VALUE.is_finite()).select(
        pl.col(_CURVE).cast(pl.String), "step", "value"
    )


def normalize_metrics(
    points: pl.DataFrame,
    method: Scaling,
    *,
    per_run: bool = False,
    bounds: Mapping[str, tuple[float, float]] | None = None,
) -> pl.DataFrame:
    """Values of metrics on a common scale.

    ``minmax``: 0 at the smallest value and 1 at the largest. ``zscore``: distance
    from the mean in standard deviations (n - 1). ``robust``: distance from the median
    in interquartile ranges. ``bounds``: 0 at ``low`` and 1 at ``high``, outside of
    [0, 1] if the value is outside; with ``high < low``, less is better.

    NaN and infinities have no part in the scale and stay what they are.

    Args:
        points: Points.
        method: See above.
        per_run: Scale each run by itself; else all runs of a metric together.
        bounds: ``(low, high)`` for each metric, for ``bounds`` only.

    Returns:
        ``points`` in their order, with the column normalized: unitless; null where
        the values do not spread, so that there is no scale.

    Raises:
        UsageError: Unknown method, a metric without bounds, or bounds that are
            equal, not finite, or given for another method.
    """
    _check_known("normalisation", [method], get_args(Scaling))
    if (method == "bounds") != (bounds is not None):
        message = f"bounds belong to method 'bounds', got method {method!r}"
        raise UsageError(message)
    if bounds is not None:
        low, high = _bounds_of(points, bounds)
        share = (_VALUE - low) / (high - low)
        # A table should not show -0.0 (and polars drops a `+ 0.0` as needless).
        return points.with_columns(
            normalized=pl.when(share == 0).then(0.0).otherwise(share)
        )
    keys = _CURVE if per_run else ["metric"]
    scales = points.group_by(keys).agg(_SCALES[method])
    spread = pl.when(pl.col("spread") > 0).then("spread")
    joined = points.join(scales, on=keys, how="left", maintain_order="left")
    normalized = (_VALUE - pl.col("centre")) / spread
    return joined.select(*points.columns, normalized=normalized)


def summary_statistics(points: pl.DataFrame) -> pl.DataFrame:
    """What the values of each metric look like, over all runs, and how many miss.

    Statistics are over finite values (``std`` with n - 1, quantiles linear).
    A metric is missing at a step if its run has a point of another metric there.

    Args:
        points: Points, one for each run, metric and step.

    Returns:
        One row per metric, sorted: metric, n_points (all), n_nonfinite (the NaN and
        infinities among them), mean, std, min, p25, median, p75, max, n_missing,
        missing_rate (share of the steps, in [0, 1], of all runs).
    """
    n_steps = points.select("run_path", "step").unique().height
    names = ("mean", "std", "min", "p25", "median", "p75", "max")
    n_missing = n_steps - _VALUE.count().cast(pl.Int64)
    return (
        points.group_by("metric")
        .agg(
            _VALUE.count().cast(pl.Int64).alias("n_points"),
            (~_VALUE.is_finite()).sum().cast(pl.Int64).alias("n_nonfinite"),
            *(AGGREGATES[name].alias(name) for name in names),
            n_missing.alias("n_missing"),
            (n_missing / n_steps).alias("missing_rate"),
        )
        .sort("metric")
    )


_SCALES: Mapping[Scaling, tuple[pl.Expr, pl.Expr]] = {
    "minmax": (
        AGGREGATES["min"].alias("centre"),
        (AGGREGATES["max"] - AGGREGATES["min"]).alias("spread"),
    ),
    "zscore": (
        AGGREGATES["mean"].alias("centre"),
        AGGREGATES["std"].alias("spread"),
    ),
    "robust": (
        AGGREGATES["median"].alias("centre"),
        (AGGREGATES["p75"] - AGGREGATES["p25"]).alias("spread"),
    ),
}


def _coded(points: pl.DataFrame) -> pl.DataFrame:
    """Points with names as numbers in the same order, to sort and join by."""
    names = [
        pl.col(column).cast(pl.Enum(points[column].unique().sort()))
        for column in _CURVE
    ]
    return points.select(*names, pl.col("step").cast(pl.Int64), _VALUE.cast(pl.Float64))


def _fill_between_points(rows: pl.DataFrame, method: Fill) -> pl.DataFrame:
    """``rows``, sorted, with values in place of nulls where there can be one.

    Adds is_observed and, for the others, place_in_gap, counted from 1.
    """
    _check_known("method", [method], get_args(Fill))
    row = pl.int_range(pl.len())
    place = pl.when(_VALUE.is_not_null()).then(row)
    neighbours = rows.with_columns(
        curve=pl.struct(_CURVE).rle_id(),
        before=place.forward_fill(),
        after=place.backward_fill(),
        place_in_gap=row - place.forward_fill(),
    )
    line = _neighbour("value", "before")
    if method == "linear":
        start, end = _neighbour("step", "before"), _neighbour("step", "after")
        share = (pl.col("step") - start) / (end - start)
        line = straight_line(line, _neighbour("value", "after"), share)
    return neighbours.with_columns(
        pl.when(_VALUE.is_null()).then(line).otherwise(_VALUE).alias("value"),
        is_observed=_VALUE.is_not_null(),
    )


def _neighbour(column: str, place: str) -> pl.Expr:
    """A column at the point before or after; null if that is of another curve."""
    is_same = pl.col("curve").gather(pl.col(place)) == pl.col("curve")
    return pl.when(is_same).then(pl.col(column).gather(pl.col(place)))


def _shared_steps(points: pl.DataFrame) -> pl.Series:
    """Logged steps up to the last one that every run reached."""
    reached = points.group_by("run_path").agg(pl.col("step").max())["step"].min()
    return points.filter(pl.col("step") <= pl.lit(reached))["step"].unique()


def _bounds_of(
    points: pl.DataFrame, bounds: Mapping[str, tuple[float, float]]
) -> tuple[pl.Expr, pl.Expr]:
    for metric in points["metric"].unique().sort():
        if metric not in bounds:
            message = f"no bounds for {metric!r}{did_you_mean(metric, bounds)}"
            raise UsageError(message)
    for metric, (low, high) in bounds.items():
        if not math.isfinite(high - low) or high == low:
            message = (
                f"bounds of {metric!r} must be two different finite numbers, "
                f"got ({low}, {high})"
            )
            raise UsageError(message)
    lows = {name: low for name, (low, _) in bounds.items()}
    highs = {name: high for name, (_, high) in bounds.items()}
    return _by_metric(lows), _by_metric(highs)


def _by_metric(numbers: Mapping[str, float]) -> pl.Expr:
    return pl.col("metric").replace_strict(
        numbers, default=None, return_dtype=pl.Float64
    )


def _check_known(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            message = f"unknown {kind} {name!r}{did_you_mean(name, known)}"
            raise UsageError(message)
