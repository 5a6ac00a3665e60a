"""What models learn from: encoded configurations and curves on one grid."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Names = NDArray[np.str_]


@dataclass(frozen=True)
class CurveTable:
    """Runs as their configurations and curves, nothing encoded or scaled.

    Attributes:
        run_paths: Of each run, shape ``(runs,)``.
        features: One row a run, one column a feature; null where unknown.
        environments: Name of each run's environment, shape ``(runs,)``.
        tasks: Name of each run's task, shape ``(runs,)``.
        curves: Rewards at the grid's points, shape ``(runs, points)``; NaN where a
            run has none.
    """

    run_paths: Names
    features: pl.DataFrame
    environments: Names
    tasks: Names
    curves: Floats

    def __len__(self) -> int:
        """How many runs."""
        return len(self.run_paths)

    @property
    def points(self) -> int:
        """Points of the grid."""
        return int(self.curves.shape[1])

    def rows(self, chosen: Ints | Bools) -> Self:
        """Some of the runs, by position or by a mask."""
        index = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        return type(self)(
            self.run_paths[index],
            self.features[index],
            self.environments[index],
            self.tasks[index],
            self.curves[index],
        )


@dataclass(frozen=True)
class Examples:
    """Encoded configurations, with the curves where these are known.

    Attributes:
        environment: Encoded features, shape ``(runs, environment columns)``.
        agent: Encoded features, shape ``(runs, agent columns)``.
        names: Name of each run's environment, shape ``(runs,)``.
        targets: Scaled rewards, shape ``(runs, points)``; NaN where unknown.
    """

    environment: Floats
    agent: Floats
    names: Names
    targets: Floats

    def __len__(self) -> int:
        """How many runs."""
        return len(self.names)

    @property
    def inputs(self) -> Floats:
        """All encoded features, shape ``(runs, columns)``."""
        return np.hstack([self.environment, self.agent])

    def rows(self, chosen: Ints | Bools) -> Self:
        """Some of the runs, by position or by a mask."""
        return type(self)(
            self.environment[chosen],
            self.agent[chosen],
            self.names[chosen],
            self.targets[chosen],
        )


@dataclass(frozen=True)
class Forecast:
    """A prediction of curves: their mean, and how far they scatter about it.

    Attributes:
        mean: Shape ``(runs, points)``, in the unit of the targets.
        sd: Standard deviation, shape ``(runs, points)``, above 0.
    """

    mean: Floats
    sd: Floats


def filled(curves: Floats) -> Floats:
    """Curves without gaps: interpolated inside, the end values held outside.

    Held, because a run that was killed would be dropped otherwise, which biases final
    values upward. A row without any value is 0.

    Args:
        curves: Shape ``(runs, points)``, NaN where unknown.

    >>> filled(np.array([[np.nan, 1.0, np.nan, 3.0, np.nan]])).tolist()
    [[1.0, 1.0, 2.0, 3.0, 3.0]]
    """
    whole = curves.copy()
    at = np.arange(curves.shape[1])
    for row in np.flatnonzero(np.isnan(curves).any(axis=1)):
        known = np.isfinite(curves[row])
        whole[row] = np.interp(at, at[known], curves[row, known]) if known.any() else 0
    return whole
