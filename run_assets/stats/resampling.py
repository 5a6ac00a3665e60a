"""Stratified resampling: which scores are drawn, runs within tasks.

The random numbers are a function of the seed, the number of the resample, the task's
name and the side of a comparison, and of nothing else. So a group's result does not
depend on the other groups, on its own name, on the order of rows, on how the work is
cut into batches or on the number of threads.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from run_assets.stats.samples import Strata

Int64Array = NDArray[np.int64]
UInt32Array = NDArray[np.uint32]
UInt64Array = NDArray[np.uint64]

# Constants of the SplitMix64 generator. Source: Steele, Lea and Flood 2014.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
HALF = np.uint64(32)
LOW_HALF = np.uint64(0xFFFFFFFF)

# Words held at once: a few arrays of this length (0.5 MB each) stay near the caches.
_BATCH_WORDS = 1 << 16


class Draws(NamedTuple):
    """Which random word serves which draws: its low and its high half serve one each.

    A task with an odd number of runs has a half to spare, which "draws" the position
    behind the last score.

    Attributes:
        bases: Shape ``(words,)``: the counter of the word in resample 0.
        low_sizes: Shape ``(words,)``: how many scores the low half chooses from.
        low_starts: Shape ``(words,)``: position of the first of these scores.
        high_sizes: As ``low_sizes``, of the high half.
        high_starts: As ``low_starts``, of the high half.
    """

    bases: UInt64Array
    low_sizes: UInt32Array
    low_starts: UInt32Array
    high_sizes: UInt32Array
    high_starts: UInt32Array


def task_draws(layout: Strata, *, seed: int, side: str = "") -> Draws:
    """The draws of one resample: as many runs of each task as it has.

    Args:
        layout: The scores of one group.
        seed: Any integer; the same seed gives the same draws.
        side: What tells the two sides of a comparison apart; their draws are
            independent.
    """
    return plan_draws(layout.tasks, layout.sizes, seed=seed, side=side)


def plan_draws(
    names: Sequence[str | None], sizes: Int64Array, *, seed: int, side: str = ""
) -> Draws:
    """The draws from strata with these names and sizes, position after position."""
    words = (sizes + 1) // 2
    stratum = np.repeat(np.arange(sizes.size), words)
    index = positions_within(words)
    starts = np.cumsum(sizes) - sizes
    is_spare = 2 * index + 1 == sizes[stratum]
    keys = np.array([stream_key(seed, side, name) for name in names], dtype=np.uint64)
    return Draws(
        bases=keys[stratum] + index.astype(np.uint64) * GOLDEN,
        low_sizes=sizes[stratum].astype(np.uint32),
        low_starts=starts[stratum].astype(np.uint32),
        high_sizes=np.where(is_spare, 1, sizes[stratum]).astype(np.uint32),
        high_starts=np.where(is_spare, sizes.sum(), starts[stratum]).astype(np.uint32),
    )


def stream_key(seed: int, side: str, name: str | None) -> int:
    """Where the stream of a stratum starts, from 0 to 2**64 - 1."""
    label = f"{seed}{side}" + ("" if name is None else f"/{name}")
    digest = blake2b(label.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def resample_counts(
    layout: Strata, *, seed: int, resamples: int, side: str = ""
) -> Iterator[Int64Array]:
    """Batches of counts: how often each score was drawn in each resample.

    Every task is resampled by itself: as many runs as it has, with replacement.

    Args:
        layout: The scores of one group.
        seed: Any integer; the same seed gives the same draws.
        resamples: Number of resamples over all batches.
        side: As in `task_draws`.

    Yields:
        Shape ``(some resamples, scores)``, in the order of ``layout.values``.
    """
    draws = task_draws(layout, seed=seed, side=side)
    yield from counts_of(draws, layout.values.size, resamples)


def counts_of(draws: Draws, n_scores: int, resamples: int) -> Iterator[Int64Array]:
    """Batches of counts of these draws, shape ``(some resamples, scores)``."""
    for rows in batches(resamples, draws.bases.size):
        yield counts_of_rows(draws, n_scores, rows)


def counts_of_rows(draws: Draws, n_scores: int, resamples: UInt64Array) -> Int64Array:
    """Counts of these draws, shape ``(resamples, scores)``."""
    width = n_scores + 1
    drawn = drawn_positions(draws, resamples)
    drawn += np.arange(resamples.size)[:, None] * width
    counts = np.bincount(drawn.ravel(), minlength=resamples.size * width)
    return counts.reshape(resamples.size, width)[:, :n_scores]


def batches(resamples: int, n_words: int) -> Iterator[UInt64Array]:
    """Numbers of resamples, cut so that arrays of words stay small."""
    batch = max(1, _BATCH_WORDS // n_words)
    for first in range(0, resamples, batch):
        yield np.arange(first, min(first + batch, resamples), dtype=np.uint64)


def drawn_positions(draws: Draws, resamples: UInt64Array) -> Int64Array:
    """Positions of the drawn scores, shape ``(resamples, 2 * words)``."""
    n_words = draws.bases.size
    # Resample b takes the words from b * 2^32 on of the stream of each stratum.
    words = mixed(draws.bases + (resamples << HALF)[:, None] * GOLDEN)
    drawn = np.empty((resamples.size, 2 * n_words), dtype=np.uint64)
    low, high = drawn[:, :n_words], drawn[:, n_words:]
    # Multiply and shift maps 32 random bits onto 0 … n - 1 without a division; the
    # chances of two runs differ by at most n / 2^32 of themselves.
    np.multiply(words & LOW_HALF, draws.low_sizes, out=low)
    words >>= HALF
    np.multiply(words, draws.high_sizes, out=high)
    drawn >>= HALF
    low += draws.low_starts
    high += draws.high_starts
    return drawn.view(np.int64)


def mixed(words: UInt64Array) -> UInt64Array:
    """The SplitMix64 finalizer, in place."""
    shifted = np.empty_like(words)
    for shift, factor in ((30, MIX_1), (27, MIX_2)):
        np.right_shift(words, np.uint64(shift), out=shifted)
        words ^= shifted
        words *= factor
    np.right_shift(words, np.uint64(31), out=shifted)
    words ^= shifted
    return words


def positions_within(sizes: Int64Array) -> Int64Array:
    """0, 1, … within each of the strata of these sizes."""
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
