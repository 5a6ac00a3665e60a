"""What the first finished runs of a new environment say about its other runs.

Residuals of forecasts for unseen environments are an effect of the environment plus
what differs between its runs. In component space both variances are estimated once, and
the effect of a new environment follows in closed form.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from run_assets.curves.components import Components, fit_components
from run_assets.curves.examples import Floats, Forecast, Names, filled
from run_assets.curves.members import SMALLEST_SD

_COMPONENTS = 12


@dataclass(frozen=True)
class EnvironmentEffects:
    """Variances of component scores of residuals, between and within environments.

    Attributes:
        basis: Orthonormal, shape ``(components, points)``.
        between: Shape ``(components,)``.
        within: Shape ``(components,)``.
    """

    basis: Floats
    between: Floats
    within: Floats

    def shrinkage(self, runs: int) -> Floats:
        """Share of the mean residual of some runs that is the environment's effect."""
        total = self.between + self.within / max(runs, 1)
        share = self.between / np.maximum(total, 1e-12)
        return share if runs else np.zeros_like(share)

    def update(self, prior: Forecast, residuals: Floats) -> Forecast:
        """Move forecasts of one environment by what its finished runs showed.

        Source: Searle, Casella and McCulloch 1992, *Variance Components*, section 7.2
        (best linear unbiased prediction of a random effect).

        Args:
            prior: Of the runs to forecast.
            residuals: Of the finished runs, shape ``(finished, points)``, NaN where
                unknown.
        """
        share = self.shrinkage(len(residuals))
        scores = filled(residuals) @ self.basis.T
        moved = (share * scores.mean(axis=0)) @ self.basis if len(residuals) else 0.0
        before = (self.between + self.within) @ self.basis**2
        after = (self.between * (1 - share) + self.within) @ self.basis**2
        ratio = np.sqrt(np.clip(after / np.maximum(before, 1e-12), 0.05, 1.0))
        sd = np.maximum(prior.sd * ratio, SMALLEST_SD)
        return Forecast(prior.mean + moved, sd)

    def state(self) -> tuple[Mapping[str, Floats], dict[str, Any]]:
        """As arrays."""
        return dict(vars(self)), {}

    @classmethod
    def from_state(cls, arrays: Mapping[str, Floats]) -> Self:
        """The effects that ``state`` was taken from."""
        return cls(*(np.asarray(arrays[name]) for name in cls.__dataclass_fields__))


def fit_environment_effects(residuals: Floats, names: Names) -> EnvironmentEffects:
    """Variance components of residuals of forecasts that never saw the environment.

    Source: the analysis of variance for a one-way random layout of unequal group sizes
    (Searle, Casella and McCulloch 1992, section 3.6).

    Args:
        residuals: Shape ``(runs, points)``; NaN where unknown.
        names: Environment of each run.
    """
    whole = filled(residuals)
    # The effect is about zero, so that residuals are not centred.
    parts: Components = fit_components(np.vstack([whole, -whole]), _COMPONENTS)
    scores = whole @ parts.basis.T
    _, members, sizes = np.unique(names, return_inverse=True, return_counts=True)
    groups, runs = len(sizes), len(names)
    sums = np.zeros((groups, scores.shape[1]))
    np.add.at(sums, members, scores)
    means = sums / sizes[:, None]
    inside = ((scores - means[members]) ** 2).sum(axis=0) / max(runs - groups, 1)
    # Shrunken means of zero expectation: E[mean^2] = between + within / size.
    outside = (means**2 - inside / sizes[:, None]).mean(axis=0)
    return EnvironmentEffects(parts.basis, np.maximum(outside, 0.0), inside)
