"""Curves of all runs on common grids, so that they can be compared point by point.

A grid belongs to a project and a metric; its points are the multiples of its bin
width, whatever the runs. So a new run never moves the curves of the others.
"""

import math
from collections.abc import Iterator

import polars as pl

from run_assets.errors import ContractError, UsageError

MAX_BINS = 200
GRID_SCHEMA: dict[str, type[pl.DataType]] = {
    "metric": pl.String,
    "bin_width": pl.Float64,
}
CURVE_SCHEMA: dict[str, type[pl.DataType]] = {
    "run_path": pl.String,
    "metric": pl.String,
    "grid_x": pl.Float64,
    "value": pl.Float64,
    "n_points": pl.Int64,
    "is_observed": pl.Boolean,
}
# x / width of a point that lies on a grid point may come out an ulp too low
# (0.29 / 0.01 is 28.999999999999996).
_SNAP = 1e-9
# Beyond this many widths from zero, neighbouring bins would be the same float.
_MAX_INDEX = 2.0**50
# Ranges below are as good as a single point (and near the end of the floats).
_NARROWEST = 1e-290


def bin_width(
    low: float,
    high: float,
    *,
    previous: float | None = None,
    smallest: float = 0.0,
) -> float:
    """The narrowest of 1, 2 or 5 x 10^k that cuts a range into at most 200 bins.

    Args:
        low: Smallest x of the project's runs, finite, in the unit of the x axis.
        high: Largest x, finite. (If equal, the width goes by the size of x.)
        previous: The width in use; kept as long as 200 such bins hold the range.
        smallest: No width below this one; 1 for an axis of whole numbers.

    Returns:
        The width, in the unit of the x axis.

    Raises:
        UsageError: The range is empty or not finite.

    >>> bin_width(0, 1000), bin_width(0, 999), bin_width(0, 10, smallest=1)
    (10.0, 5.0, 1.0)
    >>> bin_width(0, 300, previous=5.0)
    5.0
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        message = f"a grid needs finite low <= high, got low={low!r}, high={high!r}"
        raise UsageError(message)
    if previous is not None and previous > 0 and _fits(low, high, previous):
        return previous
    for width in _nice_widths(_order_of_width(low, high, smallest)):
        if width >= smallest and _fits(low, high, width):
            return width
    raise AssertionError  # _nice_widths never ends


def _order_of_width(low: float, high: float, smallest: float) -> int:
    """The power of ten at which to look for a width; never above the answer."""
    magnitude = max(abs(low), abs(high))
    # Half of each, because the difference itself could overflow. A single x gets a
    # width by its size, or the next point would widen an absurdly narrow grid.
    width = (high / 2 - low / 2) / (MAX_BINS / 2) or magnitude / MAX_BINS
    width = max(width, magnitude / _MAX_INDEX, smallest)
    return math.floor(math.log10(width)) if width > _NARROWEST else 0


def _nice_widths(power: int) -> Iterator[float]:
    while True:
        # Parsed, because 5 * 10.0**-3 is not the float nearest to 0.005.
        yield from (float(f"{mantissa}e{power}") for mantissa in (1, 2, 5))
        power += 1


def metric_grids(
    points: pl.DataFrame,
    previous: pl.DataFrame | None = None,
    *,
    is_whole: bool | None = None,
) -> pl.DataFrame:
    """The grid of each metric of a project.

    Args:
        points: metric, x, value of all its runs. Only finite x with a finite value
            count. Where all x are whole numbers (steps), bins are at least 1 wide.
        previous: Grids in use (metric, bin_width): kept while they hold the range.
        is_whole: The axis has whole numbers only; ``None`` to judge by the points.

    Returns:
        metric, bin_width, sorted by metric. A metric without points keeps its grid.
    """
    before = _width_by_metric(previous)
    ranges = (
        points.filter(pl.col("x").is_finite() & pl.col("value").is_finite())
        .group_by("metric")
        .agg(
            low=pl.col("x").min().cast(pl.Float64),
            high=pl.col("x").max().cast(pl.Float64),
            is_whole=(pl.col("x") == pl.col("x").cast(pl.Float64).floor()).all(),
        )
    )
    widths = before | {
        metric: bin_width(
            low,
            high,
            previous=before.get(metric),
            smallest=1.0 if (looks_whole if is_whole is None else is_whole) else 0.0,
        )
        for metric, low, high, looks_whole in ranges.iter_rows()
    }
    return pl.DataFrame(sorted(widths.items()), schema=GRID_SCHEMA, orient="row")


def metric_curves(points: pl.DataFrame, grids: pl.DataFrame) -> pl.DataFrame:
    """Each run's curve of each metric on the metric's grid.

    A bin's value is the mean of the finite values whose x lies in
    ``[grid_x, grid_x + bin_width)``. Between two bins with values, the bins without
    are interpolated linearly; before the first and after the last there is no row.
    NaN, infinities and nulls, in x or value, enter no mean and make no bin observed;
    neither does a bin whose mean overflows.

    Args:
        points: run_path, metric, x, value; any order, several points per x allowed.
        grids: metric, bin_width; one row for each metric of ``points``.

    Returns:
        Rows sorted by metric, run_path, grid_x: run_path, metric, grid_x (the
        lower edge of the bin, a multiple of the width), value, n_points (how many
        values the mean is of, 0 if interpolated), is_observed.

    Raises:
        ContractError: A metric has no grid, or one so fine that a curve would have
            more than 200 bins.
    """
    observed = _bin_means(points, grids)
    _refuse_too_fine(observed)
    return _filled(observed).select(
        "run_path",
        "metric",
        _grid_x("bin", "bin_width").alias("grid_x"),
        "value",
        "n_points",
        "is_observed",
    )


def straight_line(start: pl.Expr, end: pl.Expr, share: pl.Expr) -> pl.Expr:
    """The value at a share in [0, 1] of the way; exact between equal values."""
    rise = end - start
    return (
        pl.when(rise.is_finite())
        .then(start + rise * share)
        .otherwise(start * (1 - share) + end * share)  # the rise overflowed
    )


def _bin_means(points: pl.DataFrame, grids: pl.DataFrame) -> pl.DataFrame:
    """Bins with values: metric, run_path, bin, bin_width, value, n_points; sorted."""
    widths = _width_by_metric(grids)
    without = set(points["metric"].unique()) - widths.keys()
    if without:
        message = (
            f"metrics without a grid: {', '.join(sorted(without)[:5])}; "
            "make grids with metric_grids() from the same points"
        )
        raise ContractError(message)
    x, width = pl.col("x").cast(pl.Float64), pl.col("bin_width")
    return (
        points.filter(pl.col("x").is_finite() & pl.col("value").is_finite())
        .with_columns(
            pl.col("metric")
            .replace_strict(widths, default=None, return_dtype=pl.Float64)
            .alias("bin_width")
        )
        .with_columns(_bin(x, width).alias("bin"))
        .group_by("metric", "run_path", "bin")
        .agg(
            pl.col("bin_width").first(),
            pl.col("value").cast(pl.Float64).mean(),
            pl.len().cast(pl.Int64).alias("n_points"),
        )
        .filter(pl.col("value").is_finite())
        .sort("metric", "run_path", "bin")
    )


def _filled(observed: pl.DataFrame) -> pl.DataFrame:
    """``observed`` with a row for each bin between two of the same curve."""
    is_last = (pl.col("metric") != pl.col("metric").shift(-1)) | (
        pl.col("run_path") != pl.col("run_path").shift(-1)
    )
    gap = pl.when(is_last).then(1).otherwise(pl.col("bin").shift(-1) - pl.col("bin"))
    value = pl.col("value")
    share = pl.col("offset") / pl.col("gap")
    between = straight_line(value, pl.col("next_value"), share)
    is_observed = pl.col("offset") == 0
    return (
        observed.with_columns(
            gap.fill_null(1).alias("gap"), value.shift(-1).alias("next_value")
        )
        .with_columns(pl.int_ranges(0, "gap").alias("offset"))
        .explode("offset")
        .with_columns(
            pl.col("bin") + pl.col("offset"),
            pl.when(is_observed).then(value).otherwise(between).alias("value"),
            pl.when(is_observed).then("n_points").otherwise(0).alias("n_points"),
            is_observed.alias("is_observed"),
        )
    )


def _refuse_too_fine(observed: pl.DataFrame) -> None:
    """A grid made for another range would fill millions of bins between points."""
    spans = observed.group_by("metric", "bin_width").agg(
        n_bins=pl.col("bin").max() - pl.col("bin").min() + 1
    )
    too_fine = spans.filter(pl.col("n_bins") > MAX_BINS).sort("metric")
    for metric, width, n_bins in too_fine.iter_rows():
        message = (
            f"the grid of {metric!r} has {n_bins} bins of width {width}, at most "
            f"{MAX_BINS}; make a new one with metric_grids()"
        )
        raise ContractError(message)


def _bin(x: pl.Expr, width: pl.Expr) -> pl.Expr:
    """The number of the bin that x lies in; bin 0 begins at 0."""
    per_unit = (1 / width).round()  # exact: a width below 1 divides a power of ten
    bins = pl.when(width < 1).then(x * per_unit).otherwise(x / width)
    return (bins + _SNAP).floor().cast(pl.Int64)


def _grid_x(bins: str, width: str) -> pl.Expr:
    """Where a bin begins, as the float nearest to the decimal number."""
    per_unit = (1 / pl.col(width)).round()
    return (
        pl.when(pl.col(width) < 1)
        .then(pl.col(bins) / per_unit)
        .otherwise(pl.col(bins) * pl.col(width))
    )


def _fits(low: float, high: float, width: float) -> bool:
    """Whether bins of this width hold the range, and floats can tell them apart."""
    if max(abs(low), abs(high)) > _MAX_INDEX * width:
        return False
    return _bin_number(high, width) - _bin_number(low, width) < MAX_BINS


def _bin_number(x: float, width: float) -> int:
    """`_bin` of one x, without the cost of a frame."""
    bins = x * round(1 / width) if width < 1 else x / width
    return math.floor(bins + _SNAP)


def _width_by_metric(grids: pl.DataFrame | None) -> dict[str, float]:
    if grids is None:
        return {}
    widths = dict(grids.select("metric", "bin_width").iter_rows())
    for metric, width in widths.items():
        if not (math.isfinite(width) and width > 0):
            message = f"the grid of {metric!r} needs a width > 0, got {width!r}"
            raise ContractError(message)
    return widths
