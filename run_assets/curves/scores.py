"""How good predicted curves are; every function is pure numpy.

Points that a run does not have (NaN in the truth) never count. All errors are in the
unit of the curves that are given.
"""

import numpy as np

from run_assets.curves.examples import Floats, Names

LEVELS: Floats = np.arange(1, 40) / 40
"""Levels of the quantiles that a predicted distribution is kept as."""
_LAST = 0.1


def r_squared(truth: Floats, predicted: Floats, reference: Floats) -> float:
    """Share of the squared error of a reference that a prediction avoids.

    Args:
        truth: Shape ``(runs, points)``.
        predicted: Shape ``(runs, points)``.
        reference: A curve for all runs, such as the mean of the training runs.

    Returns:
        1 is perfect, 0 is as good as the reference; NaN without any point.

    >>> r_squared(np.array([[0.0, 2.0]]), np.array([[0.0, 1.0]]), np.array([0.0, 0.0]))
    0.75
    """
    known = np.isfinite(truth)
    if not known.any():
        return float("nan")
    error = np.where(known, truth - predicted, 0.0) ** 2
    worst = np.where(known, truth - reference, 0.0) ** 2
    total = worst.sum()
    return float(1 - error.sum() / total) if total else float("nan")


def mean_absolute_error(truth: Floats, predicted: Floats) -> float:
    """Over all known points; NaN without any."""
    known = np.isfinite(truth)
    return float(np.abs(truth - predicted)[known].mean()) if known.any() else np.nan


def crps(truth: Floats, quantiles: Floats) -> Floats:
    """Continuous ranked probability score of each run, by its quantiles.

    Twice the pinball loss, integrated over ``LEVELS``. Smaller is better; a certain
    prediction has its absolute error.

    Source: Gneiting and Ranjan 2011, "Comparing density forecasts using threshold- and
    quantile-weighted scoring rules", equation 13.

    Args:
        truth: Shape ``(runs, points)``.
        quantiles: Shape ``(levels, runs, points)``.

    Returns:
        Mean over each run's known points, shape ``(runs,)``; NaN without any.
    """
    known = np.isfinite(truth)
    total = np.zeros(truth.shape)
    for level, quantile in zip(LEVELS, quantiles, strict=True):
        gap = np.where(known, truth - quantile, 0.0)
        total += np.maximum(level * gap, (level - 1) * gap)
    # The integrand is 0 at both ends, so that the trapezium rule has no end terms.
    scores = 2 * total / (len(LEVELS) + 1)
    counts = known.sum(axis=1)
    means = scores.sum(axis=1) / np.maximum(counts, 1)
    return np.where(counts > 0, means, np.nan)


def covered(truth: Floats, low: Floats, high: Floats) -> Floats:
    """Share of each run's known points inside an interval, shape ``(runs,)``."""
    known = np.isfinite(truth)
    inside = known & (truth >= low) & (truth <= high)
    counts = known.sum(axis=1)
    return np.where(counts > 0, inside.sum(axis=1) / np.maximum(counts, 1), np.nan)


def final_value(curves: Floats) -> Floats:
    """Mean of the known points in the last tenth of the grid; NaN without.

    Args:
        curves: Shape ``(runs, points)``.
    """
    count = max(round(_LAST * curves.shape[1]), 1)
    tail = curves[:, -count:]
    known = np.isfinite(tail)
    sums = np.where(known, tail, 0.0).sum(axis=1)
    counts = known.sum(axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def spearman(these: Floats, those: Floats) -> float:
    """Rank correlation of two columns, ties sharing their rank; NaN where constant.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0]))
    1.0
    """
    known = np.isfinite(these) & np.isfinite(those)
    if known.sum() < 2:
        return float("nan")
    from scipy.stats import rankdata

    first, second = rankdata(these[known]), rankdata(those[known])
    first, second = first - first.mean(), second - second.mean()
    scale = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / scale) if scale else float("nan")


def rank_correlation_inside(
    truth: Floats, predicted: Floats, environments: Names
) -> float:
    """Mean over environments of the rank correlation of final values.

    A prediction that is the same for all configurations of an environment ranks nothing
    there: 0. Environments with fewer than three runs, or whose runs all end alike, do
    not count.
    """
    ends, guesses = final_value(truth), final_value(predicted)
    found = []
    for name in np.unique(environments):
        mine = (environments == name) & np.isfinite(ends)
        if mine.sum() < 3 or np.ptp(ends[mine]) == 0:
            continue
        value = spearman(ends[mine], guesses[mine])
        found.append(0.0 if np.isnan(value) else value)
    return float(np.mean(found)) if found else float("nan")
