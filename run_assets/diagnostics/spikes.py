"""Values that stand out above what came just before them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from run_assets.diagnostics.robust import (
    causal_median,
    mad_scale,
    rolling_scale,
    tail_limit,
)

Floats = NDArray[np.float64]

_SCALE_FLOOR = 0.7
_NEIGHBOURS = 7
_FALSE_ALARMS = 0.002  # expected in one series, from noise alone


@dataclass(frozen=True)
class Spikes:
    """Where a series stands out.

    Attributes:
        places: First place of each spike, ascending.
        scores: Height of each in standard deviations of the residuals before it.
        ratios: Height of each as a multiple of the level before it; the plain
            difference where the series is not positive throughout.
        levels: The level before each.
        lengths: Values that each lasts.
        limit: The score that had to be exceeded.
        is_ratio: The ratios are ratios.
    """

    places: NDArray[np.int64]
    scores: Floats
    ratios: Floats
    levels: Floats
    lengths: NDArray[np.int64]
    limit: float
    is_ratio: bool


def window_width(n: int) -> int:
    """Values that make the level: a twentieth of the series, 15 to 101, odd.

    >>> [window_width(n) for n in (100, 1_000, 10_000)]
    [15, 51, 101]
    """
    return int(np.clip(n // 20, 15, 101)) | 1


def spikes(values: Floats, score: float, ratio: float, warm_up: float) -> Spikes:
    """Rises above the recent level, in log space where all values are positive.

    Where heavy tails make far outliers likely, the score has to exceed more than
    ``score``: see `tail_limit`. A rise that stays is no spike. A series that is not
    positive throughout has no ratio: there a spike must rise by half of ``ratio - 1``
    of its own range (5 % to 95 %).

    Args:
        values: Shape ``(n,)``, finite.
        score: Standard deviations to be exceeded.
        ratio: Multiple of the level to be exceeded.
        warm_up: Share of the series at its start that is left alone.
    """
    is_ratio = bool((values > 0).all())
    scaled = np.log(values) if is_ratio else values
    width = window_width(values.size)
    level = causal_median(scaled, width)
    # On a slope the level lags behind by as much as it did before.
    level = level + causal_median(scaled - level, width)
    residuals = scaled - level
    skipped = max(width, int(np.ceil(warm_up * values.size)))
    # What the warm-up did says nothing of the noise behind it.
    tail = residuals[skipped:]
    scores = tail / rolling_scale(tail, width, _SCALE_FLOOR)
    # Falls of the level lengthen the tail of the one, autocorrelation of the other.
    tails = (scores, _single_deviations(scaled[skipped:]))
    limit = max(score, min(tail_limit(one, _FALSE_ALARMS) for one in tails))
    least = np.log(ratio) if is_ratio else (ratio - 1) * 0.5 * _spread(scaled)
    hit = (scores > limit) & (tail > least)
    first, lengths = _episodes(hit, width)
    peak = _peaks(scores, first, lengths)
    above = scaled[skipped:], level[skipped:][first]
    healed = _has_healed(*above, peak, first + lengths)
    first, lengths, peak = first[healed], lengths[healed], peak[healed]
    return Spikes(
        places=first + skipped,
        scores=scores[peak],
        ratios=np.exp(tail[peak]) if is_ratio else tail[peak],
        levels=np.exp(level[first + skipped]) if is_ratio else level[first + skipped],
        lengths=lengths,
        limit=limit,
        is_ratio=is_ratio,
    )


def _single_deviations(values: Floats) -> Floats:
    """Deviations from neighbours on both sides: no slope and no step counts."""
    from scipy.ndimage import median_filter

    local = values - median_filter(values, size=_NEIGHBOURS, mode="nearest")
    scale = mad_scale(local[local != 0]) or 1.0
    return np.asarray(local / scale)


def _spread(values: Floats) -> float:
    low, high = np.quantile(values, [0.05, 0.95])
    return float(high - low)


def _episodes(
    hit: NDArray[np.bool_], gap: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First place and length of each run of hits; nearer than ``gap`` is one run."""
    places = np.flatnonzero(hit)
    if places.size == 0:
        return places, places
    is_new = np.concatenate([[True], np.diff(places) > gap])
    first = places[is_new]
    last = places[np.concatenate([is_new[1:], [True]])]
    return first, last - first + 1


def _has_healed(
    values: Floats,
    levels: Floats,
    peak: NDArray[np.int64],
    end: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """The values behind a spike are nearer to the level before it than to its peak.

    At the end of the series there is too little behind it to know: a spike it is.
    """
    width = window_width(values.size)
    behind = [values[b : b + width] for b in end]
    halfway = (levels + values[peak]) / 2
    return np.array(
        [
            one.size < 5 or float(np.median(one)) < half
            for one, half in zip(behind, halfway, strict=True)
        ],
        dtype=np.bool_,
    )


def _peaks(
    scores: Floats, first: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.int64]:
    spans = zip(first, lengths, strict=True)
    found = [a + int(np.argmax(scores[a : a + n])) for a, n in spans]
    return np.array(found, dtype=np.int64)
