"""Intervals that are shaped by what happened to similar forecasts.

A run that is expected to reach the top can only fall short, one that is expected to
learn nothing can only surprise. So residuals of held-out runs whose forecasts were
alike say more about the form of an interval than the residuals of all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from run_assets.curves.examples import Floats, Forecast, filled
from run_assets.curves.scores import LEVELS

FEWEST_RUNS = 300
"""With fewer, the nearest forecasts are not near."""
_NEIGHBOURS = 60
_PLACES = (0.125, 0.333, 0.667, 1.0)
_MOST_POINTS = 25
_CHUNK = 500


@dataclass(frozen=True)
class Shapes:
    """Held-out forecasts, and how far off they were.

    Attributes:
        forecasts: Mean and scatter at a few points, shape ``(runs, 8)``.
        standardized: Residuals over the predicted scatter at some points, shape
            ``(runs, places)``; gaps filled.
    """

    forecasts: Floats
    standardized: Floats

    def quantiles(self, prior: Forecast) -> Floats:
        """Shape ``(levels, runs, points)``, in the unit of the forecast."""
        points = prior.mean.shape[1]
        thin = _thinned(points)
        scale = self.forecasts.std(axis=0) + 1e-3
        asked, known = _places(prior) / scale, self.forecasts / scale
        found = np.empty((len(LEVELS), *prior.mean.shape))
        for start in range(0, len(asked), _CHUNK):
            rows = slice(start, start + _CHUNK)
            gaps = ((asked[rows, None] - known[None]) ** 2).sum(axis=2)
            near = np.argpartition(gaps, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
            shape = np.quantile(self.standardized[near], LEVELS, axis=1)
            whole = _between(shape, thin, points)
            found[:, rows] = prior.mean[rows] + whole * prior.sd[rows]
        return found

    def state(self) -> Mapping[str, Floats]:
        """As arrays."""
        return dict(vars(self))

    @classmethod
    def from_state(cls, arrays: Mapping[str, Floats]) -> Self:
        """The shapes that ``state`` was taken from."""
        names = cls.__dataclass_fields__
        return cls(*(np.asarray(arrays[name]) for name in names))


def fit_shapes(prior: Forecast, targets: Floats) -> Shapes | None:
    """From out-of-fold forecasts and what happened; ``None`` with too few runs."""
    if len(targets) < FEWEST_RUNS:
        return None
    residuals = filled(targets) - prior.mean
    thin = _thinned(targets.shape[1])
    return Shapes(_places(prior), (residuals / prior.sd)[:, thin])


def _places(prior: Forecast) -> Floats:
    points = prior.mean.shape[1]
    at = [min(int(share * points), points - 1) for share in _PLACES]
    return np.hstack([prior.mean[:, at], prior.sd[:, at]])


def _thinned(points: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    count = min(points, _MOST_POINTS)
    return np.unique(np.linspace(0, points - 1, count).round().astype(np.int64))


def _between(
    shape: Floats, thin: "np.ndarray[tuple[int], np.dtype[np.int64]]", points: int
) -> Floats:
    """Straight lines along the last axis, from some points to all."""
    place = np.interp(np.arange(points), thin, np.arange(len(thin)))
    low = np.minimum(place.astype(int), max(len(thin) - 2, 0))
    share = place - low
    high = np.minimum(low + 1, len(thin) - 1)
    return np.asarray((1 - share) * shape[..., low] + share * shape[..., high])
