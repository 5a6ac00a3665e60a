"""How runs end: the mean of the last tenth of a curve, predicted and observed."""

import numpy as np

from run_assets.curves.examples import CurveTable, Floats, Names
from run_assets.curves.model import Prediction
from run_assets.curves.scores import LEVELS, final_value

_LAST = 0.1


def final_mean(prediction: Prediction) -> Floats:
    """Predicted final rewards, shape ``(runs,)``."""
    return final_value(prediction.mean)


def final_quantiles(prediction: Prediction) -> Floats:
    """Of the final reward, shape ``(levels, runs)``.

    Points of the last tenth move together, so that their quantiles are averaged.
    """
    count = max(round(_LAST * prediction.mean.shape[1]), 1)
    return np.asarray(prediction.quantiles[:, :, -count:].mean(axis=2))


def probability_better(quantiles: Floats, best: Floats, sign: int) -> Floats:
    """Chance that a final reward is better than the best so far; NaN without one.

    Args:
        quantiles: Shape ``(levels, runs)``, ascending.
        best: Shape ``(runs,)``.
        sign: 1 where larger is better, else -1.

    >>> quantiles = np.linspace(0.025, 0.975, 39)[:, None]
    >>> float(probability_better(quantiles, np.array([0.75]), 1).round(6)[0])
    0.25
    """
    found = [
        np.interp(limit, column, LEVELS, left=0.0, right=1.0)
        for limit, column in zip(best, quantiles.T, strict=True)
    ]
    below = np.array(found)
    return np.where(np.isfinite(best), 1 - below if sign > 0 else below, np.nan)


def expected_improvement(quantiles: Floats, best: Floats, sign: int) -> Floats:
    """Mean gain over the best so far, counting losses as 0; shape ``(runs,)``.

    Source: Jones, Schonlau and Welch 1998, "Efficient global optimization", section
    4.1, for a distribution that is given by quantiles.
    """
    return np.asarray(np.maximum(sign * (quantiles - best), 0).mean(axis=0))


def best_finals(ended: CurveTable, names: Names, sign: int) -> Floats:
    """Best final reward of the ended runs of each environment; NaN where none ended.

    Args:
        ended: Runs that have ended.
        names: Environments that are asked about, shape ``(runs,)``.
        sign: 1 where larger is better, else -1.
    """
    finals = final_value(ended.curves)
    best: dict[str, float] = {}
    for name, final in zip(ended.environments.tolist(), finals.tolist(), strict=True):
        if np.isfinite(final):
            best[name] = sign * max(sign * final, sign * best.get(name, final))
    return np.array([best.get(name, np.nan) for name in names.tolist()])
