"""Curves and grids under permutation, scaling and company."""

import math

import numpy as np
import polars as pl
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from run_assets.derived.curves import (
    MAX_BINS,
    bin_width,
    metric_curves,
    metric_grids,
)
from run_assets.derived.processing import align_runs_by_step, interpolate_missing

FAST = settings(max_examples=50, deadline=None)  # timings vary on shared machines
RUNS, NAMES = ("e/p/a", "e/p/b", "e/p/c"), ("loss", "eval/reward")
VALUES = st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, -math.inf, None])
RANGES = st.tuples(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
).map(sorted)


@st.composite
def points(draw: st.DrawFn) -> pl.DataFrame:
    """Points with a unique step for each run and metric, in any order."""
    keys = st.tuples(
        st.sampled_from(RUNS), st.sampled_from(NAMES), st.integers(-50, 1000)
    )
    rows = draw(st.dictionaries(keys, VALUES, min_size=1, max_size=40))
    return pl.DataFrame(
        [(*key, float(key[2]), value) for key, value in rows.items()],
        schema={
            "run_path": pl.String,
            "metric": pl.String,
            "step": pl.Int64,
            "x": pl.Float64,
            "value": pl.Float64,
        },
        orient="row",
    )


def grids_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Also of metrics without a finite value, which need a grid like any other."""
    there = pl.DataFrame({"metric": list(NAMES), "bin_width": [1.0] * len(NAMES)})
    return metric_grids(rows, there)


@FAST
@given(points(), st.integers(0, 2**32))
def test_the_order_of_rows_does_not_matter(rows: pl.DataFrame, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(rows.height)
    shuffled = rows[order]
    grids = grids_of(rows)
    assert grids_of(shuffled).equals(grids)
    assert_frame_equal(
        metric_curves(shuffled, grids),
        metric_curves(rows, grids),
        rel_tol=1e-12,
        abs_tol=1e-9,  # sums of values up to 1e6 in another order
    )


@FAST
@given(points())
def test_another_run_changes_no_curve(rows: pl.DataFrame) -> None:
    grids = grids_of(rows)
    others = rows.filter(pl.col("run_path") != RUNS[0])
    together = metric_curves(rows, grids).filter(pl.col("run_path") != RUNS[0])
    assert together.equals(metric_curves(others, grids))


@FAST
@given(points(), st.integers(-20, 20))
def test_a_curve_scales_with_its_values(rows: pl.DataFrame, power: int) -> None:
    factor = 2.0**power  # exact in floats
    grids = grids_of(rows)
    scaled = metric_curves(rows.with_columns(pl.col("value") * factor), grids)
    expected = metric_curves(rows, grids).with_columns(pl.col("value") * factor)
    assert_frame_equal(scaled, expected, rel_tol=1e-15)


@FAST
@given(points())
def test_a_curve_is_gapless_finite_and_within_its_values(rows: pl.DataFrame) -> None:
    grids = grids_of(rows)
    curves = metric_curves(rows, grids).join(grids, on="metric")
    finite = rows.filter(pl.col("value").is_finite())
    for (run_path, metric), curve in curves.group_by("run_path", "metric"):
        own = finite.filter(run_path=run_path, metric=metric)
        width = curve["bin_width"][0]
        bins = (curve["grid_x"] / width).round()
        assert set(bins.diff().drop_nulls()) <= {1.0}
        assert curve["n_points"].sum() == own.height
        assert curve["is_observed"].equals(curve["n_points"] > 0)
        assert curve["is_observed"][0]
        assert curve["is_observed"][-1]
        low, high = own["value"].min(), own["value"].max()
        assert curve["value"].is_between(low - 1e-6, high + 1e-6).all()  # type: ignore[operator]
    assert curves.select("run_path", "metric").unique().height == (
        finite.select("run_path", "metric").unique().height
    )


@FAST
@given(RANGES)
def test_a_width_is_nice_and_narrow(ends: list[float]) -> None:
    low, high = ends
    width = bin_width(low, high)
    assert f"{width:e}".rstrip("0123456789+-").startswith(
        ("1.000000", "2.000", "5.000")
    )
    spread = high / width - low / width
    assert spread <= MAX_BINS
    magnitude = max(abs(low), abs(high))
    if spread > 1 and magnitude < 1e9 * width:
        assert spread > (MAX_BINS - 1) / 2.5 - 1
    assert bin_width(low, high, previous=width) == width


@FAST
@given(RANGES, RANGES)
def test_a_width_only_ever_grows(first: list[float], second: list[float]) -> None:
    width = bin_width(*first)
    low, high = min(first[0], second[0]), max(first[1], second[1])
    assume(high - low < math.inf)
    assert bin_width(low, high, previous=width) >= width


@FAST
@given(points())
def test_filling_keeps_every_point_and_stays_between(rows: pl.DataFrame) -> None:
    long = rows.drop("x")
    filled = interpolate_missing(long)
    kept = filled.filter("is_observed").drop("is_observed")
    assert kept.equals(
        long.drop_nulls("value").sort("run_path", "metric", "step"), null_equal=True
    )
    made = filled.filter(~pl.col("is_observed"))
    assert made["value"].is_finite().all()
    steps = long.drop_nulls("value").select("run_path", "step").unique()
    assert made.join(steps, on=["run_path", "step"], how="anti").is_empty()


@FAST
@given(points(), st.sets(st.integers(-60, 1010), max_size=8))
def test_alignment_agrees_with_numpy(rows: pl.DataFrame, grid: set[int]) -> None:
    aligned = align_runs_by_step(rows.drop("x"), grid)
    finite = rows.filter(pl.col("value").is_finite()).sort("step")
    expected = []
    for (run_path, metric), own in finite.group_by("run_path", "metric"):
        steps, values = own["step"].to_numpy(), own["value"].to_numpy()
        inside = [step for step in sorted(grid) if steps[0] <= step <= steps[-1]]
        expected += [
            (run_path, metric, step, float(value))
            for step, value in zip(
                inside, np.interp(inside, steps, values), strict=True
            )
        ]
    assert_frame_equal(
        aligned,
        pl.DataFrame(expected, schema=aligned.schema, orient="row").sort(
            "run_path", "metric", "step"
        ),
        rel_tol=1e-9,
        abs_tol=1e-6,  # values reach 1e6; the two use different formulas for a line
    )
