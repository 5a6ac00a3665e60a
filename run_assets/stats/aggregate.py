"""Aggregate statistics over runs and tasks, written as functions of counts.

A statistic sees how often each score was drawn, shape ``(resamples, scores)`` in the
order of ``Strata.values``. Counts of one everywhere give the point estimate, counts of
a resample its bootstrap replicate: one definition serves both.

Sums run over distances from a score in the middle: equal scores stay exactly equal, and
a large common offset costs no digits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from run_assets.stats.samples import Strata

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]


class Estimator(Protocol):
    """A statistic of drawn scores."""

    def __call__(self, counts: Int64Array) -> Float64Array:
        """Of resamples in which every task was drawn as often as it has runs.

        Args:
            counts: Shape ``(resamples, scores)``.

        Returns:
            Shape ``(resamples,)``.
        """

    def of_any_counts(self, counts: Int64Array) -> Float64Array:
        """As ``__call__``, of resamples with any number of draws.

        A task that was not drawn has no part in the statistic.
        """

    def of_slots(self, positions: Int64Array, sizes: Int64Array) -> Float64Array:
        """Of resamples of drawn tasks, which may be drawn more than once.

        Args:
            positions: Shape ``(resamples, drawn tasks, most runs)``: the drawn
                scores; the number of scores stands where a task has fewer runs.
            sizes: Shape ``(resamples, drawn tasks)``: runs of the drawn tasks.

        Returns:
            Shape ``(resamples,)``.
        """

    def without_each(self) -> Float64Array:
        """Of the scores without one of them, for each; NaN where it is a task's only.

        Returns:
            Shape ``(scores,)``.
        """


def point_estimate(estimator: Estimator, layout: Strata) -> float:
    """The statistic of the scores themselves, each counted once."""
    return float(estimator(np.ones((1, layout.values.size), dtype=np.int64))[0])


@dataclass(frozen=True, eq=False)
class TrimmedMean:
    """Mean of the pooled draws without the lowest and the highest quarter.

    Attributes:
        order: Shape ``(scores,)``: positions of the scores in ascending order.
        center: A score in the middle.
        distances: Shape ``(scores,)``: of the scores from it, ascending.
    """

    order: Int64Array
    center: float
    distances: Float64Array

    @property
    def n_trimmed(self) -> int:
        """Draws that are dropped at each end."""
        return self.order.size // 4

    def __call__(self, counts: Int64Array) -> Float64Array:
        """As in `Estimator`."""
        low = self.n_trimmed
        return self._of_middle(counts, low, self.order.size - low)

    def of_any_counts(self, counts: Int64Array) -> Float64Array:
        """As in `Estimator`."""
        total = counts.sum(axis=1, keepdims=True)
        low = total // 4
        return self._of_middle(counts, low, total - low)

    def of_slots(self, positions: Int64Array, sizes: Int64Array) -> Float64Array:
        """As in `Estimator`."""
        del sizes
        width = self.order.size + 1
        rows = np.arange(len(positions))[:, None, None] * width
        counts = np.bincount((positions + rows).ravel(), minlength=rows.size * width)
        return self.of_any_counts(counts.reshape(-1, width)[:, :-1])

    def without_each(self) -> Float64Array:
        """As in `Estimator`."""
        n = self.order.size
        if n == 1:
            return np.array([np.nan])
        low, high = (n - 1) // 4, n - 1 - (n - 1) // 4
        sums = np.concatenate([[0.0], np.cumsum(self.distances)])
        rank = np.arange(n)
        # Scores behind the one that is left out move down by one.
        kept = sums[high + (rank < high)] - sums[low + (rank < low)]
        kept -= np.where((rank >= low) & (rank < high), self.distances, 0.0)
        estimates = np.empty(n)
        estimates[self.order] = self.center + kept / (high - low)
        return estimates

    def _of_middle(
        self, counts: Int64Array, low: int | Int64Array, high: int | Int64Array
    ) -> Float64Array:
        seen = np.cumsum(np.take(counts, self.order, axis=1), axis=1)
        np.clip(seen, low, high, out=seen)
        kept = np.empty(seen.shape)
        kept[:, :1] = seen[:, :1] - low
        np.subtract(seen[:, 1:], seen[:, :-1], out=kept[:, 1:])
        n_kept = np.ravel(high - low)
        return np.asarray(self.center + weighted_sums(kept, self.distances) / n_kept)


@dataclass(frozen=True, eq=False)
class TaskMeans:
    """The means of the tasks, before they become one number.

    Attributes:
        starts: Shape ``(tasks,)``: position of each task's first score.
        sizes: Shape ``(tasks,)``: runs per task.
        centers: Shape ``(tasks,)``: a score of each task.
        distances: Shape ``(scores,)``: of the scores from the center of their task.
    """

    starts: Int64Array
    sizes: Int64Array
    centers: Float64Array
    distances: Float64Array

    def fixed(self, counts: Int64Array) -> Float64Array:
        """Shape ``(resamples, tasks)``; every task is drawn as often as it has runs."""
        sums = np.add.reduceat(counts * self.distances, self.starts, axis=1)
        return np.asarray(self.centers + sums / self.sizes)

    def any_counts(self, counts: Int64Array) -> Float64Array:
        """Shape ``(resamples, tasks)``; NaN for a task that was not drawn."""
        drawn = np.add.reduceat(counts, self.starts, axis=1)
        sums = np.add.reduceat(counts * self.distances, self.starts, axis=1)
        means = np.full(sums.shape, np.nan)
        np.divide(sums, drawn, out=means, where=drawn > 0)
        return np.asarray(self.centers + means)

    def slots(self, positions: Int64Array, sizes: Int64Array) -> Float64Array:
        """Shape ``(resamples, drawn tasks)``."""
        center = float(self.centers.mean())
        from_center = np.repeat(self.centers - center, self.sizes) + self.distances
        drawn = np.append(from_center, 0.0)[positions]
        return np.asarray(center + drawn.sum(axis=2) / sizes)

    def without_each(self) -> Float64Array:
        """Shape ``(scores,)``: a task's mean without the score; NaN if it is alone."""
        sums = np.add.reduceat(self.distances, self.starts)
        size = np.repeat(self.sizes, self.sizes).astype(np.float64)
        rest = np.repeat(sums, self.sizes) - self.distances
        means = np.full(rest.size, np.nan)
        np.divide(rest, size - 1, out=means, where=size > 1)
        return np.asarray(np.repeat(self.centers, self.sizes) + means)


@dataclass(frozen=True, eq=False)
class MeanOfTasks:
    """Mean over tasks of the mean of the draws.

    Attributes:
        tasks: The means of the tasks.
        center: The mean of their centers.
        weights: Shape ``(scores,)``: what one draw adds to it.
    """

    tasks: TaskMeans
    center: float
    weights: Float64Array

    def __call__(self, counts: Int64Array) -> Float64Array:
        """As in `Estimator`."""
        return self.center + weighted_sums(counts, self.weights)

    def of_any_counts(self, counts: Int64Array) -> Float64Array:
        """As in `Estimator`."""
        means = self.tasks.any_counts(counts)
        is_drawn = ~np.isnan(means)
        from_center = np.where(is_drawn, means - self.center, 0.0).sum(axis=1)
        return np.asarray(self.center + from_center / is_drawn.sum(axis=1))

    def of_slots(self, positions: Int64Array, sizes: Int64Array) -> Float64Array:
        """As in `Estimator`."""
        return np.asarray(self.tasks.slots(positions, sizes).mean(axis=1))

    def without_each(self) -> Float64Array:
        """As in `Estimator`."""
        mine = np.repeat(self.tasks.fixed(_once(self.tasks))[0], self.tasks.sizes)
        change = (self.tasks.without_each() - mine) / self.tasks.sizes.size
        return np.asarray(self(_once(self.tasks)) + change)


@dataclass(frozen=True, eq=False)
class MedianOfTasks:
    """Median over tasks of the mean of the draws.

    Attributes:
        tasks: The means of the tasks.
    """

    tasks: TaskMeans

    def __call__(self, counts: Int64Array) -> Float64Array:
        """As in `Estimator`."""
        return np.asarray(np.median(self.tasks.fixed(counts), axis=1))

    def of_any_counts(self, counts: Int64Array) -> Float64Array:
        """As in `Estimator`."""
        means = self.tasks.any_counts(counts)
        if np.isnan(means).any():
            return np.asarray(np.nanmedian(means, axis=1))
        return np.asarray(np.median(means, axis=1))

    def of_slots(self, positions: Int64Array, sizes: Int64Array) -> Float64Array:
        """As in `Estimator`."""
        return np.asarray(np.median(self.tasks.slots(positions, sizes), axis=1))

    def without_each(self) -> Float64Array:
        """As in `Estimator`."""
        means = self.tasks.fixed(_once(self.tasks))[0]
        n = means.size
        order = np.argsort(means, kind="stable")
        rank = np.empty(n, dtype=np.int64)
        rank[order] = np.arange(n)
        padded = np.concatenate([[-np.inf], means[order], [np.inf]])
        mine = np.repeat(rank, self.tasks.sizes)
        changed = self.tasks.without_each()
        # The m-th smallest of the others, and the changed mean put among them.
        middle = [
            np.clip(
                changed,
                padded[m + (m > mine)],
                padded[m + 1 + (m + 1 > mine)],
            )
            for m in ((n - 1) // 2, n // 2)
        ]
        return np.asarray((middle[0] + middle[1]) / 2)


def interquartile_mean(layout: Strata) -> TrimmedMean:
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
    center = float(ascending[order.size // 2])
    return TrimmedMean(order, center, ascending - center)


def mean_over_tasks(layout: Strata) -> MeanOfTasks:
    """Mean over tasks of each task's mean over runs.

    Equals the mean of all scores when every task has the same number of runs;
    otherwise every task still counts the same.

    Source: rliable ``metrics.aggregate_mean`` for equal numbers of runs.

    >>> ragged = Strata(("a", "b"), np.array([1, 3]), np.array([1.0, 2.0, 3.0, 4.0]))
    >>> point_estimate(mean_over_tasks(ragged), ragged)
    2.0
    """
    return _mean_of_tasks(_task_means(layout, layout.values))


def median_over_tasks(layout: Strata) -> MedianOfTasks:
    """Median over tasks of each task's mean over runs.

    With one task this is that task's mean.

    Source: rliable ``metrics.aggregate_median``.

    >>> tasks = Strata(("a", "b", "c"), np.array([1, 1, 2]), np.array([9.0, 2, 3, 5]))
    >>> point_estimate(median_over_tasks(tasks), tasks)
    4.0
    """
    return MedianOfTasks(_task_means(layout, layout.values))


def optimality_gap(layout: Strata, optimal: Float64Array) -> MeanOfTasks:
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
    shortfalls = per_score - np.minimum(layout.values, per_score)
    return _mean_of_tasks(_task_means(layout, shortfalls))


STATISTICS: Mapping[str, Callable[[Strata], Estimator]] = {
    "iqm": interquartile_mean,
    "mean": mean_over_tasks,
    "median": median_over_tasks,
}
"""The statistics that need nothing but the scores; ``optimality_gap`` needs optima."""

NAMES = (*STATISTICS, "optimality_gap")


def weighted_sums(
    counts: Int64Array | Float64Array, weights: Float64Array
) -> Float64Array:
    """Shape ``(resamples,)``: sums over the scores."""
    # Not a BLAS product: its order of summation, and so the last digit, depends on the
    # number of threads.
    return np.asarray(np.einsum("ij,j->i", counts, weights), dtype=np.float64)


def _task_means(layout: Strata, values: Float64Array) -> TaskMeans:
    centers = values[layout.starts + layout.sizes // 2]
    distances = values - np.repeat(centers, layout.sizes)
    return TaskMeans(layout.starts, layout.sizes, centers, distances)


def _mean_of_tasks(tasks: TaskMeans) -> MeanOfTasks:
    share = np.repeat(1 / tasks.sizes / tasks.sizes.size, tasks.sizes)
    return MeanOfTasks(tasks, float(tasks.centers.mean()), tasks.distances * share)


def _once(tasks: TaskMeans) -> Int64Array:
    return np.ones((1, tasks.distances.size), dtype=np.int64)
