"""Curves as a few numbers: principal components, and what noise is left."""

from dataclasses import dataclass

import numpy as np

from run_assets.curves.examples import Floats


@dataclass(frozen=True)
class Components:
    """Principal components of curves.

    Attributes:
        mean: Mean curve, shape ``(points,)``.
        basis: Orthonormal, shape ``(components, points)``.
        scales: Standard deviation of each component's scores, above 0.
    """

    mean: Floats
    basis: Floats
    scales: Floats

    def scores(self, curves: Floats) -> Floats:
        """Of curves without gaps, shape ``(runs, components)``."""
        return np.asarray((curves - self.mean) @ self.basis.T)

    def curves(self, scores: Floats) -> Floats:
        """Shape ``(runs, points)``."""
        return np.asarray(self.mean + scores @ self.basis)


def fit_components(curves: Floats, count: int) -> Components:
    """The directions in which curves differ most.

    Args:
        curves: Without gaps, shape ``(runs, points)``.
        count: At most so many; never more than there are runs or points.
    """
    mean = curves.mean(axis=0)
    _, spread, basis = np.linalg.svd(curves - mean, full_matrices=False)
    basis = basis[:count]
    # The sign of a component is arbitrary; here its largest entry is positive.
    largest = basis[np.arange(len(basis)), np.abs(basis).argmax(axis=1)]
    basis = basis * np.where(largest < 0, -1.0, 1.0)[:, None]
    scales = spread[:count] / np.sqrt(max(len(curves), 1))
    return Components(mean, basis, np.maximum(scales, 1e-9))
