"""Features and curves of runs, from configs and logged points."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from run_assets.curves.dataset import budget_curves, curve_table, has_curve
from run_assets.curves.features import feature_columns, run_features
from run_assets.curves.settings import Budget, Curves, Feature
from run_assets.curves.targets import CLIP, fit_target_scale

SETTINGS = Curves(
    metric="reward",
    points=10,
    budget=Budget(key="steps"),
    environment_features=(Feature(name="size", key="env.size", default=3),),
    agent_features=(Feature(name="rate", key="lr"),),
)


def configs(**runs: dict[str, float]) -> pl.DataFrame:
    rows = [
        (run, key, float(value), str(value))
        for run, config in runs.items()
        for key, value in config.items()
    ]
    schema = {
        "run_path": pl.String,
        "key": pl.String,
        "value_double": pl.Float64,
        "value_text": pl.String,
    }
    return pl.DataFrame(rows, schema, orient="row")


def features(**runs: dict[str, float]) -> pl.DataFrame:
    paths = pl.DataFrame({"run_path": sorted(runs)})
    return run_features(paths, configs(**runs), SETTINGS)


def curves(points: list[tuple[float, float]], steps: float = 100.0) -> pl.DataFrame:
    frame = pl.DataFrame(
        [("a", x, y) for x, y in points],
        {"run_path": pl.String, "x": pl.Float64, "value": pl.Float64},
        orient="row",
    )
    return budget_curves(frame, features(a={"steps": steps}), SETTINGS)


def test_a_default_is_never_silent() -> None:
    told = features(a={"env.size": 5}, b={})
    rows = told.filter(feature="size").select("run_path", "value_double", "is_default")
    assert rows.rows() == [("a", 5.0, False), ("b", 3.0, True)]


def test_a_feature_without_default_stays_null() -> None:
    row = features(a={}).filter(feature="rate").row(0, named=True)
    assert (row["value_double"], row["is_default"]) == (None, False)


def test_runs_with_the_same_environment_features_share_an_environment() -> None:
    told = features(a={"env.size": 5, "lr": 1}, b={"env.size": 5}, c={"env.size": 6})
    names = dict(
        told.filter(role="environment_name").select("run_path", "value_text").rows()
    )
    assert names["a"] == names["b"] != names["c"]


def test_columns_are_by_feature() -> None:
    told = features(a={"lr": 0.5}, b={"lr": 0.25})
    wide = feature_columns(told, SETTINGS.agent_features)
    assert wide.rows() == [("a", 0.5), ("b", 0.25)]


def test_a_bin_is_the_mean_of_its_values() -> None:
    found = curves([(5, 1.0), (9, 3.0), (10, 7.0)])
    assert found["value"].to_list() == [2.0, 7.0]
    assert found["n_points"].to_list() == [2, 1]
    assert found["budget_fraction"].to_list() == pytest.approx([0.05, 0.15])


def test_sparse_points_are_interpolated_and_nothing_is_extrapolated() -> None:
    found = curves([(25, 1.0), (55, 4.0)])
    assert found["grid_point"].to_list() == [2, 3, 4, 5]
    assert found["value"].to_list() == pytest.approx([1.0, 2.0, 3.0, 4.0])
    assert found["is_observed"].to_list() == [True, False, False, True]


def test_a_killed_run_is_not_stretched() -> None:
    found = curves([(0, 0.0), (40, 1.0)])
    assert found["grid_point"].max() == 4


def test_the_end_of_the_budget_is_in_the_last_bin() -> None:
    assert curves([(100, 1.0)])["grid_point"].to_list() == [9]


def test_what_lies_beyond_the_budget_does_not_count() -> None:
    assert curves([(50, 1.0), (150, 9.0)])["value"].to_list() == [1.0]


def test_a_run_that_diverged_is_flagged() -> None:
    found = curves([(5, 1.0), (15, float("nan")), (25, 2.0)])
    assert found["is_diverged"].all()
    assert not curves([(5, 1.0)])["is_diverged"].any()


def test_a_run_without_a_planned_budget_has_no_curve() -> None:
    told = features(a={"lr": 1})
    points = pl.DataFrame({"run_path": ["a"], "x": [1.0], "value": [1.0]})
    assert budget_curves(points, told, SETTINGS).is_empty()
    runs = pl.DataFrame({"run_path": ["a"]})
    empty = budget_curves(points, told, SETTINGS)
    assert len(curve_table(runs, told, empty, SETTINGS)) == 0


def test_a_table_has_a_row_a_run_and_knows_who_failed() -> None:
    told = features(a={"steps": 10, "lr": 1}, b={"steps": 10, "lr": 2})
    points = pl.DataFrame(
        {"run_path": ["a", "a", "b"], "x": [0.0, 9.0, 0.0], "value": [1.0, 2.0, 3.0]}
    )
    runs = pl.DataFrame({"run_path": ["b", "a"]})
    found = curve_table(runs, told, budget_curves(points, told, SETTINGS), SETTINGS)
    assert found.run_paths.tolist() == ["a", "b"]
    assert found.features["rate"].to_list() == [1.0, 2.0]
    assert has_curve(found, SETTINGS).tolist() == [True, False]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.floats(-1e3, 1e3)), min_size=1, max_size=30
    )
)
def test_bins_agree_with_a_plain_loop(points: list[tuple[float, float]]) -> None:
    found = curves(points).filter("is_observed")
    bins: dict[int, list[float]] = {}
    for x, y in points:
        share = min(x / 100, 0.95)
        bins.setdefault(int(np.floor(share * 10 + 1e-9)), []).append(y)
    assert found["grid_point"].to_list() == sorted(bins)
    means = [float(np.mean(bins[number])) for number in sorted(bins)]
    assert found["value"].to_list() == pytest.approx(means)


def test_a_run_far_beyond_the_others_is_clipped_and_known() -> None:
    rewards = np.tile(np.linspace(0, 1, 50), (30, 1))
    rewards[4, -1] = 1e9
    rewards[9, :10] = np.nan
    tasks = np.full(30, "all")
    scale = fit_target_scale(rewards, tasks, {}, is_maximized=True)
    assert np.flatnonzero(scale.is_clipped(rewards, tasks)).tolist() == [4]
    assert np.nanmax(scale.scale(rewards, tasks)) == CLIP[1]
