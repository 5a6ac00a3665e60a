"""Grids that hold still and curves that only say what was observed."""

import math

import polars as pl
import pytest

from run_assets.derived.curves import (
    MAX_BINS,
    bin_width,
    metric_curves,
    metric_grids,
)
from run_assets.errors import ContractError, UsageError

NAN, INF = math.nan, math.inf


def points(*rows: tuple[str, float | None, float | None]) -> pl.DataFrame:
    """Points (run, x, value) of the metric ``loss``."""
    schema = {"run_path": pl.String, "x": pl.Float64, "value": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(metric=pl.lit("loss"))


def grid(width: float) -> pl.DataFrame:
    return pl.DataFrame({"metric": ["loss"], "bin_width": [width]})


def curve(
    width: float, *rows: tuple[float | None, float | None]
) -> list[tuple[float, float, int]]:
    table = metric_curves(points(*(("r", x, value) for x, value in rows)), grid(width))
    return table.select("grid_x", "value", "n_points").rows()


@pytest.mark.parametrize(
    ("low", "high", "width"),
    [
        (0, 199, 1.0),
        (0, 200, 2.0),
        (0, 399, 2.0),
        (0, 400, 5.0),
        (0, 1_000_000, 10_000.0),
        (0, 999_999, 5000.0),
        (-100, 100, 2.0),
        (0, 1, 0.01),
        (0.29, 0.31, 0.0002),
        (0, 0, 1.0),
        (1e15, 1e15 + 10, 1.0),
        (-1e308, 1e308, 2e306),
        (0, 5e-324, 1.0),
    ],
)
def test_a_width_is_the_narrowest_with_200_bins(
    low: float, high: float, width: float
) -> None:
    assert bin_width(low, high) == width


def test_whole_steps_are_never_cut_in_pieces() -> None:
    assert bin_width(0, 10, smallest=1.0) == 1.0


def test_a_width_in_use_is_kept_until_the_range_outgrows_it() -> None:
    assert bin_width(0, 300, previous=50.0) == 50.0
    assert bin_width(0, 999, previous=5.0) == 5.0
    assert bin_width(0, 1000, previous=5.0) == 10.0


@pytest.mark.parametrize(("low", "high"), [(1, 0), (NAN, 1), (0, INF), (-INF, INF)])
def test_a_range_must_be_a_range(low: float, high: float) -> None:
    with pytest.raises(UsageError, match="finite low <= high"):
        bin_width(low, high)


def test_grids_are_whole_for_steps_and_fine_for_fractions() -> None:
    steps = points(("a", 0.0, 1.0), ("b", 7.0, 1.0), ("b", 1e9, NAN), ("b", NAN, 1.0))
    epochs = steps.with_columns(x=pl.col("x") / 2, metric=pl.lit("by_epoch"))
    assert metric_grids(pl.concat([steps, epochs])).rows() == [
        ("by_epoch", 0.02),
        ("loss", 1.0),
    ]


def test_a_grid_outlives_its_points_and_takes_integer_x() -> None:
    assert metric_grids(points(), grid(20.0)).rows() == [("loss", 20.0)]
    whole = points(("a", 500.0, 1.0), ("a", 0.0, 1.0)).cast({"x": pl.Int64})
    assert metric_grids(whole).rows() == [("loss", 5.0)]
    assert metric_curves(whole, metric_grids(whole)).height == 101


def test_a_bin_holds_the_mean_of_its_points() -> None:
    assert curve(10.0, (0, 1.0), (9.99, 3.0), (10, 5.0), (10, 7.0)) == [
        (0.0, 2.0, 2),
        (10.0, 6.0, 2),
    ]


def test_between_observed_bins_the_line_is_straight() -> None:
    assert curve(2.0, (8, 4.0), (0, 0.0)) == [
        (0.0, 0.0, 1),
        (2.0, 1.0, 0),
        (4.0, 2.0, 0),
        (6.0, 3.0, 0),
        (8.0, 4.0, 1),
    ]


def test_nothing_is_said_beyond_the_observed_bins() -> None:
    rows = points(("long", 0.0, 1.0), ("long", 50.0, 1.0), ("short", 20.0, 2.0))
    table = metric_curves(rows, grid(10.0))
    assert table.filter(run_path="short").rows() == [
        ("short", "loss", 20.0, 2.0, 1, True)
    ]


def test_values_that_are_no_numbers_make_no_bin_observed() -> None:
    assert curve(
        1.0, (0, 1.0), (1, NAN), (2, 3.0), (2, INF), (3, None), (4, -INF), (NAN, 5.0)
    ) == [(0.0, 1.0, 1), (1.0, 2.0, 0), (2.0, 3.0, 1)]


def test_a_run_that_only_diverged_has_no_curve() -> None:
    assert curve(1.0, (0, NAN), (1, INF)) == []


def test_huge_values_do_not_become_infinite() -> None:
    table = curve(1.0, (0, 1.5e308), (0, 1.5e308), (1, 1.5e308), (3, -1.5e308))
    assert table == [(1.0, 1.5e308, 1), (2.0, 0.0, 0), (3.0, -1.5e308, 1)]


@pytest.mark.parametrize("width", [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0])
def test_a_point_on_the_grid_is_in_the_bin_that_begins_there(width: float) -> None:
    places = [index * width for index in range(-90, 90)]
    table = metric_curves(points(*(("r", x, x) for x in places)), grid(width))
    assert table["n_points"].to_list() == [1] * 180
    assert table["grid_x"].to_list() == pytest.approx(places, abs=1e-12)


def test_bins_left_of_zero_are_like_the_others() -> None:
    assert curve(5.0, (-0.1, 1.0), (-5, 3.0), (0, 9.0)) == [
        (-5.0, 2.0, 2),
        (0.0, 9.0, 1),
    ]


def test_a_metric_without_a_grid_is_refused() -> None:
    with pytest.raises(ContractError, match="metrics without a grid: loss"):
        metric_curves(points(("a", 0.0, 1.0)), grid(1.0).clear())


@pytest.mark.parametrize("width", [0.0, -1.0, NAN, INF])
def test_a_grid_needs_a_width(width: float) -> None:
    with pytest.raises(ContractError, match="needs a width > 0"):
        metric_curves(points(("a", 0.0, 1.0)), grid(width))


def test_a_grid_too_fine_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(ContractError, match="1000000001 bins of width 1"):
        metric_curves(points(("a", 0.0, 1.0), ("a", 1e9, 1.0)), grid(1.0))
    assert MAX_BINS == 200


def test_no_points_give_a_typed_empty_table() -> None:
    for grids in (grid(1.0), grid(1.0).clear()):
        table = metric_curves(points(), grids)
        assert table.is_empty()
        assert table.columns[:3] == ["run_path", "metric", "grid_x"]
        assert table.schema["is_observed"] == pl.Boolean
