"""Bootstrap replicates of statistics: by the plain or the compiled loop, in threads.

Which loop runs is a matter of the size of the job only, never of what happens to be
imported, compiled or cached; both draw the same numbers and agree to about 1e-15.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from run_assets.stats.aggregate import (
    Estimator,
    MeanOfTasks,
    MedianOfTasks,
    TrimmedMean,
)
from run_assets.stats.resampling import Draws, counts_of, task_draws
from run_assets.stats.samples import Strata

if TYPE_CHECKING:
    from run_assets.stats import kernels

Float64Array = NDArray[np.float64]

# From this many draws (scores times resamples) on the compiled loop is used: the plain
# one takes a few milliseconds for fewer.
COMPILED_DRAWS = 400_000

# A thread is worth starting for this many draws: some milliseconds of work.
_THREAD_DRAWS = 10_000_000


def replicates(
    layout: Strata,
    estimators: Mapping[str, Estimator],
    *,
    seed: int,
    resamples: int,
    side: str = "",
) -> dict[str, Float64Array]:
    """Every statistic of every resample of the runs within their tasks.

    One pass over the draws serves all the statistics.

    Args:
        layout: The scores of one group.
        estimators: The statistics by name.
        seed: Any integer; the same seed gives the same bytes.
        resamples: Number of resamples.
        side: Groups with different sides have independent draws.

    Returns:
        Shape ``(resamples,)`` for each name.
    """
    if not estimators:
        return {}
    draws = task_draws(layout, seed=seed, side=side)
    if is_compiled(layout.values.size, resamples):
        return _compiled(layout, estimators, draws, resamples)
    results = {name: np.empty(resamples) for name in estimators}
    first = 0
    for counts in counts_of(draws, layout.values.size, resamples):
        for name, estimator in estimators.items():
            results[name][first : first + len(counts)] = estimator(counts)
        first += len(counts)
    return results


def is_compiled(n_scores: int, resamples: int) -> bool:
    """Whether a job of this size is for the compiled loop."""
    return n_scores * resamples >= COMPILED_DRAWS and _has_numba()


def in_threads(fill: Callable[[int, int], None], n_scores: int, resamples: int) -> None:
    """Call ``fill(first, end)`` for chunks that cover the resamples, in threads.

    As many threads as processors that this process may use, or NUMBA_NUM_THREADS of
    the environment, if the job is large enough for them.
    """
    from numba import config

    most = max(1, n_scores * resamples // _THREAD_DRAWS)
    threads = min(int(config.NUMBA_NUM_THREADS), most)
    if threads == 1:
        fill(0, resamples)
        return
    ends = [resamples * part // threads for part in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(fill, ends[:-1], ends[1:]):
            pass


@cache
def _has_numba() -> bool:
    return find_spec("numba") is not None


def _compiled(
    layout: Strata,
    estimators: Mapping[str, Estimator],
    draws: Draws,
    resamples: int,
) -> dict[str, Float64Array]:
    from run_assets.stats import kernels

    sums = {n: e for n, e in estimators.items() if isinstance(e, MeanOfTasks)}
    trimmed = {n: e for n, e in estimators.items() if isinstance(e, TrimmedMean)}
    medians = {n: e for n, e in estimators.items() if isinstance(e, MedianOfTasks)}
    width = _padded(layout.values.size, kernels.LANES)
    linear = np.zeros((len(sums), width))
    for row, estimator in zip(linear, sums.values(), strict=True):
        row[: layout.values.size] = estimator.weights
    trim = _trim(next(iter(trimmed.values()), None), width)
    means = _means(next(iter(medians.values()), None), width)
    out = np.empty((len(estimators), resamples))

    def fill(first: int, end: int) -> None:
        kernels.estimate_resamples(draws, first, linear, trim, means, out[:, first:end])

    in_threads(fill, layout.values.size, resamples)
    names = [*sums, *trimmed, *medians]
    centers = [e.center for e in sums.values()] + [e.center for e in trimmed.values()]
    out[: len(centers)] += np.array(centers)[:, None]  # the median has its own already
    return dict(zip(names, out, strict=True))


def _padded(n_scores: int, lanes: int) -> int:
    """Room for the scores and one spare position, a multiple of the lanes."""
    return -(-(n_scores + 1) // lanes) * lanes


def _trim(estimator: TrimmedMean | None, width: int) -> "kernels.Trim":
    from run_assets.stats import kernels

    order = np.empty(0, np.int64) if estimator is None else estimator.order
    distances = np.empty(0) if estimator is None else estimator.distances
    low, high = order.size // 4, order.size - order.size // 4
    below, above = np.zeros(width, np.int32), np.zeros(width, np.int32)
    middle = np.zeros(width)
    below[order[:low]] = above[order[high:]] = -1
    middle[order[low:high]] = distances[low:high]
    return kernels.Trim(order, below, above, middle, distances, low)


def _means(estimator: MedianOfTasks | None, width: int) -> "kernels.Means":
    from run_assets.stats import kernels

    if estimator is None:
        none = np.empty(0, np.int64)
        return kernels.Means(none, none, np.empty(0), none, np.empty(0))
    tasks = estimator.tasks
    distances = np.zeros(width)
    distances[: tasks.distances.size] = tasks.distances
    means = tasks.fixed(np.ones((1, tasks.distances.size), dtype=np.int64))[0]
    places = np.empty(means.size, dtype=np.int64)
    places[np.argsort(means, kind="stable")] = np.arange(means.size)
    return kernels.Means(tasks.starts, tasks.sizes, tasks.centers, places, distances)
