"""A run against others: how its final levels differ, with intervals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from run_assets.diagnostics.levels import blocks_of
from run_assets.diagnostics.model import Run, Series

_MOST_SETTINGS = 30


@dataclass(frozen=True)
class Difference:
    """One metric against the baseline.

    Attributes:
        metric: Its name.
        value: Final level of the run.
        baseline: Mean final level of the baseline's runs.
        difference: The one less the other.
        low: Lower end of the difference's 95 % interval; ``None`` without one.
        high: Upper end.
        n_baseline: Runs of the baseline with the metric.
        verdict: better, worse, different or unclear.
        first_step: The step at which the run reached the baseline's level.
        baseline_step: The step at which the baseline's runs reached it, their median.
    """

    metric: str
    value: float
    baseline: float
    difference: float
    low: float | None
    high: float | None
    n_baseline: int
    verdict: str
    first_step: int | None
    baseline_step: float | None


def differences(
    run: Run, baseline: Sequence[Run], roles: Sequence[str]
) -> Iterator[Difference]:
    """Metrics that play one of some parts in the run and in the baseline.

    With one run as the baseline the interval is that of the two final levels, from
    their scatter within the runs: it does not know how much two runs of the same
    configuration differ. With more, it says where one more run of the baseline's kind
    would lie.
    """
    names = dict.fromkeys(one.metric for role in roles for one in run.of(role))
    for metric in names:
        mine = run.series.get(metric)
        others = [one.series[metric] for one in baseline if metric in one.series]
        usable = [one.finite for one in others if one.finite.size >= 2]
        if mine is not None and mine.finite.size >= 2 and usable:
            yield _difference(run, mine.finite, usable)


def _difference(run: Run, mine: Series, others: Sequence[Series]) -> Difference:
    level, error = final_level(mine)
    levels = np.array([final_level(one)[0] for one in others])
    center = float(levels.mean())
    size = level - center
    k = levels.size
    if k > 1:
        half = float(stdtrit(k - 1, 0.975) * levels.std(ddof=1))
        half *= float(np.sqrt(1 + 1 / k))
    else:
        half = 1.96 * float(np.hypot(error, final_level(others[0])[1]))
    sign = {"higher": 1, "lower": -1, "none": 0}[run.direction(mine.metric)]
    steps = [reached(one, center, sign) for one in others]
    known = [one for one in steps if one is not None]
    return Difference(
        mine.metric,
        level,
        center,
        size,
        size - half,
        size + half,
        k,
        _verdict(size, half, sign),
        reached(mine, center, sign),
        float(np.median(known)) if known else None,
    )


def final_level(series: Series) -> tuple[float, float]:
    """Median of the last block, and its error; of a short series its last value.

    Args:
        series: Finite, with at least one value.
    """
    if series.size < 30:
        return float(series.values[-1]), float("nan")
    blocks = series.blocks
    return float(blocks.levels[-1]), float(blocks.errors[-1])


def reached(series: Series, level: float, sign: int) -> int | None:
    """The first step at which a block's level is as good as another, if ever."""
    if not sign or series.size < 30:
        return None
    blocks = blocks_of(series.values, min(series.size // 5, 100))
    good = np.flatnonzero(sign * blocks.levels >= sign * level)
    return series.step(int(blocks.starts[good[0]])) if good.size else None


def _verdict(size: float, half: float, sign: int) -> str:
    if not abs(size) > half:  # also where the error is not known
        return "unclear"
    if not sign:
        return "different"
    return "better" if size * sign > 0 else "worse"


def differing_settings(
    run: Run, baseline: Sequence[Run]
) -> Iterator[tuple[str, str, str]]:
    """Config keys whose value is not the baseline's, with both."""
    if not baseline:
        return
    keys = sorted({*run.config, *(key for one in baseline for key in one.config)})
    count = 0
    for key in keys:
        theirs = sorted({one.config.get(key, "") for one in baseline})
        mine = run.config.get(key, "")
        if theirs != [mine] and count < _MOST_SETTINGS:
            count += 1
            yield key, mine, ", ".join(theirs[:3])
