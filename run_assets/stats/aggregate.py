"""Aggregate statistics over runs and tasks, written as functions of counts.

A statistic sees how often each score was drawn, shape ``(resamples, scores)`` in the
order of ``Strata.values``. Counts of one everywhere give the point estimate, counts of
a resample its bootstrap replicate: one definition serves both.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from run_assets.stats.samples import Strata

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
Estimator = Callable[[Int64Array], Float64Array]
"""From counts ``(resamples, scores)`` to estimates ``(resamples,)``."""


def point_estimate(estimator: Estimator, layout: Strata) -> float:
    """The statistic of the scores themselves, each counted once."""
    return float(estimator(np.ones((1, layout.values.size), dtype=np.int64))[0])


def interquartile_mean(layout: Strata) -> Estimator:
    """Mean of the middle half of the scores, pooled over runs and tasks.

    Drops ``floor(n / 4)`` of the n pooled scores at each end: less noisy than a median,
    not moved by one lucky run. With unequal runs per task, a task counts by its runs.

    Source: Agarwal et al. 2021, section 4.3; equals
    ``scipy.stats.trim_mean(scores, 0.25)``.

    >>> two_tasks = Strata(("a", "b"), np.array([2, 2]), np.array([0.0, 2.0, 1.0, 9.0]))
    >>> point_estimate(interquartile_mean(two_tasks), two_tasks)
    1.5
    """
    order = np.argsort(layout.values, kind="stable")
    ascending = layout.values[order]
    n = ascending.size
    low, high = n // 4, n - n // 4
    # Sums run over distances from the middle score: equal scores stay exactly equal,
    # and a large common offset costs no digits.
    center = float(ascending[n // 2])
    distances = ascending - center

    def estimate(counts: Int64Array) -> Float64Array:
        seen = np.cumsum(np.take(counts, order, axis=1), axis=1)
        np.clip(seen, low, high, out=seen)
        kept = np.empty(seen.shape)
        kept[:, 0] = seen[:, 0] - low
        np.subtract(seen[:, 1:], seen[:, :-1], out=kept[:, 1:])
        return center + _weighted_sums(kept, distances) / (high - low)

    return estimate


def mean_over_tasks(layout: Strata) -> Estimator:
    """Mean over tasks of each task's mean over runs.

    Equals the mean of all scores when every task has the same number of runs;
    otherwise every task still counts the same.

    Source: rliable ``metrics.aggregate_mean`` for equal numbers of runs.

    >>> ragged = Strata(("a", "b"), np.array([1, 3]), np.array([1.0, 2.0, 3.0, 4.0]))
    >>> point_estimate(mean_over_tasks(ragged), ragged)
    2.0
    """
    return _mean_of_task_means(layout, layout.values)


def median_over_tasks(layout: Strata) -> Estimator:
    """Median over tasks of each task's mean over runs.

    With one task this is that task's mean.

    Source: rliable ``metrics.aggregate_median``.

    >>> tasks = Strata(("a", "b", "c"), np.array([1, 1, 2]), np.array([9.0, 2, 3, 5]))
    >>> point_estimate(median_over_tasks(tasks), tasks)
    4.0
    """
    centers = layout.values[layout.starts + layout.sizes // 2]
    distances = layout.values - np.repeat(centers, layout.sizes)

    def estimate(counts: Int64Array) -> Float64Array:
        sums = np.add.reduceat(counts * distances, layout.starts, axis=1)
        task_means: Float64Array = centers + sums / layout.sizes
        return np.asarray(np.median(task_means, axis=1), dtype=np.float64)

    return estimate


def optimality_gap(layout: Strata, optimal: Float64Array) -> Estimator:
    """Mean over tasks of how far runs stay below the optimum; 0 is the best.

    Scores above the optimum count as the optimum, so one easy task cannot pay for a
    hard one.

    Source: Agarwal et al. 2021, section 4.3; rliable
    ``metrics.aggregate_optimality_gap`` for equal numbers of runs.

    Args:
        layout: The scores.
        optimal: Shape ``(tasks,)``: the optimum of each task, in its unit.

    >>> one_task = Strata(("a",), np.array([2]), np.array([0.5, 1.5]))
    >>> point_estimate(optimality_gap(one_task, np.array([1.0])), one_task)
    0.25
    """
    per_score = np.repeat(optimal, layout.sizes)
    return _mean_of_task_means(layout, per_score - np.minimum(layout.values, per_score))


STATISTICS: Mapping[str, Callable[[Strata], Estimator]] = {
    "iqm": interquartile_mean,
    "mean": mean_over_tasks,
    "median": median_over_tasks,
}
"""The statistics that need nothing but the scores; ``optimality_gap`` needs optima."""

NAMES = (*STATISTICS, "optimality_gap")


def _mean_of_task_means(layout: Strata, values: Float64Array) -> Estimator:
    centers = values[layout.starts + layout.sizes // 2]
    distances = values - np.repeat(centers, layout.sizes)
    weights = distances / np.repeat(layout.sizes, layout.sizes) / len(layout.sizes)
    center = float(centers.mean())
    return lambda counts: center + _weighted_sums(counts, weights)


def _weighted_sums(
    counts: Int64Array | Float64Array, weights: Float64Array
) -> Float64Array:
    # Not a BLAS product: its order of summation, and so the last digit, depends on the
    # number of threads.
    return np.asarray(np.einsum("ij,j->i", counts, weights), dtype=np.float64)
