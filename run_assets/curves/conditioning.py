"""What is learned from points that a run has already, in closed form.

Residuals of a forecast are one Gaussian process over the grid, whose covariance comes
from out-of-fold residuals. Given the first points of a curve, the rest follows without
training anything. Because the last value carried forward is hard to beat where curves
have flattened out, the two are blended, with weights fitted out of fold for each place
to which a curve has come and each distance from there. The result is averaged with what
became of the held-out runs that stood at the same place (``analogs``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from run_assets.curves.analogs import Analogs, fit_analogs
from run_assets.curves.calibration import weighted_quantiles
from run_assets.curves.examples import Bools, Floats, Forecast, Ints
from run_assets.curves.members import SMALLEST_SD
from run_assets.curves.scores import LEVELS
from run_assets.curves.stack import variance_weights

CUTS: Floats = np.array(
    [0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
)
"""Shares of the budget after which curves are cut to fit the blend."""
_DISTANCES: Floats = np.array([0.02, 0.1, 0.3, 0.6, 1.0])
"""Horizons, as shares of what remains, at which a blend is fitted."""
_COMPONENTS = 15
_JITTER = 1e-3
_LATELY = 0.1
_MOST_SURPRISE = 4.0
_CONSTANT = 1e-2
_FEWEST = 8
_MOST_TAIL_POINTS = 6
_UNFITTED: Floats = np.array([1.0, 0.0, 0.0, 0.0])


@dataclass(frozen=True)
class Blend:
    """How process and last value are blended, by cut and horizon.

    Attributes:
        trust: Weight of the process against the last value, ``(cuts, horizons)``.
        variances: Weights of ``_variances``, ``(cuts, horizons, 4)``.
        quantiles: Of the blend's standardized residuals,
            ``(cuts, horizons, levels)``.
    """

    trust: Floats
    variances: Floats
    quantiles: Floats

    def at(self, last: int, points: int) -> "Blend":
        """For each point behind the last known one; the first axis is gone.

        Between cuts and between horizons the tables are interpolated.
        """
        place = float(np.interp((last + 1) / points, CUTS, np.arange(len(CUTS))))
        low = min(int(place), len(CUTS) - 2)
        share = place - low
        horizon = (np.arange(last + 1, points) - last) / max(points - 1 - last, 1)
        spot = np.interp(horizon, _DISTANCES, np.arange(len(_DISTANCES)))
        near = np.minimum(spot.astype(int), len(_DISTANCES) - 2)
        rest = spot - near

        def between(table: Floats) -> Floats:
            row = (1 - share) * table[low] + share * table[low + 1]
            weights = rest.reshape(-1, *[1] * (row.ndim - 1))
            return np.asarray((1 - weights) * row[near] + weights * row[near + 1])

        return Blend(*map(between, (self.trust, self.variances, self.quantiles)))


@dataclass(frozen=True)
class Conditioning:
    """Covariance of standardized residuals, and the blend with the last value.

    Attributes:
        covariance: Shape ``(points, points)``.
        blend: Fitted out of fold.
        analogs: Held-out runs to compare with.
    """

    covariance: Floats
    blend: Blend
    analogs: Analogs

    def predict(self, prior: Forecast, observed: Floats) -> tuple[Forecast, Floats]:
        """The forecast of runs that have come some way, and its quantiles.

        Args:
            prior: By the configurations alone.
            observed: Known points, shape ``(runs, points)``; NaN elsewhere, and at
                least one a run.

        Returns:
            The forecast, equal to what is known where it is known, and its quantiles,
            shape ``(levels, runs, points)``.
        """
        moved = process(self.covariance, prior, observed)
        mean, sd = moved.mean.copy(), moved.sd.copy()
        known = np.isfinite(observed)
        quantiles = mean + _normal_levels()[:, None, None] * sd
        ends = observed.shape[1] - 1 - known[:, ::-1].argmax(axis=1)
        for last in np.unique(ends):
            rows = np.flatnonzero(ends == last)
            tail = np.arange(last + 1, observed.shape[1])
            blend = self.blend.at(int(last), observed.shape[1])
            part = Forecast(mean[rows], sd[rows])
            held = held_value(observed[rows], int(last))
            variances = _variances(part, observed[rows], int(last))
            spread = np.sqrt(np.einsum("rtk,tk->rt", variances, blend.variances))
            middle = blend.trust * part.mean[:, tail] + (1 - blend.trust) * held
            mean[np.ix_(rows, tail)] = middle
            sd[np.ix_(rows, tail)] = np.maximum(spread, SMALLEST_SD)
            told = middle + blend.quantiles.T[:, None] * sd[np.ix_(rows, tail)]
            past = self._held_out(int(last))
            means, spread = self.analogs.futures(
                part, prior.mean[rows], past, observed[rows]
            )
            mean[np.ix_(rows, tail)] = (middle + means) / 2
            quantiles[:, rows[:, None], tail] = (told + spread) / 2
        mean[known], sd[known] = observed[known], 0.0
        quantiles[:, known] = observed[known]
        return Forecast(mean, sd), quantiles

    def _held_out(self, last: int) -> Forecast:
        """The held-out runs, conditioned on their curves up to a point."""
        observed = self.analogs.curves.copy()
        observed[:, last + 1 :] = np.nan
        prior = Forecast(self.analogs.mean, self.analogs.sd)
        return process(self.covariance, prior, observed)

    def state(self) -> tuple[Mapping[str, Floats], dict[str, Any]]:
        """As arrays."""
        kept = {f"analogs.{name}": one for name, one in self.analogs.state().items()}
        return {"covariance": self.covariance, **vars(self.blend), **kept}, {}

    @classmethod
    def from_state(cls, arrays: Mapping[str, Floats]) -> Self:
        """The conditioning that ``state`` was taken from."""
        names = Blend.__dataclass_fields__
        blend = Blend(*(np.asarray(arrays[name]) for name in names))
        kept = {
            name: arrays[f"analogs.{name}"] for name in Analogs.__dataclass_fields__
        }
        covariance = np.asarray(arrays["covariance"])
        return cls(covariance, blend, Analogs.from_state(kept))


def process(covariance: Floats, prior: Forecast, observed: Floats) -> Forecast:
    """Mean and scatter of the Gaussian process, given the known points of each run.

    Args:
        covariance: Of standardized residuals, shape ``(points, points)``.
        prior: By the configurations alone.
        observed: Shape ``(runs, points)``; NaN where unknown.
    """
    mean, sd = prior.mean.copy(), prior.sd.copy()
    known = np.isfinite(observed)
    for rows in _with_same_mask(known):
        mask = known[rows[0]]
        if not mask.any() or mask.all():
            continue
        seen, rest = np.ix_(rows, mask), np.ix_(rows, ~mask)
        z = (observed[seen] - prior.mean[seen]) / prior.sd[seen]
        # Early points scatter little: one surprise must not move the whole curve.
        z = np.clip(z, -_MOST_SURPRISE, _MOST_SURPRISE)
        moved, share = conditional(covariance, mask, z)
        mean[rest] = prior.mean[rest] + moved * prior.sd[rest]
        sd[rest] = np.maximum(prior.sd[rest] * share, SMALLEST_SD)
    return Forecast(mean, sd)


def _with_same_mask(known: Bools) -> list[Ints]:
    """Positions of the runs that know the same points."""
    if len(known) and (known == known[0]).all():
        return [np.arange(len(known))]
    found: dict[bytes, list[int]] = {}
    for row, mask in enumerate(np.packbits(known, axis=1)):
        found.setdefault(mask.tobytes(), []).append(row)
    return [np.array(rows) for rows in found.values()]


def held_value(observed: Floats, last: int) -> Floats:
    """The last known value of each run, shape ``(runs, 1)``."""
    return observed[:, [last]]


def _variances(moved: Forecast, observed: Floats, last: int) -> Floats:
    """What the scatter of the rest may come from, shape ``(runs, tail, 4)``.

    The process' own variance; how far it is from the last value; how restless the run
    was lately; and a constant.
    """
    tail = np.arange(last + 1, observed.shape[1])
    held = held_value(observed, last)
    window = max(round(_LATELY * observed.shape[1]), 3)
    lately = observed[:, max(last + 1 - window, 0) : last + 1] - held
    restless = np.nanmean(lately**2, axis=1, keepdims=True)
    shape = (len(observed), len(tail))
    parts = (
        moved.sd[:, tail] ** 2,
        (moved.mean[:, tail] - held) ** 2,
        np.broadcast_to(restless, shape),
        np.full(shape, _CONSTANT),
    )
    return np.stack(parts, axis=2)


def conditional(covariance: Floats, mask: Bools, z: Floats) -> tuple[Floats, Floats]:
    """The unknown coordinates of a centred Gaussian, given the known ones.

    Source: Rasmussen and Williams 2006, *Gaussian Processes for Machine Learning*,
    equation 2.19.

    Args:
        covariance: Shape ``(points, points)``.
        mask: Which points are known, shape ``(points,)``.
        z: Their values, shape ``(runs, known)``.

    Returns:
        Means, shape ``(runs, unknown)``, and standard deviations as a share of those
        without knowing anything, shape ``(unknown,)``.
    """
    inside = covariance[np.ix_(mask, mask)]
    inside = inside + _JITTER * np.eye(len(inside))
    across = covariance[np.ix_(~mask, mask)]
    gain = np.linalg.solve(inside, across.T).T
    before = np.diag(covariance)[~mask]
    after = before - np.einsum("uk,uk->u", gain, across)
    share = np.sqrt(np.clip(after / np.maximum(before, 1e-12), 1e-4, 1.0))
    return z @ gain.T, share


def fit_conditioning(prior: Forecast, targets: Floats) -> Conditioning:
    """From out-of-fold forecasts and what happened.

    Args:
        prior: Of runs it was not fitted on.
        targets: Shape ``(runs, points)``; NaN where unknown.
    """
    covariance = residual_covariance((targets - prior.mean) / prior.sd)
    shape = (len(CUTS), len(_DISTANCES))
    trust, variances = np.ones(shape), np.tile(_UNFITTED, (*shape, 1))
    quantiles = np.tile(_normal_levels(), (*shape, 1))
    for number, cut in enumerate(CUTS):
        last = max(round(cut * targets.shape[1]) - 1, 0)
        reached = np.isfinite(targets[:, last]) & np.isfinite(targets[:, last + 1])
        if reached.sum() < _FEWEST:
            continue
        part = Forecast(prior.mean[reached], prior.sd[reached])
        found = _fit_cut(covariance, part, targets[reached], last)
        trust[number], variances[number], quantiles[number] = found
    blend = Blend(trust, variances, quantiles)
    return Conditioning(covariance, blend, fit_analogs(prior, targets))


def residual_covariance(standardized: Floats) -> Floats:
    """Second moments of residuals, over pairs of points that a run has both.

    The largest components are kept, and the rest as independent noise: that is smooth,
    positive definite and needs few runs.
    """
    known = np.isfinite(standardized)
    values = np.where(known, np.clip(standardized, -8, 8), 0.0)
    counts = known.astype(np.float64).T @ known
    moments = values.T @ values / np.maximum(counts, 1)
    sizes, directions = np.linalg.eigh(moments)
    kept = min(_COMPONENTS, len(sizes))
    large, basis = np.maximum(sizes[-kept:], 0), directions[:, -kept:]
    smooth = (basis * large) @ basis.T
    noise = np.maximum(np.diag(moments) - np.diag(smooth), 1e-3)
    return np.asarray(smooth + np.diag(noise))


def _fit_cut(
    covariance: Floats, prior: Forecast, targets: Floats, last: int
) -> tuple[Floats, Floats, Floats]:
    """Trust, variances and quantiles by horizon, for curves cut behind one point."""
    observed = targets.copy()
    observed[:, last + 1 :] = np.nan
    moved = process(covariance, prior, observed)
    points = targets.shape[1]
    parts = _variances(moved, observed, last)
    horizon = (np.arange(last + 1, points) - last) / max(points - 1 - last, 1)
    held = held_value(observed, last)
    trust, variances, quantiles = [], [], []
    for distance in _DISTANCES:
        near = _nearest(horizon, distance)
        tail = last + 1 + near
        truth, mean = targets[:, tail], moved.mean[:, tail]
        trust.append(_trust(truth, mean, held))
        missed = truth - (trust[-1] * mean + (1 - trust[-1]) * held)
        known = np.isfinite(missed)
        own = parts[:, near]
        each = np.full(int(known.sum()), 1.0)
        variances.append(variance_weights(own[known], missed[known] ** 2, each))
        sd = np.maximum(np.sqrt(own @ variances[-1]), SMALLEST_SD)
        quantiles.append(
            weighted_quantiles(missed / sd, np.ones(len(truth)), len(truth))
        )
    return np.array(trust), np.stack(variances), np.stack(quantiles)


def _nearest(horizon: Floats, distance: float) -> Ints:
    """Positions of the tail that lie nearest to a horizon; a few, for speed."""
    gaps = np.abs(horizon - distance)
    close = np.flatnonzero(gaps <= np.abs(horizon[:, None] - _DISTANCES).min(axis=1))
    found = close if close.size else np.array([int(gaps.argmin())])
    few = np.linspace(0, len(found) - 1, min(len(found), _MOST_TAIL_POINTS))
    chosen: Ints = found[np.unique(few.round().astype(int))]
    return chosen


def _trust(truth: Floats, mean: Floats, held: Floats) -> float:
    """Least squares between the process and the last value, in [0, 1]."""
    known = np.isfinite(truth)
    apart = np.where(known, mean - held, 0.0)
    missed = np.where(known, truth - held, 0.0)
    size = (apart**2).sum()
    return float(np.clip((apart * missed).sum() / size, 0, 1)) if size else 1.0


def _normal_levels() -> Floats:
    from scipy.special import ndtri

    return np.asarray(ndtri(LEVELS))
