"""How good the members and the stack are, by forecasts for runs that were held out.

The stack's weights and intervals are fitted again without each fold before the fold is
judged, so that nothing here has seen what it is judged by.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from run_assets.curves.examples import Floats, filled
from run_assets.curves.folds import splits
from run_assets.curves.model import (
    NEW,
    Fitted,
    Trial,
    learn_situation,
    quantile_forecast,
    rows_of,
)
from run_assets.curves.scores import (
    LEVELS,
    covered,
    crps,
    mean_absolute_error,
    r_squared,
    rank_correlation_inside,
)

STACK, WITHOUT = "stack", "stack without "
LAST_VALUE = "last value carried forward"
PREFIXES = (0.1, 0.25, 0.5)
ALL = "*"


class Held(NamedTuple):
    """Forecasts for held-out runs.

    Attributes:
        mean: Shape ``(runs, points)``.
        quantiles: At ``LEVELS``, shape ``(levels, runs, points)``.
    """

    mean: Floats
    quantiles: Floats


def evaluation(fitted: Fitted, confidence: float) -> pl.DataFrame:
    """One row per situation, share observed, model and environment.

    Args:
        fitted: A model and its trials.
        confidence: Of the intervals that are judged.

    Returns:
        The columns of ``curves.evaluation``.
    """
    rows = [
        row
        for situation, trial in fitted.trials.items()
        for row in _of_trial(situation, trial, fitted, confidence)
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def held_out(trial: Trial, cuts: Sequence[int], *, by_environment: bool) -> list[Held]:
    """The stack's forecasts for every run, by what it learned from the other folds.

    Args:
        trial: Out-of-fold forecasts of its members.
        cuts: How many points of each run are known; a result for each.
        by_environment: As in ``calibrate``.
    """
    shape = trial.targets.shape
    found = [
        Held(np.full(shape, np.nan), np.zeros((len(LEVELS), *shape))) for _ in cuts
    ]
    for kept, held in splits(trial.folds):
        situation = learn_situation(
            trial.rows(kept), by_environment=by_environment, has_prefixes=any(cuts)
        )
        prior = situation.stack.combine(rows_of(trial.forecasts, held))
        for cut, one in zip(cuts, found, strict=True):
            observed = trial.targets[held].copy()
            observed[:, cut:] = np.nan
            forecast, spread = quantile_forecast(
                situation, prior, trial.names[held], observed
            )
            one.mean[held], one.quantiles[:, held] = forecast.mean, spread
    return found


def _of_trial(
    situation: str, trial: Trial, fitted: Fitted, confidence: float
) -> Iterator[dict[str, object]]:
    is_new = situation == NEW
    learned = fitted.model.new if is_new else fitted.model.known
    stack = (learned or fitted.model.known).stack
    weights = dict(zip(stack.members, stack.weights.tolist(), strict=True))
    for model, one in _rivals(trial).items():
        found = held_out(one, [0], by_environment=is_new)[0]
        for row in _scores(trial, found, 0, confidence):
            yield _row((situation, 0.0, model), weights.get(model), confidence, row)
    cuts = [max(round(share * trial.targets.shape[1]), 1) for share in PREFIXES]
    ours = held_out(trial, cuts, by_environment=is_new)
    for share, cut, found in zip(PREFIXES, cuts, ours, strict=True):
        last = _last_value(trial, cut)
        for model, told in ((STACK, found), (LAST_VALUE, last)):
            for row in _scores(trial, told, cut, confidence):
                yield _row((situation, share, model), None, confidence, row)


def _rivals(trial: Trial) -> dict[str, Trial]:
    """The stack, each member alone, and the stack without each member."""
    judged = {STACK: trial}
    if len(trial.forecasts) > 1:
        judged |= {name: trial.only(name) for name in trial.forecasts}
        judged |= {f"{WITHOUT}{name}": trial.without(name) for name in trial.forecasts}
    return judged


def last_value_forward(targets: Floats, cut: int) -> Floats:
    """Each run's last known value for every later point, shape ``(runs, points)``."""
    before = filled(targets[:, :cut])
    rest = targets.shape[1] - cut
    return np.hstack([before, np.repeat(before[:, -1:], rest, axis=1)])


def last_value_gaps(targets: Floats, cut: int) -> Floats:
    """Quantiles of how far runs come away from their last known value.

    Returns:
        At ``LEVELS``, shape ``(levels, points - cut)``.
    """
    gaps = (targets - last_value_forward(targets, cut))[:, cut:]
    known = np.isfinite(gaps).any(axis=0)
    spread = np.zeros((len(LEVELS), gaps.shape[1]))
    spread[:, known] = np.nanquantile(gaps[:, known], LEVELS, axis=0)
    return spread


def _last_value(trial: Trial, cut: int) -> Held:
    """As a rival of the stack: its intervals come from the other folds."""
    mean = last_value_forward(trial.targets, cut)
    quantiles = np.repeat(mean[None], len(LEVELS), axis=0)
    for kept, held in splits(trial.folds):
        gaps = last_value_gaps(trial.targets[kept], cut)
        quantiles[:, held, cut:] += gaps[:, None]
    return Held(mean, quantiles)


def _scores(
    trial: Trial, found: Held, cut: int, confidence: float
) -> Iterator[dict[str, object]]:
    """For all runs, and for those of each environment."""
    truth = trial.targets.copy()
    reference = np.nanmean(filled(truth), axis=0)
    truth[:, :cut] = np.nan
    levels = ((1 - confidence) / 2, (1 + confidence) / 2)
    low, high = (_at(found.quantiles, level) for level in levels)
    for name in (ALL, *np.unique(trial.names).tolist()):
        mine = trial.names == name if name != ALL else np.ones(len(truth), np.bool_)
        real, guess, ends = truth[mine], found.mean[mine], (low[mine], high[mine])
        if not np.isfinite(real).any():
            continue
        yield {
            "environment": name,
            "n_runs": int(np.isfinite(real).any(axis=1).sum()),
            "r_squared": r_squared(real, guess, reference),
            "mean_absolute_error": mean_absolute_error(real, guess),
            "crps": float(np.nanmean(crps(real, found.quantiles[:, mine]))),
            "rank_correlation": rank_correlation_inside(real, guess, trial.names[mine]),
            "coverage_rate": float(np.nanmean(covered(real, *ends))),
            "interval_width": _width(real, *ends),
        }


def _width(real: Floats, low: Floats, high: Floats) -> float:
    return float((high - low)[np.isfinite(real)].mean())


def _at(quantiles: Floats, level: float) -> Floats:
    place = int(np.abs(LEVELS - level).argmin())
    return np.asarray(quantiles[place])


def _row(
    which: tuple[str, float, str],
    weight: float | None,
    confidence: float,
    scores: Mapping[str, object],
) -> dict[str, object]:
    names = ("situation", "observed_fraction", "model")
    about = dict(zip(names, which, strict=True))
    is_all = scores["environment"] == ALL
    own = float(weight) if weight is not None and is_all else None
    return {**about, **scores, "confidence": confidence, "weight": own}
