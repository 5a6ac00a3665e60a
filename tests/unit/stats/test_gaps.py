"""Optimality gaps: per task and over all, absolute and as a share of the optimum."""

import math
from typing import Any

import polars as pl
import pytest

from run_assets import stats
from run_assets.errors import UsageError
from run_assets.stats.gaps import SCHEMA


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


TWO = scores(
    ppo={"maze": [60, 80, 70, 90], "nav": [0.5, 1.0, 0.75, 0.25]},
    sac={"maze": [90, 110, 95, 100], "nav": [1.0, 0.5, 1.5, 1.0]},
)
OPTIMAL = {"maze": 100.0, "nav": 1.0}


def rows(frame: pl.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["group_name"], row["task"]): row for row in frame.to_dicts()}


def test_a_gap_per_task_and_their_mean() -> None:
    result = stats.optimality_gaps(TWO, optimal=OPTIMAL, resamples=500)
    assert result.schema == SCHEMA
    assert result.select("group_name", "task").rows() == [
        ("ppo", "*"),
        ("ppo", "maze"),
        ("ppo", "nav"),
        ("sac", "*"),
        ("sac", "maze"),
        ("sac", "nav"),
    ]
    found = rows(result)
    assert found["ppo", "maze"]["gap"] == 25.0
    assert found["ppo", "nav"]["gap"] == 0.375
    assert found["ppo", "*"]["gap"] == (25 + 0.375) / 2
    assert found["ppo", "*"]["n_tasks"] == 2
    assert found["ppo", "maze"]["optimum"] == 100.0


def test_a_rate_is_a_share_of_the_optimum_averaged_over_tasks() -> None:
    found = rows(stats.optimality_gaps(TWO, optimal=OPTIMAL, resamples=500))
    assert found["ppo", "maze"]["gap_rate"] == 0.25
    assert found["ppo", "*"]["gap_rate"] == pytest.approx((0.25 + 0.375) / 2)
    for row in found.values():
        assert row["ci_low"] <= row["gap"] <= row["ci_high"]
        assert row["rate_ci_low"] <= row["gap_rate"] <= row["rate_ci_high"]


def test_scores_above_the_optimum_count_as_the_optimum() -> None:
    found = rows(stats.optimality_gaps(TWO, optimal=OPTIMAL, resamples=100))
    assert found["sac", "maze"]["gap"] == (10 + 0 + 5 + 0) / 4


def test_the_mean_gap_is_the_statistic_of_interval_estimates() -> None:
    gaps = stats.optimality_gaps(TWO, optimal=OPTIMAL, resamples=300, seed=3)
    estimates = stats.interval_estimates(
        TWO,
        statistics=("optimality_gap",),
        method="corrected",
        optimal=OPTIMAL,
        resamples=300,
        seed=3,
    )
    over_all = gaps.filter(task="*").select("gap", "ci_low", "ci_high").rows()
    assert over_all == estimates.select("estimate", "ci_low", "ci_high").rows()


def test_without_tasks_there_is_one_row_a_group() -> None:
    one = TWO.filter(task="nav")
    result = stats.optimality_gaps(one, optimal={"*": 1.0}, task=None, resamples=100)
    assert result.select("group_name", "task", "gap").rows() == [
        ("ppo", "*", 0.375),
        ("sac", "*", 0.125),
    ]


def test_an_optimum_for_all_other_tasks_serves_scores_without_a_task() -> None:
    unnamed = TWO.with_columns(task=pl.col("task").replace("nav", None))
    result = stats.optimality_gaps(
        unnamed, optimal={"maze": 100.0, "*": 1.0}, resamples=100
    )
    assert rows(result)["ppo", "(no task)"]["gap"] == 0.375


def test_a_group_without_a_task_has_no_row_for_it() -> None:
    ragged = scores(a={"maze": [50, 60]}, b={"maze": [70, 80], "nav": [1.0, 0.5]})
    found = rows(stats.optimality_gaps(ragged, optimal=OPTIMAL, resamples=100))
    assert ("a", "nav") not in found
    assert "no score in 1 task ('nav')" in str(found["a", "*"]["notes"])


def test_an_optimum_that_is_not_above_0_has_a_gap_and_no_rate() -> None:
    result = stats.optimality_gaps(
        TWO, optimal={"maze": 0.0, "nav": 1.0}, resamples=100
    )
    found = rows(result)
    assert found["ppo", "maze"]["gap_rate"] is None
    assert found["ppo", "*"]["gap_rate"] is None
    assert found["ppo", "*"]["gap"] is not None
    assert "no gap_rate: an optimum is not above 0" in str(found["ppo", "*"]["notes"])


def test_missing_scores_are_counted_and_one_run_has_no_interval() -> None:
    data = scores(a={"maze": [50, math.nan]})
    found = rows(stats.optimality_gaps(data, optimal={"maze": 100}, resamples=100))
    assert (found["a", "maze"]["gap"], found["a", "maze"]["ci_low"]) == (50.0, None)
    assert "1 of 2 scores left out" in str(found["a", "maze"]["notes"])


def test_an_empty_frame_has_no_gaps() -> None:
    result = stats.optimality_gaps(TWO.clear(), optimal={})
    assert result.schema == SCHEMA
    assert result.is_empty()


def test_a_task_without_an_optimum_has_no_gap_and_so_there_is_none_over_all() -> None:
    ragged = pl.concat([TWO, scores(rnd={"maze": [10, 20]})])
    result = stats.optimality_gaps(ragged, optimal={"maze": 100, "nv": 1}, resamples=99)
    found = rows(result)
    assert found["ppo", "maze"]["gap"] == 25.0
    assert found["rnd", "*"]["gap_rate"] == pytest.approx(0.85)
    for task in ("nav", "*"):
        row = found["ppo", task]
        assert (row["gap"], row["gap_rate"]) == (None, None)
        assert "no optimal score for task 'nav'; did you mean 'nv'" in row["notes"]


@pytest.mark.parametrize(
    ("optimal", "message"),
    [
        ({"maze": math.nan, "nav": 1.0}, "must be finite, got nan for 'maze'"),
        ({"maze": math.inf, "nav": 1.0}, "must be finite, got inf for 'maze'"),
    ],
)
def test_optima_without_meaning_are_refused(
    optimal: dict[str, float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        stats.optimality_gaps(TWO, optimal=optimal)


def test_a_task_with_the_name_of_all_is_refused() -> None:
    starred = TWO.with_columns(task=pl.lit("*"))
    with pytest.raises(UsageError, match=r"cannot be called '\*'"):
        stats.optimality_gaps(starred, optimal={"*": 1.0})
