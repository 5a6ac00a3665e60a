"""Shares of counts, with intervals that allow for more scatter than a binomial's."""

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from run_assets.diagnostics.levels import block_starts

Floats = NDArray[np.float64]


class Share(NamedTuple):
    """A share of counts and its 95 % interval.

    Attributes:
        value: All hits over all trials; NaN without trials.
        low: Lower end.
        high: Upper end.
        trials: Trials, in [0, infinity).
    """

    value: float
    low: float
    high: float
    trials: float


def wilson(hits: float, trials: float, score: float = 1.96) -> Share:
    """A share with Wilson's interval.

    Source: Wilson 1927.

    Args:
        hits: Successes; may be a fraction where counts were weighted.
        trials: Trials.
        score: Normal quantile of the interval.

    >>> [round(one, 3) for one in wilson(19, 20)[:3]]
    [0.95, 0.764, 0.991]
    """
    if trials <= 0:
        return Share(float("nan"), 0.0, 1.0, 0.0)
    share = min(max(hits / trials, 0.0), 1.0)
    weight = score**2 / trials
    center = (share + weight / 2) / (1 + weight)
    half = (
        score
        / (1 + weight)
        * float(np.sqrt(share * (1 - share) / trials + weight / (4 * trials)))
    )
    return Share(share, max(center - half, 0.0), min(center + half, 1.0), trials)


def pooled(hits: Floats, trials: Floats, score: float = 1.96) -> Share:
    """The share of all hits among all trials, weighted by trials.

    Steps differ more than a binomial allows: the trials are worth fewer by the
    over-dispersion found.

    Source: McCullagh and Nelder 1989, section 4.5 (Pearson's dispersion).

    Args:
        hits: Shape ``(n,)``: successes of each step.
        trials: Shape ``(n,)``: trials of each step; steps without any say nothing.
        score: Normal quantile of the interval.
    """
    used = trials > 0
    hits, trials = hits[used], trials[used]
    total = float(trials.sum())
    share = float(hits.sum()) / total if total else 0.0
    worth = total / dispersion(hits, trials, share)
    found = wilson(share * worth, worth, score)
    return found._replace(trials=total)


def dispersion(hits: Floats, trials: Floats, share: float) -> float:
    """Variance of the steps' shares over that of a binomial; at least 1."""
    variance = trials * share * (1 - share)
    if hits.size < 2 or not (variance > 0).all():
        return 1.0
    pearson = float(((hits - trials * share) ** 2 / variance).sum())
    return max(pearson / (hits.size - 1), 1.0)


def windows(hits: Floats, trials: Floats, count: int = 10) -> list[Share]:
    """The share of each of ``count`` stretches of steps.

    >>> two = windows(np.array([9.0, 9, 1, 1]), np.full(4, 10.0), 2)
    >>> [one.value for one in two]
    [0.9, 0.1]
    """
    starts = block_starts(hits.size, min(count, hits.size))
    return [pooled(hits[a:b], trials[a:b]) for a, b in itertools.pairwise(starts)]
