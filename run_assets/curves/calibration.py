"""Quantiles that keep what they promise, by environment.

Standardized residuals of out-of-fold forecasts are pooled with equal weight for each
environment, and their quantiles are corrected for how few environments there are.

Source: Lee, Barber and Willett 2023, "Distribution-free inference with hierarchical
data"; there, too, a group that is drawn like the others is covered on average.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from run_assets.curves.examples import Floats, Names
from run_assets.curves.scores import LEVELS

_SECTIONS = 5
_ENOUGH_RUNS = 20
_FACTOR_LEVELS = (0.5, 0.8, 0.9)


@dataclass(frozen=True)
class Calibration:
    """Quantiles of standardized residuals, by section of the grid.

    Attributes:
        quantiles: Shape ``(levels, sections)``.
        names: Environments with a scale of their own.
        factors: Their scales, relative to all, shape ``(environments,)``.
        n_groups: How many environments, or runs, were drawn.
    """

    quantiles: Floats
    names: tuple[str, ...]
    factors: Floats
    n_groups: int

    def at(self, points: int) -> Floats:
        """Quantiles at each point, shape ``(levels, points)``."""
        middles = (np.arange(_SECTIONS) + 0.5) * points / _SECTIONS
        where = np.arange(points) + 0.5
        return np.stack([np.interp(where, middles, row) for row in self.quantiles])

    def factor(self, names: Names) -> Floats:
        """Scale of each run by its environment, shape ``(runs, 1)``; 1 if unknown."""
        known = dict(zip(self.names, self.factors, strict=True))
        return np.array([[known.get(name, 1.0)] for name in names.tolist()])

    def state(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "quantiles": self.quantiles.tolist(),
            "names": list(self.names),
            "factors": self.factors.tolist(),
            "n_groups": self.n_groups,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The calibration that ``state`` was taken from."""
        return cls(
            np.array(state["quantiles"]),
            tuple(state["names"]),
            np.array(state["factors"]),
            state["n_groups"],
        )


def calibrate(
    standardized: Floats, names: Names, *, by_environment: bool
) -> Calibration:
    """Quantiles of residuals that are divided by their predicted scatter.

    Args:
        standardized: Out of fold, shape ``(runs, points)``; NaN where unknown.
        names: Environment of each run.
        by_environment: Calibrate for environments that were never seen: each one counts
            alike, whatever its number of runs. Otherwise each run counts alike, and an
            environment with many runs gets a scale of its own.
    """
    if by_environment:
        _, members, sizes = np.unique(names, return_inverse=True, return_counts=True)
        weights, groups = 1 / sizes[members], len(sizes)
        labels: tuple[str, ...] = ()
        factors: Floats = np.zeros(0)
    else:
        labels, factors = _factors(standardized, names)
        known = dict(zip(labels, factors.tolist(), strict=True))
        own = np.array([[known.get(name, 1.0)] for name in names.tolist()])
        standardized = standardized / own
        weights, groups = np.ones(len(names)), len(names)
    sections = np.array_split(np.arange(standardized.shape[1]), _SECTIONS)
    columns = [
        weighted_quantiles(standardized[:, one], weights, groups) for one in sections
    ]
    return Calibration(np.stack(columns, axis=1), labels, factors, groups)


def weighted_quantiles(values: Floats, weights: Floats, groups: int) -> Floats:
    """Quantiles at ``LEVELS``, moved outward by the correction for a finite sample.

    Args:
        values: Shape ``(runs, points)``; NaN does not count.
        weights: Of each run, spread over its known points, shape ``(runs,)``.
        groups: Independent draws: a central interval of confidence ``c`` is made of
            the quantiles for ``c (groups + 1) / groups``, as far as the outermost ones.
    """
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(len(LEVELS))
    share = weights[:, None] / np.maximum(known.sum(axis=1, keepdims=True), 1)
    flat, mass = values[known], np.broadcast_to(share, values.shape)[known]
    order = np.argsort(flat, kind="stable")
    flat, mass = flat[order], mass[order]
    reached = np.cumsum(mass) - mass / 2
    inside = np.clip((2 * LEVELS - 1) * (groups + 1) / groups, -1, 1)
    return np.asarray(np.interp((1 + inside) / 2, reached / mass.sum(), flat))


def _factors(standardized: Floats, names: Names) -> tuple[tuple[str, ...], Floats]:
    """How far each environment's residuals reach, relative to all; shrunk by size."""
    everything = _reach(standardized)
    labels, factors = [], []
    for name in np.unique(names):
        mine = standardized[names == name]
        if len(mine) < _ENOUGH_RUNS:
            continue
        trust = len(mine) / (len(mine) + _ENOUGH_RUNS)
        ratio = _reach(mine) / everything
        labels.append(str(name))
        factors.append(float(np.exp(trust * np.mean(np.log(ratio)))))
    return tuple(labels), np.array(factors)


def _reach(standardized: Floats) -> Floats:
    sizes = np.abs(standardized[np.isfinite(standardized)])
    return np.asarray(np.maximum(np.quantile(sizes, _FACTOR_LEVELS), 1e-6))
