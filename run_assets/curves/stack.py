"""One forecast out of several: non-negative weights, fitted out of fold.

A member that does not help gets weight 0. Means are combined by least squares, averaged
over resamples of the groups (environments, or runs): with few groups a single fit puts
everything on the member that was lucky in them. For the same reason the weights start
from equal shares of the members that learn, as if so many groups had asked for them.
The variance is a non-negative sum of the members' variances and of a constant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from run_assets.curves.examples import Floats, Forecast, Names
from run_assets.curves.members import BASELINES, SMALLEST_SD, scatter

_ROUNDS = 4
_RESAMPLES = 50
_PRIOR_GROUPS = 60
_MOST_POINTS = 25


@dataclass(frozen=True)
class Stack:
    """Weights of the members.

    Attributes:
        members: Their names, in the order of the weights.
        weights: Of their means, at least 0, shape ``(members,)``.
        variance_weights: Of their variances and, last, of ``noise``; at least 0.
        noise: Scatter of the stack's own residuals, shape ``(points,)``.
    """

    members: tuple[str, ...]
    weights: Floats
    variance_weights: Floats
    noise: Floats

    def combine(self, forecasts: Mapping[str, Forecast]) -> Forecast:
        """The stack's forecast."""
        told = [forecasts[name] for name in self.members]
        mean = _sum(self.weights, [one.mean for one in told])
        variance = _sum(self.variance_weights[:-1], [one.sd**2 for one in told])
        variance = variance + self.variance_weights[-1] * self.noise**2
        return Forecast(mean, np.maximum(np.sqrt(variance), SMALLEST_SD))

    def state(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "members": list(self.members),
            "weights": self.weights.tolist(),
            "variance_weights": self.variance_weights.tolist(),
            "noise": self.noise.tolist(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The stack that ``state`` was taken from."""
        arrays = (np.array(state[name]) for name in _ARRAYS)
        return cls(tuple(state["members"]), *arrays)


_ARRAYS = ("weights", "variance_weights", "noise")


def fit_stack(
    forecasts: Mapping[str, Forecast], targets: Floats, groups: Names, *, seed: int
) -> Stack:
    """Weights by out-of-fold forecasts; every run counts alike.

    Args:
        forecasts: Of each member, for runs it was not fitted on.
        targets: What happened, shape ``(runs, points)``; NaN where unknown.
        groups: What is resampled as one, shape ``(runs,)``.
        seed: Of the resamples.
    """
    names = tuple(forecasts)
    thin = _thinned(targets.shape[1])
    truth = targets[:, thin]
    means = np.stack([forecasts[name].mean[:, thin] for name in names], axis=2)
    learns = np.array([name not in BASELINES for name in names], dtype=np.float64)
    first = learns / max(learns.sum(), 1)
    rng = np.random.default_rng(seed)
    weights = _bagged_weights(means, truth, groups, first, rng)
    mean = _sum(weights, [forecasts[name].mean for name in names])
    residuals = targets - mean
    noise = scatter(residuals)
    columns = [forecasts[name].sd ** 2 for name in names]
    columns.append(np.tile(noise**2, (len(targets), 1)))
    known, each = _equal_runs(truth)
    variances = np.stack([one[:, thin][known] for one in columns], axis=1)
    squares = residuals[:, thin][known] ** 2
    return Stack(names, weights, variance_weights(variances, squares, each), noise)


def _bagged_weights(
    means: Floats,
    truth: Floats,
    groups: Names,
    first: Floats,
    rng: np.random.Generator,
) -> Floats:
    """Mean of the weights over Bayesian bootstrap resamples of the groups.

    Source: Breiman 1996, "Stacked regressions" (non-negative weights); Rubin 1981, "The
    Bayesian bootstrap".

    Args:
        means: Shape ``(runs, points, members)``.
        truth: Shape ``(runs, points)``; NaN where unknown.
        groups: Shape ``(runs,)``.
        first: The weights to start from; all 0 where none of the members learns.
        rng: Of the resamples.
    """
    known = np.isfinite(truth)
    share = known / np.maximum(known.sum(axis=1, keepdims=True), 1)
    aim = np.where(known, truth, 0.0)
    grams = np.einsum("rpm,rp,rpn->rmn", means, share, means, optimize=True)
    trust = _PRIOR_GROUPS if first.any() else 0.0
    aims = np.einsum("rpm,rp,rp->rm", means, share, aim, optimize=True)
    _, members = np.unique(groups, return_inverse=True)
    count = int(members.max()) + 1
    found = []
    for _ in range(_RESAMPLES):
        each = rng.exponential(size=count)[members]
        gram = np.einsum("r,rmn->mn", each, grams)
        pull = trust / count * gram
        aim = np.einsum("r,rm->m", each, aims) + pull @ first
        found.append(_least_squares(gram + pull, aim))
    return np.asarray(np.mean(found, axis=0))


def variance_weights(variances: Floats, squares: Floats, each: Floats) -> Floats:
    """Least squares of squared residuals, each relative to the variance so far.

    Iterated, that is the maximum likelihood of normal residuals.

    Args:
        variances: Of each source, shape ``(values, sources)``; the last is a constant.
        squares: Squared residuals, shape ``(values,)``.
        each: Weight of each value.
    """
    weights = np.zeros(variances.shape[1])
    weights[-1] = 1.0
    for _ in range(_ROUNDS):
        so_far = np.maximum(variances @ weights, SMALLEST_SD**2)
        weights = _non_negative(variances, squares, np.sqrt(each) / so_far)
        if not weights.any():
            weights[-1] = 1.0
    return weights


def _non_negative(columns: Floats, truth: Floats, scale: Floats) -> Floats:
    """Weighted least squares under non-negative coefficients."""
    scaled = columns * scale[:, None]
    return _least_squares(scaled.T @ scaled, scaled.T @ (truth * scale))


def _least_squares(gram: Floats, aim: Floats) -> Floats:
    """Non-negative solution of normal equations, by their Cholesky factor.

    Source: Lawson and Hanson 1974, *Solving Least Squares Problems*, chapter 23.
    """
    from scipy.optimize import nnls

    ridge = 1e-9 * max(np.trace(gram), 1e-12) * np.eye(len(gram))
    factor = np.linalg.cholesky(gram + ridge)
    return np.asarray(nnls(factor.T, np.linalg.solve(factor, aim))[0])


def _equal_runs(targets: Floats) -> tuple[np.ndarray[Any, Any], Floats]:
    """Which points are known, and a weight of each that makes runs count alike."""
    known = np.isfinite(targets)
    counts = np.maximum(known.sum(axis=1, keepdims=True), 1)
    return known, np.broadcast_to(1 / counts, targets.shape)[known]


def _thinned(points: int) -> np.ndarray[Any, Any]:
    """At most 25 points: neighbours say nearly the same."""
    count = min(points, _MOST_POINTS)
    return np.unique(np.linspace(0, points - 1, count).round().astype(int))


def _sum(weights: Floats, arrays: Sequence[Floats]) -> Floats:
    return np.asarray(
        sum(weight * one for weight, one in zip(weights, arrays, strict=True))
    )
