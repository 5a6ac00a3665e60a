"""Stratified resampling: how often each score is drawn, runs within tasks.

The random numbers are a function of the seed, the task's name and the number of the
resample, and of nothing else. So a group's result does not depend on the other groups,
on its own name, on the order of rows or on how the work is cut into batches.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from run_assets.stats.samples import Strata

UInt64Array = NDArray[np.uint64]

# Constants of the SplitMix64 generator. Source: Steele, Lea and Flood 2014.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)

# Draws held at once: a few arrays of this length (1 MB each) stay near the caches.
_BATCH_DRAWS = 1 << 17


def resample_counts(
    layout: Strata, *, seed: int, resamples: int
) -> Iterator[NDArray[np.int64]]:
    """Batches of counts: how often each score was drawn in each resample.

    Every task is resampled by itself: as many runs as it has, with replacement.

    Args:
        layout: The scores of one group.
        seed: Any integer; the same seed gives the same draws.
        resamples: Number of resamples over all batches.

    Yields:
        Shape ``(some resamples, scores)``, in the order of ``layout.values``.
    """
    plan = _plan(layout, seed)
    n_scores = layout.values.size
    batch = max(1, _BATCH_DRAWS // n_scores)
    for first in range(0, resamples, batch):
        rows = np.arange(first, min(first + batch, resamples), dtype=np.uint64)
        drawn = _drawn_positions(plan, rows)
        drawn += np.arange(rows.size)[:, None] * n_scores
        counts = np.bincount(drawn.ravel(), minlength=rows.size * n_scores)
        yield counts.reshape(rows.size, n_scores)


@dataclass(frozen=True)
class _Plan:
    """Which random word serves which draw; two 32-bit draws a word.

    Attributes:
        keys: Shape ``(tasks,)``: the start of each task's stream.
        word_task: Shape ``(words,)``: the task that a word belongs to.
        word_offset: Shape ``(words,)``: its distance from the start of the stream.
        halves: Shape ``(draws,)``: the 32-bit half that serves a draw; None when every
            half does.
        sizes: Shape ``(draws,)``: runs of the draw's task.
        starts: Shape ``(draws,)``: position of that task's first score.
    """

    keys: UInt64Array
    word_task: NDArray[np.int64]
    word_offset: UInt64Array
    halves: NDArray[np.int64] | None
    sizes: NDArray[np.int64]
    starts: NDArray[np.int64]


def _plan(layout: Strata, seed: int) -> _Plan:
    words = -(-layout.sizes // 2)
    first_word = np.cumsum(words) - words
    word_index = _positions_within(words)
    draw_task = np.repeat(np.arange(layout.sizes.size), layout.sizes)
    halves = 2 * first_word[draw_task] + _positions_within(layout.sizes)
    return _Plan(
        keys=np.array([_stream_key(seed, t) for t in layout.tasks], dtype=np.uint64),
        word_task=np.repeat(np.arange(words.size), words),
        word_offset=word_index.astype(np.uint64) * _GOLDEN,
        halves=None if halves.size == 2 * words.sum() else halves,
        sizes=layout.sizes[draw_task],
        starts=layout.starts[draw_task],
    )


def _positions_within(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _stream_key(seed: int, task: str | None) -> int:
    label = b"" if task is None else b"/" + task.encode()
    digest = blake2b(str(seed).encode() + label, digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _drawn_positions(plan: _Plan, resamples: UInt64Array) -> NDArray[np.int64]:
    """Positions of the drawn scores, shape ``(resamples, draws)``."""
    streams = _mixed(plan.keys + resamples[:, None] * _GOLDEN)
    words = _mixed(np.take(streams, plan.word_task, axis=1) + plan.word_offset)
    halves = words.astype("<u8", copy=False).view("<u4")
    if plan.halves is not None:
        halves = np.take(halves, plan.halves, axis=1)
    drawn = halves.astype(np.int64)
    # Multiply and shift maps 32 random bits onto 0 … n - 1 without a division; the
    # chances of two runs differ by at most n / 2^32 of themselves.
    drawn *= plan.sizes
    drawn >>= 32
    drawn += plan.starts
    return drawn


def _mixed(words: UInt64Array) -> UInt64Array:
    """The SplitMix64 finalizer, in place."""
    shifted = np.empty_like(words)
    for shift, factor in ((30, _MIX_1), (27, _MIX_2)):
        np.right_shift(words, np.uint64(shift), out=shifted)
        words ^= shifted
        words *= factor
    np.right_shift(words, np.uint64(31), out=shifted)
    words ^= shifted
    return words
