"""What is drawn with replacement: runs, tasks too, or clusters of correlated rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from run_assets.errors import UsageError
from run_assets.stats.aggregate import Estimator
from run_assets.stats.bootstrap import (
    Bootstrap,
    missing_variance,
    no_interval_reason,
    single_run_notes,
    stratified_acceleration,
)
from run_assets.stats.replicates import replicates
from run_assets.stats.resampling import (
    GOLDEN,
    HALF,
    LOW_HALF,
    batches,
    counts_of,
    drawn_positions,
    mixed,
    plan_draws,
    stream_key,
)
from run_assets.stats.samples import GroupScores, Strata

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
UInt64Array = NDArray[np.uint64]

# Scores held at once when one cluster after the other is left out.
_BATCH_SCORES = 1 << 17


LEVELS = ("runs", "tasks", "clusters")

FEW = 10
"""Below so many tasks or clusters, intervals cover less than they promise."""


class Level(Protocol):
    """One way to resample the scores of a group."""

    def no_interval_reason(self) -> str | None:
        """Why resampling cannot say anything, or None when it can."""

    def notes(self) -> list[str]:
        """What a reader must know about the interval."""

    def replicates(
        self, estimators: Mapping[str, Estimator], bootstrap: Bootstrap
    ) -> dict[str, Float64Array]:
        """Every statistic of every resample, shape ``(resamples,)``."""

    def missing_variance(self, *, pooled: bool) -> float:
        """True over bootstrap variance; ``pooled`` when tasks count by their runs."""

    def acceleration(self, estimator: Estimator) -> float:
        """For ``bca``, see `stratified_acceleration`."""


def level_of(name: str, group: GroupScores, layout: Strata) -> Level:
    """The level with this name for one group."""
    if name == "clusters":
        return ClusterLevel(clusters_of(group, layout))
    return TaskLevel(layout) if name == "tasks" else RunLevel(layout)


@dataclass(frozen=True)
class RunLevel:
    """Runs are drawn within their tasks."""

    layout: Strata

    def no_interval_reason(self) -> str | None:
        """As in `Level`."""
        return no_interval_reason(self.layout)

    def notes(self) -> list[str]:
        """As in `Level`."""
        return single_run_notes(self.layout)

    def replicates(
        self, estimators: Mapping[str, Estimator], bootstrap: Bootstrap
    ) -> dict[str, Float64Array]:
        """As in `Level`."""
        return replicates(
            self.layout,
            estimators,
            seed=bootstrap.seed,
            resamples=bootstrap.resamples,
        )

    def missing_variance(self, *, pooled: bool) -> float:
        """As in `Level`."""
        return missing_variance(self.layout.sizes, pooled=pooled)

    def acceleration(self, estimator: Estimator) -> float:
        """As in `Level`."""
        return stratified_acceleration(estimator.without_each(), self.layout.sizes)


@dataclass(frozen=True)
class TaskLevel:
    """Tasks are drawn, then runs within the drawn tasks."""

    layout: Strata

    def no_interval_reason(self) -> str | None:
        """As in `Level`."""
        if self.layout.sizes.size == 1:
            return "no interval: one task, so tasks cannot be resampled"
        return None

    def notes(self) -> list[str]:
        """As in `Level`."""
        n_tasks = self.layout.sizes.size
        return [f"few tasks ({n_tasks}) to resample"] if n_tasks < FEW else []

    def replicates(
        self, estimators: Mapping[str, Estimator], bootstrap: Bootstrap
    ) -> dict[str, Float64Array]:
        """As in `Level`."""
        return task_replicates(
            self.layout,
            estimators,
            seed=bootstrap.seed,
            resamples=bootstrap.resamples,
        )

    def missing_variance(self, *, pooled: bool) -> float:
        """As in `Level`; what differs between the tasks is most of the variance."""
        del pooled
        n_tasks = self.layout.sizes.size
        return n_tasks / (n_tasks - 1)

    def acceleration(self, estimator: Estimator) -> float:
        """None: there is no single sample to leave items out of.

        Raises:
            UsageError: Always.
        """
        del estimator
        msg = "bca resamples runs or clusters, got tasks; use corrected or percentile"
        raise UsageError(msg)


@dataclass(frozen=True)
class ClusterLevel:
    """Clusters are drawn within the tasks that they connect."""

    clusters: "Clusters"

    def no_interval_reason(self) -> str | None:
        """As in `Level`."""
        if int(self.clusters.sizes.max()) == 1:
            return "no interval: no two clusters to choose from"
        return None

    def notes(self) -> list[str]:
        """As in `Level`."""
        n_clusters = int(self.clusters.sizes.sum())
        if n_clusters < FEW:
            return [f"few clusters ({n_clusters}) to resample"]
        return []

    def replicates(
        self, estimators: Mapping[str, Estimator], bootstrap: Bootstrap
    ) -> dict[str, Float64Array]:
        """As in `Level`."""
        return cluster_replicates(
            self.clusters,
            estimators,
            seed=bootstrap.seed,
            resamples=bootstrap.resamples,
        )

    def missing_variance(self, *, pooled: bool) -> float:
        """As in `Level`."""
        del pooled
        return missing_variance(self.clusters.sizes, pooled=True)

    def acceleration(self, estimator: Estimator) -> float:
        """As in `Level`."""
        left_out = without_each_cluster(self.clusters, estimator)
        return stratified_acceleration(left_out, self.clusters.sizes)


@dataclass(frozen=True)
class Clusters:
    """Scores that are drawn together.

    Clusters with scores in several tasks connect these tasks. Clusters are drawn within
    each set of connected tasks: within the task if no cluster is in two, from all
    clusters if every cluster is in every task.

    Attributes:
        names: Of the strata: the first of the connected tasks.
        sizes: Shape ``(strata,)``: clusters per stratum.
        member: Shape ``(scores,)``: position of the score's cluster.
    """

    names: tuple[str | None, ...]
    sizes: Int64Array
    member: Int64Array


def clusters_of(group: GroupScores, layout: Strata) -> Clusters:
    """The clusters of a group, ordered by what is in them, never by their names."""
    task = np.repeat(np.arange(layout.sizes.size), layout.sizes)
    rows = pl.DataFrame(
        {"label": group.runs["pair"], "task": task, "score": layout.values}
    ).with_row_index("position")
    content = rows.group_by("label", maintain_order=True).agg(
        "position", "task", "score"
    )
    stratum = _connected(content["task"].to_list(), layout.sizes.size)
    keys = [
        (stratum[tasks[0]], tuple(tasks), tuple(scores))
        for tasks, scores in content.select("task", "score").iter_rows()
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    member = np.empty(layout.values.size, dtype=np.int64)
    positions = content["position"].to_list()
    for place, index in enumerate(order):
        member[positions[index]] = place
    firsts, sizes = np.unique([key[0] for key in keys], return_counts=True)
    return Clusters(tuple(layout.tasks[t] for t in firsts), sizes, member)


def cluster_replicates(
    clusters: Clusters,
    estimators: Mapping[str, Estimator],
    *,
    seed: int,
    resamples: int,
) -> dict[str, Float64Array]:
    """Every statistic of every resample of whole clusters.

    As many clusters are drawn as there are; a task that is in none of them has no part
    in the statistics of the resample.
    """
    draws = plan_draws(clusters.names, clusters.sizes, seed=seed, side="clusters")
    counts = (
        np.take(drawn, clusters.member, axis=1)
        for drawn in counts_of(draws, int(clusters.sizes.sum()), resamples)
    )
    parts = [
        {name: estimator.of_any_counts(some) for name, estimator in estimators.items()}
        for some in _small(counts)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in estimators}


def without_each_cluster(clusters: Clusters, estimator: Estimator) -> Float64Array:
    """Shape ``(clusters,)``: the statistic without one cluster, for each."""
    n_clusters = int(clusters.sizes.sum())
    step = max(1, _BATCH_SCORES // clusters.member.size)
    parts = []
    for first in range(0, n_clusters, step):
        left_out = np.arange(first, min(first + step, n_clusters))
        counts = (clusters.member != left_out[:, None]).astype(np.int64)
        parts.append(estimator.of_any_counts(counts))
    return np.concatenate(parts)


def task_replicates(
    layout: Strata,
    estimators: Mapping[str, Estimator],
    *,
    seed: int,
    resamples: int,
) -> dict[str, Float64Array]:
    """Every statistic of every resample of the tasks, then of the runs within them.

    As many tasks are drawn as there are. Each drawn task draws its own runs, also when
    it was drawn before.
    """
    parts = [
        {
            name: estimator.of_slots(positions, layout.sizes[tasks])
            for name, estimator in estimators.items()
        }
        for tasks, positions in _drawn_tasks(layout, seed, resamples)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in estimators}


def _connected(tasks_of_clusters: list[list[int]], n_tasks: int) -> list[int]:
    """For each task the first of the tasks that clusters connect it with."""
    parent = list(range(n_tasks))

    def root(task: int) -> int:
        while parent[task] != task:
            parent[task] = parent[parent[task]]
            task = parent[task]
        return task

    for tasks in tasks_of_clusters:
        first = root(tasks[0])
        for task in tasks[1:]:
            other = root(task)
            first, last = min(first, other), max(first, other)
            parent[last] = first
    return [root(task) for task in range(n_tasks)]


def _small(batches_of_counts: Iterator[Int64Array]) -> Iterator[Int64Array]:
    for counts in batches_of_counts:
        step = max(1, _BATCH_SCORES // counts.shape[1])
        for first in range(0, len(counts), step):
            yield counts[first : first + step]


def _drawn_tasks(
    layout: Strata, seed: int, resamples: int
) -> Iterator[tuple[Int64Array, Int64Array]]:
    """Batches of drawn tasks, and of the positions of the scores drawn in each."""
    n_tasks, most = layout.sizes.size, int(layout.sizes.max())
    n_words = (most + 1) // 2
    choice = plan_draws([None], np.array([n_tasks]), seed=seed, side="tasks")
    keys = [stream_key(seed, "runs of task", str(slot)) for slot in range(n_tasks)]
    index = np.arange(n_words, dtype=np.uint64) * GOLDEN
    bases = np.array(keys, dtype=np.uint64)[:, None] + index
    absent = np.arange(2 * n_words) >= layout.sizes[:, None]
    for rows in batches(resamples, n_tasks * n_words):
        tasks = drawn_positions(choice, rows)
        tasks = np.delete(tasks, np.arange(n_tasks, tasks.shape[1]), axis=1)
        words = mixed(bases + (rows << HALF)[:, None, None] * GOLDEN)
        drawn = np.concatenate([words & LOW_HALF, words >> HALF], axis=2)
        drawn *= layout.sizes[tasks].astype(np.uint64)[:, :, None]
        positions = (drawn >> HALF).view(np.int64) + layout.starts[tasks][:, :, None]
        positions[absent[tasks]] = layout.values.size
        yield tasks, positions
