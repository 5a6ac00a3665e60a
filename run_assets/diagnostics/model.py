"""What rules look at and what they say: a run, its series, outcomes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from run_assets.diagnostics.levels import Blocks, blocks_of
from run_assets.diagnostics.roles import Direction, Parts

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]
State = Literal["fired", "clear", "not_testable"]
Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")
WHOLE_RUN = "*"
"""The metric of an outcome that is about no single metric."""


@dataclass(frozen=True)
class Series:
    """One metric of a run, in the order of its steps, never sampled.

    Attributes:
        metric: Name of the metric.
        steps: Shape ``(n,)``, strictly ascending.
        values: Shape ``(n,)``; NaN and infinities are values that were logged.
        seconds: Shape ``(n,)``: when logged, in seconds since 1970; NaN if unknown.
    """

    metric: str
    steps: Steps
    values: Floats
    seconds: Floats

    @cached_property
    def finite(self) -> "Series":
        """Without NaN and infinities."""
        kept = np.isfinite(self.values)
        return self if kept.all() else self.where(kept)

    def where(self, kept: NDArray[np.bool_]) -> "Series":
        """Some of its points."""
        return Series(
            self.metric, self.steps[kept], self.values[kept], self.seconds[kept]
        )

    def from_place(self, start: int, end: int | None = None) -> "Series":
        """Points from one place to before another."""
        kept = slice(start, end)
        return Series(
            self.metric, self.steps[kept], self.values[kept], self.seconds[kept]
        )

    @cached_property
    def blocks(self) -> Blocks:
        """Its levels; of a finite series with at least 8 points."""
        return blocks_of(self.values)

    @property
    def size(self) -> int:
        """Number of points."""
        return int(self.values.size)

    def step(self, place: int) -> int:
        """The step of a place."""
        return int(self.steps[place])


def together(*series: Series) -> tuple[Steps, list[Floats]]:
    """The values of several series at the steps where all are finite.

    Returns:
        The shared steps, shape ``(n,)``, and the values of each, shape ``(n,)``.
    """
    steps = series[0].finite.steps
    for one in series[1:]:
        steps = np.intersect1d(steps, one.finite.steps, assume_unique=True)
    places = [np.searchsorted(one.finite.steps, steps) for one in series]
    found = [one.finite.values[at] for one, at in zip(series, places, strict=True)]
    return steps, found


@dataclass(frozen=True)
class Run:
    """Everything the rules may know of one run.

    Attributes:
        path: The run's key.
        state: As W&B says: running, finished, failed, crashed, killed, unknown.
        series: By metric.
        parts: Which metric plays which part, and which direction is good.
        last_step: Last logged step.
        history_rows: Rows that were logged.
        runtime_seconds: From its start to its last sign of life.
        system: System metrics by name; steps are samples.
        config: Text of each config value, by dotted key.
        summary: The summary's numbers, by metric.
        artifacts: Type and name of what it logged.
        goals: Directions that the run itself declared (``define_metric``).
    """

    path: str
    state: str
    series: Mapping[str, Series]
    parts: Parts
    last_step: int | None = None
    history_rows: int = 0
    runtime_seconds: float | None = None
    system: Mapping[str, Series] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, float] = field(default_factory=dict)
    artifacts: tuple[tuple[str, str], ...] = ()
    goals: Mapping[str, Direction] = field(default_factory=dict)

    def of(self, role: str) -> list[Series]:
        """The series that play a part, by name; system metrics come last."""
        logged, sampled = self._names
        found = [self.series[one] for one in self.parts.players(role, logged)]
        return found + [self.system[one] for one in self.parts.players(role, sampled)]

    @cached_property
    def _names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return tuple(self.series), tuple(self.system)

    def one(self, role: str) -> Series | None:
        """The longest series of a part; ``None`` where nothing plays it."""
        return max(self.of(role), key=lambda one: one.size, default=None)

    def setting(self, role: str) -> float | None:
        """The number of a config key that plays a part."""
        keys = self.parts.players(role, tuple(f"config.{key}" for key in self.config))
        for key in keys:
            try:
                return float(self.config[key.removeprefix("config.")])
            except ValueError:
                continue
        return None

    def direction(self, metric: str) -> Direction:
        """Which way is good: as the config declares, else as the run does."""
        declared = self.parts.direction(metric)
        return self.goals.get(metric, "none") if declared == "none" else declared


@dataclass(frozen=True)
class Effect:
    """How large something is, with its 95 % interval where there is one."""

    size: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What one rule found in one metric of one run.

    Attributes:
        state: ``fired``, ``clear`` or ``not_testable``.
        metric: What it is about; `WHOLE_RUN` for the run.
        severity: Other than the rule's, where it depends.
        steps: First and last step that it is about.
        statistic: What was compared with the threshold.
        threshold: From where on the rule fires.
        n_points: Values it was computed from.
        effect: How large it is.
        evidence: What a reader needs to believe it.
        reason: Why it could not be tested, or why it is clear all the same.
    """

    state: State
    metric: str = WHOLE_RUN
    severity: Severity | None = None
    steps: tuple[int | None, int | None] = (None, None)
    statistic: float | None = None
    threshold: float | None = None
    n_points: int = 0
    effect: Effect | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None


def not_testable(reason: str, metric: str = WHOLE_RUN, n_points: int = 0) -> Outcome:
    """A rule that could not be tested, and why."""
    return Outcome("not_testable", metric, n_points=n_points, reason=reason)


def worst(severities: Iterable[Severity]) -> Severity | None:
    """The worst of some severities; ``None`` where there are none.

    >>> worst(["info", "error", "warning"])
    'error'
    """
    return max(severities, key=SEVERITIES.index, default=None)


def is_at_least(severity: Severity, least: Severity) -> bool:
    """Whether a severity is as bad as another, or worse."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(least)
