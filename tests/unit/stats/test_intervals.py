"""Interval estimates: columns, policy, and intervals that can be worked by hand."""

import math
from functools import partial
from itertools import product

import numpy as np
import polars as pl
import pytest

from run_assets import stats
from run_assets.errors import UsageError
from run_assets.stats.bootstrap import METHODS, percentile_ends
from run_assets.stats.intervals import SCHEMA


def scores(**groups: dict[str, list[float]]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (group, task, f"{group}/{task}/{index}", float(value))
            for group, tasks in groups.items()
            for task, values in tasks.items()
            for index, value in enumerate(values)
        ],
        schema=["group_name", "task", "run_path", "score"],
        orient="row",
    )


PPO_SAC = scores(
    ppo={"maze": [1, 2, 3, 4, 5], "nav": [2, 4, 6, 8, 9]},
    sac={"maze": [2, 3, 4, 5, 7], "nav": [1, 5, 6, 7, 8]},
)


def test_one_row_per_group_and_statistic_in_the_order_asked() -> None:
    result = stats.interval_estimates(
        PPO_SAC, statistics=("median", "iqm"), resamples=200, seed=3
    )
    assert result.schema == SCHEMA
    assert result.select("group_name", "statistic").rows() == [
        ("ppo", "median"),
        ("ppo", "iqm"),
        ("sac", "median"),
        ("sac", "iqm"),
    ]
    assert result.select(
        "confidence", "method", "n_runs", "n_tasks", "resamples", "seed", "notes"
    ).row(0) == (0.95, "corrected", 10, 2, 200, 3, "")
    assert result["min_runs_per_task"].to_list() == [5] * 4
    assert result["max_runs_per_task"].to_list() == [5] * 4


@pytest.mark.parametrize("method", METHODS)
def test_an_interval_holds_its_estimate_and_narrows_with_less_confidence(
    method: str,
) -> None:
    estimates = partial(
        stats.interval_estimates,
        PPO_SAC,
        statistics=("iqm", "mean", "median", "optimality_gap"),
        resamples=5_000,
        optimal=10.0,
        method=method,
    )
    wide, narrow = estimates(), estimates(confidence=0.5)
    assert wide.select(
        (pl.col("estimate").is_between("ci_low", "ci_high")).all()
    ).item()
    assert (wide["ci_low"] < narrow["ci_low"]).all()
    assert (wide["ci_high"] > narrow["ci_high"]).all()


def test_percentile_ends_of_the_mean_of_three_are_those_of_all_27_resamples() -> None:
    values = [0.0, 1.0, 5.0]
    every = np.array([np.mean(draw) for draw in product(values, repeat=3)])
    expected = np.quantile(every, [0.1, 0.9])
    result = stats.interval_estimates(
        scores(a={"maze": values}),
        statistics=("mean",),
        method="percentile",
        confidence=0.8,
    )
    assert result.select("ci_low", "ci_high").row(0) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("n", [3, 5, 20])
def test_corrected_reaches_to_the_widened_normal_quantile(n: int) -> None:
    data = scores(a={"maze": [math.sqrt(i) for i in range(n)]})
    z = 1.959963984540054 * math.sqrt(n / (n - 1))
    wider = 1 - math.erfc(z / math.sqrt(2))
    corrected = stats.interval_estimates(data, method="corrected", resamples=2_000)
    percentile = stats.interval_estimates(
        data, method="percentile", confidence=wider, resamples=2_000
    )
    ends = ["ci_low", "ci_high"]
    np.testing.assert_allclose(corrected[ends].to_numpy(), percentile[ends].to_numpy())
    assert set(corrected["confidence"]) == {0.95}


def test_corrected_weighs_ragged_tasks_as_the_statistic_does() -> None:
    data = scores(a={"maze": [1, 2], "nav": [1, 2, 3, 4, 5, 6, 7, 9]})
    # Pooled: 10 / (10 - 2). Equal say: (1/2 + 1/8) / (1/4 + 7/64) = 40/23.
    for statistic, factor in (("iqm", 10 / 8), ("mean", 40 / 23)):
        z = 1.959963984540054 * math.sqrt(factor)
        wider = 1 - math.erfc(z / math.sqrt(2))
        estimates = partial(
            stats.interval_estimates, data, statistics=(statistic,), resamples=2_000
        )
        corrected = estimates(method="corrected")
        percentile = estimates(method="percentile", confidence=wider)
        assert corrected["ci_low"].item() == pytest.approx(percentile["ci_low"].item())


def test_one_run_has_an_estimate_but_no_interval() -> None:
    row = stats.interval_estimates(scores(a={"maze": [3.0]})).row(0, named=True)
    assert (row["estimate"], row["ci_low"], row["ci_high"]) == (3.0, None, None)
    assert "no interval: one run" in row["notes"]


def test_one_run_in_every_task_has_no_interval() -> None:
    row = stats.interval_estimates(scores(a={"maze": [3], "nav": [5]})).row(
        0, named=True
    )
    assert (row["estimate"], row["ci_low"]) == (4.0, None)
    assert "no interval: one run per task" in row["notes"]


def test_one_run_in_some_tasks_is_noted() -> None:
    data = scores(a={"maze": [3], "nav": [5, 6, 7, 8, 9]})
    row = stats.interval_estimates(data, resamples=100).row(0, named=True)
    assert row["ci_low"] is not None
    assert "1 of 2 tasks have one run: their noise is unseen" in row["notes"]


@pytest.mark.parametrize("resamples", [500, 50_000])
@pytest.mark.parametrize("method", METHODS)
def test_equal_scores_have_an_interval_without_width(
    method: str, resamples: int
) -> None:
    data = scores(a={"maze": [0.1] * 5, "nav": [0.1] * 7})
    result = stats.interval_estimates(
        data,
        statistics=("iqm", "mean", "median"),
        method=method,
        resamples=resamples,
    )
    for row in result.iter_rows(named=True):
        assert (row["ci_low"], row["estimate"], row["ci_high"]) == (0.1, 0.1, 0.1)
        assert "all scores are equal" in row["notes"]


def test_a_group_without_scores_is_a_row_with_nulls_and_a_reason() -> None:
    data = scores(a={"maze": [math.nan, math.inf]}, b={"maze": [1, 2]})
    row = stats.interval_estimates(data, resamples=100).row(0, named=True)
    assert (row["group_name"], row["estimate"], row["n_runs"]) == ("a", None, 0)
    assert row["notes"] == (
        "2 of 2 scores left out (1 missing, 1 infinite); no estimate: no usable score"
    )


def test_left_out_scores_and_missing_tasks_are_in_the_notes() -> None:
    data = scores(a={"maze": [1, 2, 3, math.nan]}, b={"nav": [1, 2, 3]})
    notes = stats.interval_estimates(data, resamples=400)["notes"][0]
    assert "1 of 4 scores left out (1 missing)" in notes
    assert "no score in 1 task ('nav') that other groups have" in notes
    assert "few runs (as few as 3 in a task)" in notes


def test_too_few_resamples_for_the_tails_are_noted() -> None:
    notes = stats.interval_estimates(PPO_SAC, resamples=100)["notes"]
    assert set(notes) == {"only 100 resamples"}


def test_optimality_gap_takes_one_optimum_or_one_per_task() -> None:
    data = scores(a={"maze": [50, 100], "nav": [0.5, 0.5]})
    gaps = partial(
        stats.interval_estimates, data, statistics=("optimality_gap",), resamples=200
    )
    per_task = gaps(optimal={"maze": 100, "nav": 1})
    assert per_task["estimate"].item() == 12.75
    for_all = gaps(optimal=100)
    assert for_all["estimate"].item() == pytest.approx(62.25)


def test_a_task_without_an_optimum_leaves_the_gap_null_and_says_so() -> None:
    result = stats.interval_estimates(
        PPO_SAC,
        statistics=("optimality_gap", "mean"),
        optimal={"mazes": 9, "nav": 9},
        resamples=1_000,
    )
    gap, mean = result.row(0, named=True), result.row(1, named=True)
    assert gap["estimate"] is None
    assert gap["notes"] == (
        "no estimate: no optimal score for task 'maze'; did you mean 'mazes'?"
    )
    assert mean["estimate"] == pytest.approx(4.4)


def test_statistics_share_their_draws() -> None:
    together = stats.interval_estimates(PPO_SAC, resamples=300)
    alone = stats.interval_estimates(PPO_SAC, statistics=("median",), resamples=300)
    assert together.filter(statistic="median").equals(alone)


def test_a_statistic_asked_for_twice_is_given_once() -> None:
    result = stats.interval_estimates(
        PPO_SAC, statistics=("mean", "mean"), resamples=200
    )
    assert result["statistic"].to_list() == ["mean", "mean"]  # one per group


def test_an_empty_frame_gives_an_empty_result_with_the_columns() -> None:
    result = stats.interval_estimates(PPO_SAC.clear())
    assert result.schema == SCHEMA
    assert result.is_empty()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"statistics": ("iqn",)}, "unknown statistic 'iqn'; did you mean 'iqm'"),
        (
            {"method": "bcaa"},
            "unknown method 'bcaa'; did you mean 'bca'",
        ),
        ({"confidence": 95.0}, "confidence must be between 0 and 1, got 95.0"),
        ({"resamples": 0}, "resamples must be at least 1, got 0"),
        ({"seed": -1}, "seed must be from 0 to 2\\*\\*63 - 1, got -1"),
        ({"optimal": {"maze": math.nan}}, "optimal scores must be finite"),
        ({"task": "tsk"}, "no column 'tsk'; did you mean 'task'"),
    ],
)
def test_options_without_meaning_are_refused(
    options: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        stats.interval_estimates(PPO_SAC, **options)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("shape", [(1,), (2,), (7,), (1_000,), (999, 3)])
@pytest.mark.parametrize("tail", [0.025, 0.1, 0.4999])
def test_percentile_ends_are_the_quantiles_of_numpy(
    shape: tuple[int, ...], tail: float
) -> None:
    replicates = np.random.default_rng(3).normal(size=shape)
    expected = np.quantile(replicates, (tail, 1 - tail), axis=0)
    assert np.allclose(percentile_ends(replicates, tail), expected, rtol=0, atol=1e-15)


def test_percentile_ends_keep_the_other_axes() -> None:
    replicates = np.arange(22.0).reshape(11, 2)
    assert percentile_ends(replicates, 0.1).tolist() == [[2.0, 3.0], [18.0, 19.0]]
