"""Rewards of different tasks on one scale, and the way back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from run_assets.curves.examples import Floats, Names
from run_assets.strict import Bounds

CLIP = (-1.5, 2.5)
"""Scaled rewards beyond are clipped: diverged is not a hundred times worse."""
_QUANTILES = (0.05, 0.95)
_SMALLEST = 1e-9


@dataclass(frozen=True)
class TargetScale:
    """The rewards that become 0 and 1, by task; fitted on the training rows only.

    Attributes:
        tasks: Names; a task that is none of them has the last row's scale.
        low: Reward that becomes 0, shape ``(tasks + 1,)``; the last is of all tasks.
        high: Reward that becomes 1.
        sign: 1 where larger rewards are better, else -1.
    """

    tasks: tuple[str, ...]
    low: Floats
    high: Floats
    sign: int = 1

    def scale(self, curves: Floats, tasks: Names, *, is_clipped: bool = True) -> Floats:
        """Rewards as targets, larger is better.

        Args:
            curves: Shape ``(runs, points)``, in the unit of the reward.
            tasks: Of each run.
            is_clipped: Cut at ``CLIP``.
        """
        low, high = self._ends(tasks)
        scaled = (curves - low) / (high - low)
        return np.clip(scaled, *CLIP) if is_clipped else scaled

    def unscale(self, targets: Floats, tasks: Names) -> Floats:
        """Targets as rewards; ``targets`` may have leading axes, such as levels."""
        low, high = self._ends(tasks)
        return np.asarray(low + targets * (high - low))

    def widths(self, tasks: Names) -> Floats:
        """Reward per unit of the target, without sign, shape ``(runs, 1)``."""
        low, high = self._ends(tasks)
        return np.abs(high - low)

    def is_clipped(self, curves: Floats, tasks: Names) -> np.ndarray[Any, Any]:
        """Runs that leave ``CLIP`` at any point, shape ``(runs,)``."""
        scaled = self.scale(curves, tasks, is_clipped=False)
        outside = (scaled < CLIP[0]) | (scaled > CLIP[1])
        return np.asarray(outside.any(axis=1))

    def state(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "tasks": list(self.tasks),
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "sign": self.sign,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The scale that ``state`` was taken from."""
        ends = (np.array(state["low"]), np.array(state["high"]))
        return cls(tuple(state["tasks"]), *ends, state["sign"])

    def _ends(self, tasks: Names) -> tuple[Floats, Floats]:
        place = {name: at for at, name in enumerate(self.tasks)}
        rows = np.array([place.get(one, -1) for one in tasks.tolist()], int)
        low, high = self.low[rows, None], self.high[rows, None]
        return (low, high) if self.sign > 0 else (high, low)


def fit_target_scale(
    curves: Floats, tasks: Names, anchors: Mapping[str, Bounds], *, is_maximized: bool
) -> TargetScale:
    """Recorded anchors where there are any, the 5th and 95th percentile elsewhere.

    Args:
        curves: Of the training runs, shape ``(runs, points)``; NaN where unknown.
        tasks: Of each run.
        anchors: By task.
        is_maximized: Larger rewards are better.
    """
    names = sorted(set(tasks.tolist()) | set(anchors))
    ends = [
        _ends(curves[tasks == name], anchors.get(name), _quantiles(curves))
        for name in names
    ]
    ends.append(_quantiles(curves))
    low, high = np.array(ends).T
    return TargetScale(tuple(names), low, high, 1 if is_maximized else -1)


def _ends(
    curves: Floats, anchor: Bounds | None, fallback: tuple[float, float]
) -> tuple[float, float]:
    if anchor is not None:
        return anchor.low, anchor.high
    return _quantiles(curves) if np.isfinite(curves).any() else fallback


def _quantiles(curves: Floats) -> tuple[float, float]:
    known = curves[np.isfinite(curves)]
    if not known.size:
        return 0.0, 1.0
    low, high = (float(one) for one in np.quantile(known, _QUANTILES))
    return (low, high) if high - low > _SMALLEST * max(abs(high), 1) else (low, low + 1)
