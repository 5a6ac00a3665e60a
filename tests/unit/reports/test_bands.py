import polars as pl

from run_assets.reports.bands import curve_bands
from run_assets.reports.content import CURVE_COLUMNS


def _curves(*runs: list[float | None], task: str | None = "maze") -> pl.DataFrame:
    rows = [
        ("reward", "a", task, f"e/p/r{number}", "_step", float(at), value)
        for number, values in enumerate(runs)
        for at, value in enumerate(values)
        if value is not None
    ]
    return pl.DataFrame(rows, schema=dict(CURVE_COLUMNS), orient="row")


def test_the_line_is_the_mean_of_the_middle_half() -> None:
    bands = curve_bands(_curves([0.0], [1.0], [2.0], [3.0], [100.0]))
    row = bands.row(0, named=True)
    assert row["center"] == 2.0
    assert (row["low"], row["high"]) == (1.0, 3.0)
    assert row["n_runs"] == 5


def test_a_point_needs_half_of_the_runs() -> None:
    bands = curve_bands(_curves([1.0, 1.0, 1.0], [1.0, 1.0], [1.0], [1.0]))
    assert bands["grid_x"].to_list() == [0.0, 1.0]


def test_values_that_are_not_finite_are_left_out() -> None:
    bands = curve_bands(_curves([1.0, float("nan")], [3.0, float("inf")]))
    assert bands.select("grid_x", "center").rows() == [(0.0, 2.0)]


def test_one_run_is_its_own_line_with_a_band_of_no_width() -> None:
    row = curve_bands(_curves([4.0])).row(0, named=True)
    assert (row["center"], row["low"], row["high"]) == (4.0, 4.0, 4.0)


def test_runs_without_a_task_are_one_series() -> None:
    bands = curve_bands(_curves([1.0], [2.0], task=None))
    assert bands.select("task", "center").rows() == [(None, 1.5)]


def test_the_order_of_the_rows_does_not_matter() -> None:
    curves = _curves([1.0, 2.0], [3.0, 4.0], [5.0, 6.0])
    assert curve_bands(curves.reverse()).equals(curve_bands(curves))


def test_no_curves_are_no_bands() -> None:
    assert curve_bands(_curves()).is_empty()
