"""How many more runs: the rule, its uncertainty, and what cannot be said."""

import numpy as np
import polars as pl
import pytest

from run_assets import stats
from run_assets.errors import UsageError
from run_assets.stats.planning import SCHEMA


def scores(n: int, n_tasks: int = 1, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng((seed, n, n_tasks))
    return pl.DataFrame(
        {
            "group_name": "a",
            "task": [f"t{task}" for task in range(n_tasks) for _ in range(n)],
            "run_path": [f"r{index}" for index in range(n * n_tasks)],
            "score": rng.normal(size=n * n_tasks),
        }
    )


def plan(frame: pl.DataFrame, halfwidth: float, **options: str) -> dict[str, object]:
    result = stats.required_runs(frame, halfwidth=halfwidth, **options)  # type: ignore[arg-type]  # names of options
    assert result.schema == SCHEMA
    return result.row(0, named=True)


def test_half_the_width_needs_four_times_the_runs() -> None:
    now = plan(scores(8), 1.0, statistic="mean")["current_halfwidth"]
    assert isinstance(now, float)
    row = plan(scores(8), now / 2, statistic="mean")
    assert row["required_runs_per_task"] == 32
    assert row["more_runs"] == 24
    assert isinstance(row["required_low"], int)
    assert row["required_low"] < 32 < row["required_high"]  # type: ignore[operator]  # a number


def test_a_wide_target_needs_no_more_runs_and_at_least_two() -> None:
    row = plan(scores(8), 1e6)
    assert (row["required_runs_per_task"], row["more_runs"]) == (2, 0)


def test_what_a_task_lacks_is_counted_task_by_task() -> None:
    ragged = pl.concat([scores(8, 2).filter(task="t0"), scores(4, 2).filter(task="t1")])
    now = plan(ragged, 1.0, statistic="mean")["current_halfwidth"]
    assert isinstance(now, float)
    row = plan(ragged, now, statistic="mean")
    # 8 and 4 runs are as good as twice 2 / (1/8 + 1/4) = 5.33.
    assert row["required_runs_per_task"] == 6
    assert row["more_runs"] == 2
    assert row["current_runs_per_task"] == 4


def test_the_planned_runs_give_the_planned_width() -> None:
    # 60 pilots of 6 runs: the median of the required number gives the width in truth.
    required = [
        plan(scores(6, 3, seed), 0.2, statistic="mean")["required_runs_per_task"]
        for seed in range(60)
    ]
    typical = int(np.median(np.array(required, dtype=float)))
    exact = (1.96 / 0.2) ** 2 / 3  # unit variance, three tasks averaged
    assert typical == pytest.approx(exact, rel=0.25)


def test_the_range_holds_the_truth_about_as_often_as_it_says() -> None:
    exact = (1.96 / 0.2) ** 2 / 3
    hits = 0
    for seed in range(60):
        row = plan(scores(6, 3, seed), 0.2, statistic="mean")
        hits += float(str(row["required_low"])) <= exact + 1
        hits -= float(str(row["required_high"])) < exact - 1
    assert hits >= 53


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (scores(1), "no interval: one run"),
        (scores(4).with_columns(score=pl.lit(1.0)), "no plan: the scores do not"),
        (scores(4).with_columns(score=pl.lit(None, pl.Float64)), "no usable score"),
    ],
)
def test_what_cannot_be_planned_says_why(frame: pl.DataFrame, reason: str) -> None:
    row = plan(frame, 0.1)
    assert row["required_runs_per_task"] is None
    assert reason in str(row["notes"])


def test_an_empty_frame_needs_nothing() -> None:
    assert stats.required_runs(scores(2).clear(), halfwidth=1.0).schema == SCHEMA


@pytest.mark.parametrize("halfwidth", [0.0, -1.0, float("nan")])
def test_a_halfwidth_must_be_above_0(halfwidth: float) -> None:
    with pytest.raises(UsageError, match="halfwidth must be above 0"):
        stats.required_runs(scores(4), halfwidth=halfwidth)
