"""What the data processor of the metrics analysis does, without its defects."""

import math
from typing import cast

import polars as pl
import pytest

from run_assets.derived.processing import (
    AGGREGATES,
    DEFAULT_AGGREGATES,
    Fill,
    Scaling,
    aggregate_by_run,
    align_runs_by_step,
    complete_runs,
    interpolate_missing,
    normalize_metrics,
    pivot_by_step,
    summary_statistics,
)
from run_assets.errors import UsageError

NAN, INF = math.nan, math.inf
Row = tuple[str, str, int, float | None]


def points(*rows: Row) -> pl.DataFrame:
    schema = {
        "run_path": pl.String,
        "metric": pl.String,
        "step": pl.Int64,
        "value": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def series(run: str, metric: str, values: dict[int, float | None]) -> list[Row]:
    return [(run, metric, step, value) for step, value in values.items()]


REWARD = points(
    *series("a", "env/reward", {4: 5.0, 0: 1.0}),
    *series("a", "loss", {0: 9.0, 1: 8.0, 2: NAN, 4: 6.0, 9: 5.0}),
    *series("b", "env/reward", {3: 2.0}),
)


def test_complete_runs_reach_the_given_step() -> None:
    assert complete_runs(REWARD, 9).equals(REWARD.filter(run_path="a"))
    assert complete_runs(REWARD, 3).equals(REWARD)
    assert complete_runs(REWARD, 10).is_empty()


def test_complete_runs_reach_the_median_last_step_by_default() -> None:
    rows = points(*(("r" + str(last), "m", last, 0.0) for last in (1, 2, 3, 10)))
    assert complete_runs(rows)["run_path"].to_list() == ["r3", "r10"]


def test_a_run_that_only_logged_nan_still_went_that_far() -> None:
    assert complete_runs(points(("a", "m", 9, NAN)), 9).height == 1


def test_each_metric_gets_the_aggregates_asked_for() -> None:
    wanted = {"env/reward": ["max", "mean"], "loss": ["count", "min", "last", "first"]}
    assert aggregate_by_run(REWARD, wanted).rows() == [
        ("a", "env/reward", "max", 5.0),
        ("a", "env/reward", "mean", 3.0),
        ("a", "loss", "count", 5.0),
        ("a", "loss", "min", 5.0),
        ("a", "loss", "last", 5.0),
        ("a", "loss", "first", 9.0),
        ("b", "env/reward", "max", 2.0),
        ("b", "env/reward", "mean", 2.0),
    ]


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        ("mean", 10.0),
        ("std", math.sqrt(38.5)),
        ("min", 0.0),
        ("p25", 5.0),
        ("median", 10.0),
        ("p75", 15.0),
        ("max", 20.0),
        ("first", 0.0),
        ("last", INF),
        ("count", 23.0),
        ("mean_last_10pct", 20.0),
    ],
)
def test_an_aggregate_goes_by_step_and_says_what_it_does_with_infinity(
    aggregate: str, expected: float
) -> None:
    values: dict[int, float | None] = {step: float(step) for step in range(21)}
    rows = points(
        *reversed(series("a", "m", values | {21: NAN, 22: INF, 23: None})),
    )
    table = aggregate_by_run(rows, {"m": [aggregate]})
    assert table["value"].to_list() == [pytest.approx(expected, rel=1e-15)]


def test_all_aggregates_were_tried() -> None:
    assert len(AGGREGATES) == 11


def test_aggregates_of_nothing_finite_are_null() -> None:
    table = aggregate_by_run(points(("a", "m", 0, INF)), {"m": list(AGGREGATES)})
    values = dict(table.select("aggregate", "value").iter_rows())
    assert (values.pop("first"), values.pop("last")) == (INF, INF)
    assert values.pop("count") == 1.0
    assert set(values.values()) == {None}


def test_one_value_has_no_standard_deviation() -> None:
    assert aggregate_by_run(points(("a", "m", 0, 1.0)), {"m": ["std"]}).rows() == [
        ("a", "m", "std", None)
    ]


def test_default_aggregates_are_for_every_metric() -> None:
    table = aggregate_by_run(REWARD)
    assert table.height == 3 * len(DEFAULT_AGGREGATES)


def test_asking_for_no_aggregates_is_not_a_crash() -> None:
    assert aggregate_by_run(REWARD, {}).is_empty()
    assert aggregate_by_run(REWARD, {"loss": []}).is_empty()
    assert aggregate_by_run(REWARD.clear()).is_empty()


def test_unknown_wishes_get_a_suggestion() -> None:
    with pytest.raises(UsageError, match="unknown metric 'losss'; did you mean 'loss'"):
        aggregate_by_run(REWARD, {"losss": ["mean"]})
    with pytest.raises(UsageError, match="unknown aggregate 'men'; did you mean"):
        aggregate_by_run(REWARD, {"loss": ["men"]})
    with pytest.raises(UsageError, match="unknown metric 'env_reward'"):
        pivot_by_step(REWARD, "env_reward")
    with pytest.raises(UsageError, match="unknown method 'spline'"):
        align_runs_by_step(REWARD, method=cast("Fill", "spline"))
    with pytest.raises(UsageError, match="unknown normalisation 'max'"):
        normalize_metrics(REWARD, cast("Scaling", "max"))


def test_runs_stand_side_by_side_by_step() -> None:
    assert pivot_by_step(REWARD, "env/reward").to_dict(as_series=False) == {
        "step": [0, 3, 4],
        "a": [1.0, None, 5.0],
        "b": [None, 2.0, None],
    }
    assert pivot_by_step(REWARD, "env/reward", fill=0.0)["b"].to_list() == [0, 2, 0]


def test_gaps_are_filled_by_the_distance_in_steps() -> None:
    filled = interpolate_missing(REWARD).filter(metric="env/reward")
    assert filled.select("run_path", "step", "value", "is_observed").rows() == [
        ("a", 0, 1.0, True),
        ("a", 1, 2.0, False),
        ("a", 2, 3.0, False),
        ("a", 4, 5.0, True),
        ("b", 3, 2.0, True),
    ]


def test_forward_also_goes_behind_the_last_point_but_never_before_the_first() -> None:
    rows = points(
        *series("a", "m", {2: 7.0}), *series("a", "clock", dict.fromkeys(range(5), 0.0))
    )
    filled = interpolate_missing(rows, "forward").filter(metric="m")
    assert filled["step"].to_list() == [2, 3, 4]
    assert filled["value"].to_list() == [7.0] * 3
    assert interpolate_missing(rows).filter(metric="m").height == 1


@pytest.mark.parametrize(
    ("method", "steps"), [("linear", [0, 1, 2, 5]), ("forward", [0, 1, 2, 5, 6, 7])]
)
def test_a_limit_counts_steps_from_the_start_of_each_gap(
    method: Fill, steps: list[int]
) -> None:
    rows = points(
        *series("a", "m", {0: 0.0, 5: 5.0}),
        *series("a", "clock", dict.fromkeys(range(9), 0.0)),
    )
    filled = interpolate_missing(rows, method, limit=2).filter(metric="m")
    assert filled["step"].to_list() == steps


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 1 step, got 0"):
        interpolate_missing(REWARD, limit=0)


def test_nothing_is_made_up_next_to_a_nan() -> None:
    rows = points(
        *series("a", "m", {0: 0.0, 2: NAN, 4: 4.0, 6: INF}),
        *series("a", "clock", dict.fromkeys(range(8), 0.0)),
    )
    linear = interpolate_missing(rows).filter(metric="m")
    assert linear["step"].to_list() == [0, 2, 4, 6]
    assert math.isnan(linear["value"][1])
    forward = interpolate_missing(rows, "forward").filter(metric="m")
    assert forward["step"].to_list() == [0, 1, 2, 4, 5, 6]


def test_one_run_is_never_filled_from_another() -> None:
    rows = points(
        *series("a", "m", {0: 1.0}),
        *series("b", "m", {5: 2.0}),
        *series("a", "clock", {0: 0.0, 1: 0.0}),
        *series("b", "clock", {4: 0.0, 5: 0.0}),
    )
    filled = interpolate_missing(rows, "forward").filter(metric="m")
    assert filled.select("run_path", "step").rows() == [("a", 0), ("a", 1), ("b", 5)]
    assert interpolate_missing(rows).filter(metric="m").height == 2


def test_runs_are_aligned_up_to_the_step_that_all_reached() -> None:
    aligned = align_runs_by_step(REWARD).filter(metric="env/reward")
    assert aligned.select("run_path", "step", "value").rows() == [
        ("a", 0, 1.0),
        ("a", 1, 2.0),
        ("a", 2, 3.0),
        ("a", 3, 4.0),
        ("b", 3, 2.0),
    ]


def test_alignment_follows_the_given_grid() -> None:
    aligned = align_runs_by_step(REWARD, [9, 2, 2, 0], "forward")
    assert aligned.filter(metric="env/reward").select(
        "run_path", "step", "value"
    ).rows() == [("a", 0, 1.0), ("a", 2, 1.0), ("a", 9, 5.0), ("b", 9, 2.0)]
    assert align_runs_by_step(REWARD, []).is_empty()


def test_alignment_skips_values_that_are_no_numbers() -> None:
    loss = align_runs_by_step(REWARD, [2]).filter(metric="loss")
    assert loss["value"].to_list() == [pytest.approx(8.0 - 2.0 / 3)]


def test_steps_of_a_billion_cost_no_more_than_their_points() -> None:
    rows = points(
        *series("a", "m", {0: 0.0, 2_000_000_000: 2.0}),
        *series("b", "m", {1_000_000_000: 1.0}),
    )
    assert align_runs_by_step(rows).rows() == [
        ("a", "m", 0, 0.0),
        ("a", "m", 1_000_000_000, 1.0),
        ("b", "m", 1_000_000_000, 1.0),
    ]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("minmax", [0.0, 0.5, 1.0]),
        ("zscore", [-1.0, 0.0, 1.0]),
        ("robust", [-1.0, 0.0, 1.0]),
    ],
)
def test_values_are_put_on_a_scale(method: Scaling, expected: list[float]) -> None:
    rows = points(*series("a", "m", {0: 10.0, 1: 20.0, 2: 30.0, 3: NAN, 4: INF}))
    scaled = normalize_metrics(rows, method)["normalized"].to_list()
    assert scaled[:3] == pytest.approx(expected)
    assert math.isnan(scaled[3])
    assert scaled[4] == INF


def test_runs_share_a_scale_or_have_their_own() -> None:
    rows = points(
        *series("a", "m", {0: 0.0, 1: 1.0}), *series("b", "m", {0: 0.0, 1: 4.0})
    )
    assert normalize_metrics(rows, "minmax")["normalized"].to_list() == [0, 0.25, 0, 1]
    own = normalize_metrics(rows, "minmax", per_run=True)
    assert own["normalized"].to_list() == [0, 1, 0, 1]
    assert own.drop("normalized").equals(rows)


@pytest.mark.parametrize("method", ["minmax", "zscore", "robust"])
def test_without_spread_there_is_no_scale(method: Scaling) -> None:
    rows = points(*series("a", "m", {0: 3.0, 1: 3.0}))
    scaled = normalize_metrics(rows, method)
    assert scaled["normalized"].to_list() == [None, None]


def test_bounds_may_run_downwards_and_be_left_behind() -> None:
    rows = points(*series("a", "m", {0: 100.0, 1: 0.0, 2: 150.0}))
    up = normalize_metrics(rows, "bounds", bounds={"m": (0.0, 100.0)})
    assert up["normalized"].to_list() == [1.0, 0.0, 1.5]
    down = normalize_metrics(rows, "bounds", bounds={"m": (100.0, 0.0)})
    assert down["normalized"].to_list() == [0.0, 1.0, -0.5]
    assert math.copysign(1, down["normalized"][0]) == 1


@pytest.mark.parametrize(
    ("method", "bounds", "complaint"),
    [
        ("bounds", None, "bounds belong to method 'bounds', got method 'bounds'"),
        ("zscore", {"m": (0.0, 1.0)}, "got method 'zscore'"),
        ("bounds", {"n": (0.0, 1.0)}, "no bounds for 'm'"),
        ("bounds", {"m": (1.0, 1.0)}, "two different finite numbers"),
        ("bounds", {"m": (0.0, INF)}, "two different finite numbers"),
    ],
)
def test_bounds_must_fit_the_question(
    method: Scaling, bounds: dict[str, tuple[float, float]] | None, complaint: str
) -> None:
    rows = points(("a", "m", 0, 1.0))
    with pytest.raises(UsageError, match=complaint):
        normalize_metrics(rows, method, bounds=bounds)


def test_statistics_say_how_much_is_missing() -> None:
    rows = summary_statistics(REWARD)
    columns = ["metric", "n_points", "n_nonfinite", "median", "n_missing"]
    assert rows.select(columns).rows() == [
        ("env/reward", 3, 0, 2.0, 3),
        ("loss", 5, 1, 7.0, 1),
    ]
    assert rows["missing_rate"].to_list() == [0.5, pytest.approx(1 / 6)]


def test_the_functions_need_no_group_and_no_rows() -> None:
    empty = REWARD.clear()
    assert complete_runs(empty).is_empty()
    assert interpolate_missing(empty).is_empty()
    assert align_runs_by_step(empty).is_empty()
    assert summary_statistics(empty).is_empty()
    assert normalize_metrics(empty, "minmax").columns[-1] == "normalized"


def test_arguments_are_left_alone() -> None:
    before = REWARD.clone()
    interpolate_missing(REWARD)
    align_runs_by_step(REWARD)
    normalize_metrics(REWARD, "robust")
    aggregate_by_run(REWARD)
    assert REWARD.equals(before)
