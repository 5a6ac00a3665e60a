"""Permutation tests: exchange the labels of runs, or the sides of pairs.

Where all arrangements are few, every one of them is looked at; otherwise a number of
random ones. The random numbers are a function of the seed and of the tasks, never of
the names of the groups; exchanging the groups exchanges the tails.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from hashlib import blake2b
from itertools import combinations
from math import inf, log2, prod

import numpy as np
from numpy.typing import NDArray

from run_assets.stats.significance import (
    Samples,
    TestResult,
    assignments,
    of_tails,
)
from run_assets.stats.stratified import Block, Stratified

Float64Array = NDArray[np.float64]
Draw = Callable[[int], Float64Array]
"""From a number of resamples to their statistics."""

# Sums of the same numbers differ in the last digits by the order of summation.
_TOLERANCE = 1e-12
_BATCH_DRAWS = 1 << 20
_MANY_PAIRS = 1000
_NOTHING_MOVES = TestResult(None, None, ("no test: no exchange changes anything",))


def permutation_test(
    samples: Stratified, alternative: str, *, resamples: int, seed: int
) -> TestResult:
    """Test that both groups have the same scores in every task.

    The statistic is the mean over tasks of the difference of means. The labels of runs
    are exchanged among runs that were scored on the same tasks: within a task where a
    run has one task, as a whole where it has several.

    Source: Fisher 1935 for the test, Phipson and Smyth 2010 for counting the observed
    arrangement among the random ones, so that p is never 0.

    Args:
        samples: The runs of both groups.
        alternative: ``two-sided`` (twice the smaller tail), ``less``, ``greater``.
        resamples: Exact up to this many arrangements; beyond it that many at random.
        seed: Of the random arrangements.
    """
    is_turned = samples.difference < 0
    blocks = [_turned(one) if is_turned else one for one in samples.blocks]
    movable = [
        one for one in blocks if one.x.size and one.y.size and np.ptp(one.in_x) > 0
    ]
    if not movable:
        return _NOTHING_MOVES
    n_arrangements = _ways(movable)
    observed = sum(float(one.in_x[: one.x.size].sum()) for one in movable)
    if n_arrangements <= resamples:
        exact = reduce(_all_sums, (_every_exchange(one) for one in movable))
        tails = _tails(exact, observed, movable)
    else:
        draws = [_exchanges(one, seed) for one in movable]
        sampled = _sampled(draws, resamples, sum(one.in_x.size for one in movable))
        tails = _tails(np.append(sampled, observed), observed, movable)
    return _result(samples.difference, tails, alternative, is_turned=is_turned)


def paired_permutation_test(
    samples: Samples, alternative: str, *, resamples: int, seed: int
) -> TestResult:
    """Test that the two values of every pair could have been exchanged.

    The statistic is the mean difference; each exchange of a pair turns the sign of its
    difference.

    Source: Fisher 1935; Phipson and Smyth 2010.

    Args:
        samples: Paired.
        alternative: ``two-sided`` (twice the smaller tail), ``less``, ``greater``.
        resamples: Exact up to this many patterns of signs; beyond it that many random.
        seed: Of the random signs.
    """
    difference = float((samples.x - samples.y).mean())
    is_turned = difference < 0
    gaps = samples.y - samples.x if is_turned else samples.x - samples.y
    moving = gaps[gaps != 0]
    if not moving.size:
        return _NOTHING_MOVES
    moving = moving[np.lexsort((moving, np.abs(moving)))]
    observed, scale = float(moving.sum()), float(np.abs(moving).sum())
    if moving.size <= log2(resamples):
        sums = reduce(_all_sums, (np.array([one, -one]) for one in moving))
    else:
        sampled = _sampled([_signs(moving, seed)], resamples, moving.size)
        sums = np.append(sampled, observed)
    tails = _shares(sums, observed, scale)
    return _result(difference, tails, alternative, is_turned=is_turned)


def smallest_permutation_p(
    n_arrangements: float, alternative: str, resamples: int
) -> float:
    """The smallest p-value that can come out of so many arrangements.

    >>> smallest_permutation_p(20, "two-sided", 10_000)
    0.1
    """
    sides = 2 if alternative == "two-sided" else 1
    is_exact = n_arrangements <= resamples
    return min(1.0, sides / (n_arrangements if is_exact else resamples + 1))


def arrangements(samples: Stratified | Samples) -> float:
    """How many ways there are to exchange labels, or the sides of unequal pairs."""
    if isinstance(samples, Samples):
        n_unequal = int((samples.x != samples.y).sum())
        return 2.0**n_unequal if n_unequal < _MANY_PAIRS else inf
    return _ways(samples.blocks)


def _ways(blocks: Sequence[Block]) -> float:
    return prod(assignments(one.x.size, one.y.size) for one in blocks)


def _turned(block: Block) -> Block:
    in_x = np.concatenate([block.in_x[block.x.size :], block.in_x[: block.x.size]])
    return Block(block.tasks, block.y, block.x, in_x)


def _every_exchange(block: Block) -> Float64Array:
    chosen = combinations(block.in_x.tolist(), block.x.size)
    return np.array([sum(one) for one in chosen], dtype=np.float64)


def _all_sums(one: Float64Array, other: Float64Array) -> Float64Array:
    return np.asarray(np.add.outer(one, other).ravel())


def _exchanges(block: Block, seed: int) -> Draw:
    # In ascending order: which group a run is in is not part of the random numbers.
    ascending = np.sort(block.in_x)
    rng = _generator(seed, block.tasks)

    def draw(resamples: int) -> Float64Array:
        order = np.argsort(rng.random((resamples, ascending.size)), axis=1)
        return np.asarray(ascending[order[:, : block.x.size]].sum(axis=1))

    return draw


def _signs(gaps: Float64Array, seed: int) -> Draw:
    rng = _generator(seed, "signs of pairs")

    def draw(resamples: int) -> Float64Array:
        signs = np.where(rng.random((resamples, gaps.size)) < 0.5, -1.0, 1.0)
        return np.asarray((signs * gaps).sum(axis=1))

    return draw


def _generator(seed: int, name: str) -> np.random.Generator:
    digest = blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def _sampled(draws: Sequence[Draw], resamples: int, width: int) -> Float64Array:
    """Statistics of random arrangements, in batches that bound the memory."""
    return np.concatenate(
        [
            np.sum([draw(size) for draw in draws], axis=0)
            for size in _batches(resamples, width)
        ]
    )


def _batches(resamples: int, width: int) -> Iterator[int]:
    batch = max(1, _BATCH_DRAWS // width)
    for first in range(0, resamples, batch):
        yield min(batch, resamples - first)


def _tails(
    sums: Float64Array, observed: float, blocks: Sequence[Block]
) -> tuple[float, float]:
    scale = sum(float(np.abs(one.in_x).sum()) for one in blocks)
    return _shares(sums, observed, scale)


def _shares(sums: Float64Array, observed: float, scale: float) -> tuple[float, float]:
    """Share of the arrangements at most, and at least, as large as the observed one."""
    tolerance = _TOLERANCE * scale
    return (
        float((sums <= observed + tolerance).mean()),
        float((sums >= observed - tolerance).mean()),
    )


def _result(
    difference: float, tails: tuple[float, float], alternative: str, *, is_turned: bool
) -> TestResult:
    # Without a difference neither group comes first: the larger tail serves both, so
    # that exchanging the groups changes nothing.
    tails = tails if difference else (max(tails), max(tails))
    below, above = reversed(tails) if is_turned else tails
    return TestResult(difference, of_tails(below, above, alternative))
