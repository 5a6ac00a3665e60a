"""Compiled loops over resamples: draw, count, and read the statistics off the counts.

Each row of a result depends on the number of its resample only, so any cut into
chunks, on any number of threads, gives the same bytes. Sums run in a fixed order, in
lanes, never in the order that a compiler finds fastest (no "fastmath").

The numbers are those of the plain code in `resampling.py` and `aggregate.py`: the same
draws, the same statistics to about 1e-15. Importing this module needs numba.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from run_assets.stats.resampling import (
    GOLDEN,
    HALF,
    LOW_HALF,
    MIX_1,
    MIX_2,
    Draws,
)

Float64Array = NDArray[np.float64]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
UInt64Array = NDArray[np.uint64]
Function = TypeVar("Function", bound=Callable[..., object])

BLOCK = 512  # words drawn at a time: what they are drawn into stays in the first cache
LANES = 64  # sums that run side by side: enough to hide the latency of memory
FEW_TASKS = 64  # up to here, insertion sort

# Arithmetic on uint64 stays in uint64 only with operands of that type.
U = np.uint64
S_30, S_27, S_31 = U(30), U(27), U(31)
I32: type[int] = np.int32  # type: ignore[assignment]  # to mypy, numba's are ints
I64: type[int] = np.int64  # type: ignore[assignment]  # as above


class Trim(NamedTuple):
    """The middle of the pooled scores; ``order`` is empty where it is not asked for.

    Attributes:
        order: Shape ``(scores,)``: positions of the scores in ascending order.
        below: Shape ``(padded,)``: -1 for the scores below the middle, else 0.
        above: Shape ``(padded,)``: -1 for the scores above the middle, else 0.
        middle: Shape ``(padded,)``: distances of the middle scores, else 0.
        distances: Shape ``(scores,)``: distances in ascending order.
        n_trimmed: Draws that are dropped at each end.
    """

    order: Int64Array
    below: Int32Array
    above: Int32Array
    middle: Float64Array
    distances: Float64Array
    n_trimmed: int


class Means(NamedTuple):
    """The means of the tasks; ``starts`` is empty where they are not asked for.

    Attributes:
        starts: Shape ``(tasks,)``: position of the first score.
        sizes: Shape ``(tasks,)``: number of scores.
        centers: Shape ``(tasks,)``: what distances are counted from.
        places: Shape ``(tasks,)``: rank of the task by its mean, so that the means of
            a resample are nearly sorted.
        distances: Shape ``(padded,)``: of each score from its center.
    """

    starts: Int64Array
    sizes: Int64Array
    centers: Float64Array
    places: Int64Array
    distances: Float64Array


class Bins(NamedTuple):
    """The scores bin after bin: a bin's scores are above the same thresholds.

    Attributes:
        order: Shape ``(scores,)``: positions of the scores, bin after bin.
        weights: Shape ``(scores,)``: what one draw of them adds.
        starts: Shape ``(thresholds + 2,)``: where in ``order`` each bin starts.
    """

    order: UInt64Array
    weights: Float64Array
    starts: Int64Array


class Pairs(NamedTuple):
    """How the scores of x lie between those of y, task after task.

    Attributes:
        below: Shape ``(scores of x,)``: position in y behind the task's lower scores.
        not_above: The same, behind those that are lower or equal.
        x_starts: Shape ``(tasks + 1,)``: position of the task's first score in x.
        y_starts: The same in y.
        weights: Shape ``(tasks,)``: 1 / (2 * runs of x * runs of y * tasks).
        n_y: Number of scores of y.
    """

    below: Int64Array
    not_above: Int64Array
    x_starts: Int64Array
    y_starts: Int64Array
    weights: Float64Array
    n_y: int


def inlined(function: Function) -> Function:
    """Mark a function that becomes part of the compiled ones."""
    return njit(nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]  # numba ships no types


def compiled(function: Function) -> Function:
    """Compile for threads without the interpreter's lock, cached where possible."""
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]  # as above
    except RuntimeError:  # no folder that numba could write its cache to
        return inlined(function)


@inlined
def draw(
    draws: Draws, resample: int, counts: Int32Array, low: UInt64Array, high: UInt64Array
) -> None:
    """Count how often each position is drawn; Source: Steele, Lea and Flood 2014."""
    offset = (U(resample) << HALF) * GOLDEN
    counts[:] = 0
    for first in range(0, draws.bases.size, BLOCK):
        bases = draws.bases[first : first + BLOCK]
        low_sizes = draws.low_sizes[first : first + BLOCK]
        low_starts = draws.low_starts[first : first + BLOCK]
        high_sizes = draws.high_sizes[first : first + BLOCK]
        high_starts = draws.high_starts[first : first + BLOCK]
        for i in range(bases.size):
            word = bases[i] + offset
            word = (word ^ (word >> S_30)) * MIX_1
            word = (word ^ (word >> S_27)) * MIX_2
            word ^= word >> S_31
            low[i] = ((word & LOW_HALF) * U(low_sizes[i]) >> HALF) + U(low_starts[i])
            high[i] = ((word >> HALF) * U(high_sizes[i]) >> HALF) + U(high_starts[i])
        for i in range(bases.size):
            counts[low[i]] += 1
            counts[high[i]] += 1


@inlined
def weighted_sum(
    counts: Int32Array, weights: Float64Array, lanes: Float64Array
) -> float:
    """Sum of counts times weights; both have a length that is a multiple of LANES."""
    lanes[:] = 0.0
    for first in range(0, counts.size, LANES):
        some_counts = counts[first : first + LANES]
        some_weights = weights[first : first + LANES]
        for j in range(LANES):
            lanes[j] += some_counts[j] * some_weights[j]
    half = LANES // 2
    while half:
        for j in range(half):
            lanes[j] += lanes[j + half]
        half //= 2
    return float(lanes[0])


@inlined
def take_off(
    counts: Int32Array, order: Int64Array, first: int, step: int, n: int
) -> None:
    """Remove ``n`` draws from the counts, score after score."""
    rank = first
    while n > 0:
        position = order[rank]
        some = min(I64(counts[position]), n)
        counts[position] -= np.int32(some)
        n -= some
        rank += step


@inlined
def sum_of_next(counts: Int32Array, trim: Trim, first: int, step: int, n: int) -> float:
    """Sum of the distances of the next ``n`` draws, score after score."""
    rank = first
    total = 0.0
    while n > 0:
        some = min(I64(counts[trim.order[rank]]), n)
        total += some * trim.distances[rank]
        n -= some
        rank += step
    return total


@inlined
def trimmed_mean(counts: Int32Array, trim: Trim, lanes: Float64Array) -> float:
    """Mean distance of the draws but the lowest and the highest; spoils the counts.

    The scores of the middle are nearly the right ones. What is drawn of them too often
    is removed before the sum, what is missing is added, so nothing cancels.
    """
    n_below, n_above = I32(0), I32(0)
    for k in range(counts.size):
        n_below = I32(n_below + (counts[k] & trim.below[k]))
        n_above = I32(n_above + (counts[k] & trim.above[k]))
    n = trim.order.size
    low = I64(trim.n_trimmed)
    high = n - low
    take_off(counts, trim.order, low, 1, low - n_below)
    take_off(counts, trim.order, high - 1, -1, low - n_above)
    total = weighted_sum(counts, trim.middle, lanes)
    total += sum_of_next(counts, trim, low - 1, -1, min(high, n_below) - low)
    total += sum_of_next(counts, trim, high, 1, high - max(low, n - n_above))
    return total / (high - low)


@inlined
def segment_sum(products: Float64Array, first: int, end: int) -> float:
    """Sum of a segment, in eight lanes."""
    a = b = c = d = e = f = g = h = 0.0
    k = first
    while k + 8 <= end:
        a += products[k]
        b += products[k + 1]
        c += products[k + 2]
        d += products[k + 3]
        e += products[k + 4]
        f += products[k + 5]
        g += products[k + 6]
        h += products[k + 7]
        k += 8
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    while k < end:
        total += products[k]
        k += 1
    return total


@inlined
def median_of_means(
    counts: Int32Array, means: Means, products: Float64Array, sorted_means: Float64Array
) -> float:
    """Median over the tasks of the mean of the draws."""
    for k in range(counts.size):
        products[k] = counts[k] * means.distances[k]
    n = means.starts.size
    for t in range(n):
        first, size = means.starts[t], means.sizes[t]
        total = segment_sum(products, first, first + size)
        sorted_means[means.places[t]] = means.centers[t] + total / size
    if n > FEW_TASKS:
        sorted_means.sort()
    else:
        for i in range(1, n):
            mean = sorted_means[i]
            j = i
            while j > 0 and sorted_means[j - 1] > mean:
                sorted_means[j] = sorted_means[j - 1]
                j -= 1
            sorted_means[j] = mean
    return 0.5 * float(sorted_means[(n - 1) // 2] + sorted_means[n // 2])


@compiled
def estimate_resamples(
    draws: Draws,
    first: int,
    linear: Float64Array,
    trim: Trim,
    means: Means,
    out: Float64Array,
) -> None:
    """Fill a chunk of resamples: one pass over the draws serves every statistic.

    Args:
        draws: The draws of one resample.
        first: Number of the first resample.
        linear: Shape ``(sums, padded)``: weights of the statistics that are sums.
        trim: What the trimmed mean needs.
        means: What the median of the task means needs.
        out: Shape ``(statistics, resamples)``: the sums, the trimmed mean if asked
            for, the median if asked for.
    """
    n_linear = linear.shape[0]
    n_padded = trim.middle.size
    counts = np.empty(n_padded, np.int32)
    low = np.empty(BLOCK, np.uint64)
    high = np.empty(BLOCK, np.uint64)
    lanes = np.empty(LANES)
    products = np.empty(n_padded if means.starts.size else 0)
    sorted_means = np.empty(means.starts.size)
    for row in range(out.shape[1]):
        draw(draws, first + row, counts, low, high)
        for i in range(n_linear):
            out[i, row] = weighted_sum(counts, linear[i], lanes)
        if means.starts.size:
            out[-1, row] = median_of_means(counts, means, products, sorted_means)
        if trim.order.size:
            out[n_linear, row] = trimmed_mean(counts, trim, lanes)


@compiled
def compare_resamples(
    x_draws: Draws, y_draws: Draws, first: int, pairs: Pairs, out: Float64Array
) -> None:
    """Fill a chunk of resamples with the probability that x is above y.

    Args:
        x_draws: The draws of one resample of x.
        y_draws: The same of y.
        first: Number of the first resample.
        pairs: How the scores of x lie between those of y.
        out: Shape ``(resamples,)``.
    """
    n_x, n_y = pairs.below.size, pairs.n_y
    x_counts = np.empty(n_x + 1, np.int32)
    y_counts = np.empty(n_y + 1, np.int32)
    y_seen = np.zeros(n_y + 1, np.int64)
    low = np.empty(BLOCK, np.uint64)
    high = np.empty(BLOCK, np.uint64)
    for row in range(out.size):
        draw(x_draws, first + row, x_counts, low, high)
        draw(y_draws, first + row, y_counts, low, high)
        seen = 0
        for k in range(n_y):
            seen += y_counts[k]
            y_seen[k + 1] = seen
        total = 0.0
        for t in range(pairs.x_starts.size - 1):
            wins = 0
            for k in range(pairs.x_starts[t], pairs.x_starts[t + 1]):
                both = y_seen[pairs.below[k]] + y_seen[pairs.not_above[k]]
                wins += x_counts[k] * both
            size = pairs.x_starts[t + 1] - pairs.x_starts[t]
            wins -= 2 * size * y_seen[pairs.y_starts[t]]
            total += wins * pairs.weights[t]
        out[row] = total


@compiled
def profile_resamples(draws: Draws, first: int, bins: Bins, out: Float64Array) -> None:
    """Fill a chunk of resamples with the weight of the draws above each threshold.

    Args:
        draws: The draws of one resample.
        first: Number of the first resample.
        bins: Which scores lie between which thresholds.
        out: Shape ``(resamples, thresholds)``.
    """
    n = bins.order.size
    counts = np.empty(n + 1, np.int32)
    low = np.empty(BLOCK, np.uint64)
    high = np.empty(BLOCK, np.uint64)
    drawn = np.empty(n)
    for row in range(out.shape[0]):
        draw(draws, first + row, counts, low, high)
        for k in range(n):
            drawn[k] = counts[bins.order[k]] * bins.weights[k]
        above = 0.0
        for m in range(out.shape[1], 0, -1):
            above += segment_sum(drawn, bins.starts[m], bins.starts[m + 1])
            out[row, m - 1] = above
