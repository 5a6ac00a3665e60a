"""Aggregate statistics on cases worked by hand."""

import numpy as np
import pytest

from run_assets.stats.aggregate import (
    interquartile_mean,
    mean_over_tasks,
    median_over_tasks,
    optimality_gap,
    point_estimate,
)
from run_assets.stats.samples import Strata


def layout(*tasks: list[float]) -> Strata:
    return Strata(
        tasks=tuple(f"task {index}" for index in range(len(tasks))),
        sizes=np.array([len(task) for task in tasks]),
        values=np.concatenate([np.sort(np.array(task, dtype=float)) for task in tasks]),
    )


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([7.0], 7.0),
        ([1.0, 3.0], 2.0),  # too few to drop any
        ([0.0, 1.0, 5.0], 2.0),
        ([0.0, 1.0, 2.0, 100.0], 1.5),
        ([0.0, 1.0, 4.0, 9.0, 16.0], 14 / 3),
        (list(map(float, range(10))), 4.5),  # an asymmetric cut would give 4.0
    ],
)
def test_iqm_drops_the_same_whole_number_at_each_end(
    scores: list[float], expected: float
) -> None:
    one = layout(scores)
    assert point_estimate(interquartile_mean(one), one) == pytest.approx(expected)


def test_iqm_pools_tasks_before_it_trims() -> None:
    two = layout([0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0])
    assert point_estimate(interquartile_mean(two), two) == 0.75


def test_one_diverged_run_does_not_move_the_iqm() -> None:
    sane, diverged = layout([1.0, 2.0, 3.0, 4.0]), layout([1.0, 2.0, 3.0, 1e300])
    assert point_estimate(interquartile_mean(sane), sane) == 2.5
    assert point_estimate(interquartile_mean(diverged), diverged) == 2.5


def test_a_statistic_of_counts_is_that_of_the_repeated_scores() -> None:
    drawn, repeated = layout([1.0, 2.0, 4.0, 8.0]), layout([2.0, 2.0, 2.0, 8.0])
    counts = np.array([[0, 3, 0, 1]])
    for statistic in (interquartile_mean, mean_over_tasks, median_over_tasks):
        expected = point_estimate(statistic(repeated), repeated)
        assert statistic(drawn)(counts).tolist() == [pytest.approx(expected)]


def test_mean_and_median_give_every_task_the_same_say() -> None:
    ragged = layout([0.0], [1.0, 1.0, 1.0, 1.0], [2.0, 6.0])
    assert point_estimate(mean_over_tasks(ragged), ragged) == pytest.approx(5 / 3)
    assert point_estimate(median_over_tasks(ragged), ragged) == 1.0


def test_median_of_an_even_number_of_tasks_is_the_middle_of_two() -> None:
    even = layout([1.0], [2.0], [4.0], [9.0])
    assert point_estimate(median_over_tasks(even), even) == 3.0


def test_optimality_gap_does_not_reward_scores_above_the_optimum() -> None:
    two = layout([50.0, 150.0], [0.0, 1.0])
    gap = optimality_gap(two, np.array([100.0, 1.0]))
    assert point_estimate(gap, two) == 12.75  # mean of 25 and 0.5


def test_equal_scores_stay_exactly_equal_however_they_are_drawn() -> None:
    equal = layout([0.1] * 7, [0.1] * 3)
    counts = np.array([[7, 0, 0, 0, 0, 0, 0, 1, 2, 0]])
    for statistic in (interquartile_mean, mean_over_tasks, median_over_tasks):
        assert statistic(equal)(counts).tolist() == [0.1]
