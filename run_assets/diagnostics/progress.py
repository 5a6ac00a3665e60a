"""Progress: whether, how fast and how long the run improves."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from run_assets.diagnostics.levels import (
    Blocks,
    change_between,
)
from run_assets.diagnostics.model import Effect, Outcome, Run, Series, not_testable
from run_assets.diagnostics.registry import Limits, series_rule
from run_assets.diagnostics.trends import Slope, theil_sen

Floats = NDArray[np.float64]

GOALS = ("loss", "reward", "success_rate", "elo")
_NO_DIRECTION = (
    "no good direction is declared: set diagnostics.metrics.<role>.direction or log "
    "define_metric(…, goal=…)"
)
_TAILS = (0.3, 0.45, 0.6)
_MILESTONES = (0.25, 0.5, 0.75, 0.9)


def sign_of(run: Run, series: Series) -> int:
    """1 where higher is better, -1 where lower is, 0 where nobody said."""
    return {"higher": 1, "lower": -1, "none": 0}[run.direction(series.metric)]


@series_rule(
    "RUN010",
    "plateau",
    "info",
    *GOALS,
    min_points=60,
    slope_rate=0.2,
    ceiling=0.95,
    floor=0.02,
    learning_rate_left=0.1,
)
def plateau(run: Run, series: Series, limits: Limits) -> Outcome:
    """The metric improved and then stopped improving.

    Test: The Theil-Sen slope against the logarithm of the step in the last 30, 45
    or 60 % of the run, plus 1.64 standard errors corrected for autocorrelation, is
    below `slope_rate` times the slope before it, which is positive beyond 3 errors.

    Traps: Against the step itself every healthy learning curve flattens. "No evidence
    of a trend" is no plateau. Where the learning rate has decayed below
    `learning_rate_left` of its peak a flat end is the schedule's: that end is left
    out. A rate at its `ceiling`, or a loss at its `floor` (as a share of its first
    level), has arrived.

    Hypothesis: It has reached what the task can give; or the policy has nothing more to
    learn from these data or opponents, the learning rate no longer fits, or the model
    is too small.

    Suggestion: Vary the learning rate schedule, the diversity of opponents or data and
    the sampling temperature before spending more steps on it.

    Source: The playbook's pattern 2; Sen 1968; Geyer 1992 (autocorrelation).
    """
    sign = sign_of(run, series)
    if not sign:
        return not_testable(_NO_DIRECTION, series.metric, series.size)
    series = _before_decay(run, series, limits)
    x = _log_steps(series)
    y = sign * series.values
    found = _flattest(x, y)
    if found is None:
        reason = "it has not improved, so it cannot have stopped"
        return not_testable(reason, series.metric, y.size)
    place, before, tail = found
    rate = (tail.value + 1.645 * tail.error) / before.value
    arrived = _arrived(series, sign, limits)
    is_flat = rate < limits["slope_rate"]
    is_bad = is_flat and arrived is None
    return Outcome(
        "fired" if is_bad else "clear",
        series.metric,
        steps=(series.step(place), series.step(-1)) if is_bad else (None, None),
        statistic=rate,
        threshold=limits["slope_rate"],
        n_points=y.size,
        effect=_as_effect(tail, sign),
        evidence={
            "slope_before": sign * before.value,
            "slope_now": sign * tail.value,
            "gain_if_steps_double": tail.value * float(np.log(2)),
            "last_step_looked_at": series.step(-1),
        },
        reason=arrived if is_flat else None,
    )


def _before_decay(run: Run, series: Series, limits: Limits) -> Series:
    """Without the end in which the learning rate was nearly zero."""
    rate = run.one("learning_rate")
    if rate is None or rate.finite.size < 2:
        return series
    values = rate.finite.values
    least = limits["learning_rate_left"] * float(values.max())
    low = values < least
    if not low[-1] or low.all():
        return series
    since = int(np.flatnonzero(~low)[-1]) + 1
    kept = series.where(series.steps < rate.finite.step(since))
    return kept if kept.size >= limits["min_points"] else series


def _log_steps(series: Series) -> Floats:
    first = series.steps[0]
    spacing = max((int(series.steps[-1]) - int(first)) / max(series.size - 1, 1), 1e-9)
    return np.asarray(np.log((series.steps - first) / spacing + 1.0))


def _flattest(x: Floats, y: Floats) -> tuple[int, Slope, Slope] | None:
    """Where the curve bends most: the place, the slope before and the slope behind.

    ``None`` where it did not improve for sure before any of the places. A long flat
    end is seen surely in a long tail, a short one only in a short tail.
    """
    n = y.size
    best: tuple[float, int, Slope, Slope] | None = None
    for share in _TAILS:
        place = int((1 - share) * n)
        before = theil_sen(x[int(0.03 * n) : place], y[int(0.03 * n) : place])
        if before.value - 3 * before.error <= 0:
            continue
        tail = theil_sen(x[place:], y[place:])
        rate = (tail.value + 1.645 * tail.error) / before.value
        if best is None or rate < best[0]:
            best = rate, place, before, tail
    return None if best is None else best[1:]


def _arrived(series: Series, sign: int, limits: Limits) -> str | None:
    """Why a flat end is success."""
    level = float(np.median(series.values[-max(series.size // 10, 5) :]))
    first = float(np.median(series.values[: max(series.size // 20, 5)]))
    low, high = float(series.values.min()), float(series.values.max())
    if sign > 0 and low >= 0 and high <= 1 and level >= limits["ceiling"]:
        return f"a rate of {level:.3g} is at its ceiling"
    if sign < 0 and low >= 0 and level <= limits["floor"] * first:
        return f"{level:.3g} is {level / first:.1%} of the first level"
    return None


def _as_effect(slope: Slope, sign: int) -> Effect:
    low, high = sorted(sign * one for one in slope.interval())
    return Effect(sign * slope.value, low, high)


@series_rule(
    "RUN011",
    "regression",
    "warning",
    *GOALS,
    score=5,
    gain_rate=0.1,
    error_rate=0.5,
)
def regression(run: Run, series: Series, limits: Limits) -> Outcome:
    """The metric ends well below the best level it had.

    Test: The last block's median is worse than the best block's by `score` standard
    errors corrected for autocorrelation, and by `gain_rate` of what had been gained. An
    error from `error_rate` on.

    Traps: The best single value of a noisy curve is luck, so levels of blocks are
    compared. A run that only just started to improve has no gain to lose.

    Hypothesis: The policy forgets or over-fits; the data or the opponents have changed;
    an update was too large.

    Suggestion: Take the checkpoint of the best block, and compare learning rate, data
    and opponents around the step where it turned.

    Source: The playbook's step 2 (regressions) and pattern 4.
    """
    sign = sign_of(run, series)
    if not sign:
        return not_testable(_NO_DIRECTION, series.metric, series.size)
    blocks = series.blocks.times(sign)
    best = int(np.argmax(blocks.levels))
    drop = change_between(blocks, best, -1)
    gained = float(blocks.levels[best] - blocks.levels.min())
    lost = -drop.size / gained if gained > 0 else 0.0
    is_bad = -drop.score > limits["score"] and lost > limits["gain_rate"]
    low, high = sorted(sign * one for one in drop.interval())
    return Outcome(
        "fired" if is_bad else "clear",
        series.metric,
        "error" if lost > limits["error_rate"] else None,
        steps=(series.step(int(blocks.starts[best])), series.step(-1))
        if is_bad
        else (None, None),
        statistic=lost,
        threshold=limits["gain_rate"],
        n_points=series.size,
        effect=Effect(sign * drop.size, low, high),
        evidence={
            "best_level": sign * float(blocks.levels[best]),
            "best_step": series.step(int(blocks.starts[best])),
            "final_level": sign * float(blocks.levels[-1]),
            "standard_errors": -drop.score,
        },
    )


@series_rule("RUN012", "improving", "info", *GOALS, score=4)
def improving(run: Run, series: Series, limits: Limits) -> Outcome:
    """The metric is better at the end than at the start, beyond noise.

    Test: The last block's median is better than the first's by `score` standard
    errors corrected for autocorrelation.

    Traps: It says nothing about how good the end is, nor about what lies between.

    Hypothesis: The run learns.

    Suggestion: Compare how far it came with runs of the same configuration.

    Source: The playbook's step 2 (is the reward improving?).
    """
    sign = sign_of(run, series)
    if not sign:
        return not_testable(_NO_DIRECTION, series.metric, series.size)
    blocks = series.blocks.times(sign)
    change = change_between(blocks, 0, -1)
    low, high = sorted(sign * one for one in change.interval())
    is_better = change.score > limits["score"]
    return Outcome(
        "fired" if is_better else "clear",
        series.metric,
        steps=(series.step(0), series.step(-1)) if is_better else (None, None),
        statistic=change.score,
        threshold=limits["score"],
        n_points=series.size,
        effect=Effect(sign * change.size, low, high),
        evidence={
            "first_level": sign * float(blocks.levels[0]),
            "final_level": sign * float(blocks.levels[-1]),
        },
    )


@series_rule("RUN013", "slow-convergence", "info", *GOALS, score=4, late_rate=0.8)
def slow_convergence(run: Run, series: Series, limits: Limits) -> Outcome:
    """Most of the gain came late in the run.

    Test: The level of a block first reaches 90 % of the whole gain after `late_rate`
    of the steps. The evidence has the steps of 25, 50, 75 and 90 %.

    Traps: Without a gain beyond noise there is nothing to converge. Levels of blocks
    are used, since a single lucky value reaches anything.

    Hypothesis: The run was stopped before it had converged, or it took long to find
    its first successes.

    Suggestion: Give it more steps; if the first quarter of the gain came late, look at
    exploration and warm-up.

    Source: The playbook's step 11 (convergence speed).
    """
    sign = sign_of(run, series)
    if not sign:
        return not_testable(_NO_DIRECTION, series.metric, series.size)
    blocks = series.blocks.times(sign)
    if change_between(blocks, 0, -1).score < limits["score"]:
        reason = "no gain beyond noise between first and last block"
        return not_testable(reason, series.metric, series.size)
    reached = milestones(blocks, series)
    share = _share_of_run(series, reached["90%"])
    is_late = share > limits["late_rate"]
    return Outcome(
        "fired" if is_late else "clear",
        series.metric,
        steps=(reached["25%"], reached["90%"]) if is_late else (None, None),
        statistic=share,
        threshold=limits["late_rate"],
        n_points=series.size,
        effect=Effect(share),
        evidence={"steps_to_share_of_gain": reached},
    )


def milestones(blocks: Blocks, series: Series) -> dict[str, int]:
    """The first step at which a block's level has a share of the gain."""
    first, last = blocks.levels[0], blocks.levels[-1]
    share = (blocks.levels - first) / (last - first)
    return {
        f"{goal:.0%}": series.step(int(blocks.starts[int(np.argmax(share >= goal))]))
        for goal in _MILESTONES
    }


def _share_of_run(series: Series, step: int) -> float:
    whole = series.step(-1) - series.step(0)
    return (step - series.step(0)) / whole if whole else 0.0


@series_rule("RUN014", "still-improving", "info", *GOALS, min_points=60, gain_rate=0.05)
def still_improving(run: Run, series: Series, limits: Limits) -> Outcome:
    """The metric is still improving where the run ends.

    Test: The slope against the logarithm of the step in the last 30 % of the run is
    positive beyond 3 standard errors, and twice as many steps would add `gain_rate`
    of the gain so far.

    Traps: The forecast holds only as long as the curve goes on as it did, and a
    decaying learning rate ends it.

    Hypothesis: The run was stopped early.

    Suggestion: Continue it from its last checkpoint; the evidence says what twice as
    many steps would bring.

    Source: The playbook's pattern 2 (more training steps).
    """
    sign = sign_of(run, series)
    if not sign:
        return not_testable(_NO_DIRECTION, series.metric, series.size)
    y = sign * series.values
    start = int(0.7 * y.size)
    tail = theil_sen(_log_steps(series)[start:], y[start:])
    blocks = series.blocks.times(sign)
    gained = float(blocks.levels.max() - blocks.levels[0])
    more = tail.value * float(np.log(2))
    share = more / gained if gained > 0 else 0.0
    is_rising = tail.value > 3 * tail.error and share > limits["gain_rate"]
    told: dict[str, Any] = {"gain_if_steps_double": more, "gain_so_far": gained}
    return Outcome(
        "fired" if is_rising else "clear",
        series.metric,
        steps=(series.step(start), series.step(-1)) if is_rising else (None, None),
        statistic=share,
        threshold=limits["gain_rate"],
        n_points=series.size,
        effect=_as_effect(tail, sign),
        evidence=told,
    )
