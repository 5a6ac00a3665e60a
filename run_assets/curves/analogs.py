"""Runs that once stood where a run stands now, and what became of them.

A run that has begun is compared with held-out runs at the same point: last value,
trend, restlessness, and what their forecasts said. What the nearest ones did from there
is a distribution without any assumption about its form, such as "stays at 0, or
learns".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from run_assets.curves.examples import Floats, Forecast, filled
from run_assets.curves.scores import LEVELS

_NEIGHBOURS = 30
_SHARE_OF_RUNS = 0.25
_LATELY = 0.1
_ANCHOR = 0.5
_EMPHASIS = (1.0, 1.0, 1.0, 2.0, 1.0, 1.0, 0.5)


@dataclass(frozen=True)
class Analogs:
    """Held-out runs: their forecasts and what happened.

    Attributes:
        mean: Out-of-fold means, shape ``(runs, points)``.
        sd: Their scatter.
        curves: What happened; gaps filled, ends held.
    """

    mean: Floats
    sd: Floats
    curves: Floats

    def futures(
        self, moved: Forecast, prior: Floats, own: Forecast, observed: Floats
    ) -> tuple[Floats, Floats]:
        """Means and quantiles of the rest of some runs.

        Args:
            moved: Conditioned forecast of the runs.
            prior: Their means by configuration alone, shape ``(runs, points)``.
            own: Conditioned forecast of the held-out runs, cut at the same point.
            observed: Known points of the runs, the last one at the cut.

        Returns:
            Means ``(runs, tail)`` and quantiles ``(levels, runs, tail)``.
        """
        last = int(np.flatnonzero(np.isfinite(observed).any(axis=0))[-1])
        theirs = _standing(self.curves, own.mean, self.mean, last)
        mine = _standing(filled(observed), moved.mean, prior, last)
        scale = (theirs.std(axis=0) + 1e-3) / np.array(_EMPHASIS)
        gaps = _squared_distances(mine / scale, theirs / scale)
        count = max(min(_NEIGHBOURS, int(_SHARE_OF_RUNS * len(theirs))), 1)
        near = np.argsort(gaps, axis=1, kind="stable")[:, :count]
        apart = np.take_along_axis(gaps, near, axis=1)
        weights = 1 / (apart + apart.mean(axis=1, keepdims=True) + 1e-12)
        weights /= weights.sum(axis=1, keepdims=True)
        # Half of where a run stands is carried over: neither its level nor only its
        # rise is what neighbours share.
        rises = (self.curves[:, last + 1 :] - _ANCHOR * theirs[:, [1]])[near]
        base = _ANCHOR * mine[:, [1]]
        means = base + np.einsum("rk,rkt->rt", weights, rises)
        return means, base + np.quantile(rises, LEVELS, axis=1)

    def state(self) -> Mapping[str, Floats]:
        """As arrays, in 32 bit."""
        return {name: one.astype(np.float32) for name, one in vars(self).items()}

    @classmethod
    def from_state(cls, arrays: Mapping[str, Floats]) -> Self:
        """The runs that ``state`` was taken from."""
        names = cls.__dataclass_fields__
        return cls(*(np.asarray(arrays[name], dtype=np.float64) for name in names))


def fit_analogs(prior: Forecast, targets: Floats) -> Analogs:
    """Keep the forecasts of held-out runs and what happened, as they are stored."""
    curves = filled(targets)
    return Analogs(
        *(
            one.astype(np.float32).astype(np.float64)
            for one in (prior.mean, prior.sd, curves)
        )
    )


def _standing(curves: Floats, moved: Floats, prior: Floats, last: int) -> Floats:
    """Where runs stand at a point, shape ``(runs, 7)``."""
    points = curves.shape[1]
    window = max(round(_LATELY * points), 3)
    lately = curves[:, max(last + 1 - window, 0) : last + 1]
    before = curves[:, max(last + 1 - 2 * window, 0) : max(last + 1 - window, 1)]
    level = lately.mean(axis=1)
    middle = (last + 1 + points) // 2
    return np.stack(
        [
            curves[:, last],
            level,
            level - before.mean(axis=1),
            lately.std(axis=1),
            moved[:, -1],
            moved[:, min(middle, points - 1)],
            prior[:, -1],
        ],
        axis=1,
    )


def _squared_distances(these: Floats, those: Floats) -> Floats:
    squares = (these**2).sum(1)[:, None] + (those**2).sum(1) - 2 * these @ those.T
    return np.asarray(np.maximum(squares, 0))
