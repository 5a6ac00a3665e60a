"""Instability: the optimization itself goes wrong."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri, stdtr

from run_assets.diagnostics.levels import blocks_of, change_between
from run_assets.diagnostics.model import (
    Effect,
    Outcome,
    Run,
    Series,
    not_testable,
)
from run_assets.diagnostics.registry import Limits, run_rule, series_rule
from run_assets.diagnostics.robust import median
from run_assets.diagnostics.spikes import Spikes, spikes

Floats = NDArray[np.float64]

_LISTED = 10
_NO_DIRECTION = "nobody declared that a lower loss is better"
_ESSENTIAL = ("loss", "reward", "gradient_norm", "kl")


@series_rule(
    "RUN001", "loss-spike", "warning", "loss", score=6, ratio=1.2, warm_up_rate=0.05
)
def loss_spike(run: Run, series: Series, limits: Limits) -> Outcome:
    """The loss jumps far above its own recent level.

    Test: The residual of the log loss from the median of the values before it (a
    twentieth of the run, 15 to 101 values) exceeds `score` standard deviations of the
    residuals before it, and the loss `ratio` times its level. The score grows with the
    tails of the noise, as far as the largest downward residuals show them.

    Traps: A z-score over the whole run fires on every falling curve. The first steps
    are warm-up. A loss at or below zero has no ratio: its differences are used.
    Sampled histories miss spikes of one step; nothing is sampled here.

    Hypothesis: The learning rate is too high for this batch size, or gradients are not
    clipped, or a batch of bad data was met.

    Suggestion: Look at the gradient norm just before it and at the data of that step;
    lower the learning rate, enlarge the batch or clip gradients.

    Source: The playbook's pattern 1; BLOOM training chronicles (spikes that a human
    marked); MosaicML llm-foundry, KillLossSpike (outliers against a recent window).
    """
    if run.direction(series.metric) != "lower":
        return not_testable(_NO_DIRECTION, series.metric, series.size)
    found = spikes(
        series.values, limits["score"], limits["ratio"], limits["warm_up_rate"]
    )
    more = _around(run, series, found)
    return _spiked(series, found, limits["ratio"], more)


@series_rule(
    "RUN002",
    "gradient-spike",
    "warning",
    "gradient_norm",
    score=6,
    ratio=4,
    warm_up_rate=0.05,
)
def gradient_spike(run: Run, series: Series, limits: Limits) -> Outcome:
    """The gradient norm jumps far above its own recent level.

    Test: As RUN001, with a larger `ratio`, since gradient norms scatter by factors.
    The evidence says by how many steps it led a spike of the loss.

    Traps: Norms are log-normal, so a multiple of the mean is no spike. The warm-up
    is benign. A norm logged after clipping hides spikes; a norm of exactly zero is a
    placeholder and is left out.

    Hypothesis: A few examples dominate the update, or the loss surface is steep here:
    learning rate too high, no clipping, or numbers too coarse (half precision).

    Suggestion: Clip the gradient norm below the spike, lower the learning rate, or
    skip such steps; a spike that leads the loss is a warning that comes in time.

    Source: The playbook's pattern 1; BLOOM tr11 (the norm rose four steps before the
    loss did).
    """
    logged = series.where(series.values > 0)
    if logged.size < limits["min_points"]:
        return not_testable("the norm is zero throughout", series.metric, series.size)
    found = spikes(
        logged.values, limits["score"], limits["ratio"], limits["warm_up_rate"]
    )
    more = _lead(run, logged, found)
    return _spiked(logged, found, limits["ratio"], more)


def _spiked(
    series: Series, found: Spikes, threshold: float, more: dict[str, Any]
) -> Outcome:
    if found.places.size == 0:
        return Outcome(
            "clear",
            series.metric,
            threshold=threshold,
            n_points=series.size,
            evidence={"score_limit": found.limit},
        )
    worst = int(np.argmax(found.scores))
    place, length = int(found.places[worst]), int(found.lengths[worst])
    kind = "ratio" if found.is_ratio else "rise"
    listed = [
        {
            "step": series.step(int(at)),
            kind: float(ratio),
            "score": float(score),
        }
        for at, ratio, score in zip(
            found.places[:_LISTED], found.ratios, found.scores, strict=False
        )
    ]
    return Outcome(
        "fired",
        series.metric,
        steps=(series.step(place), series.step(place + length - 1)),
        statistic=float(found.ratios[worst]),
        threshold=threshold,
        n_points=series.size,
        effect=Effect(float(found.ratios[worst])),
        evidence={
            "n_spikes": int(found.places.size),
            "value": float(series.values[place : place + length].max()),
            "level_before": float(found.levels[worst]),
            "score": float(found.scores[worst]),
            "score_limit": found.limit,
            "n_values": length,
            "spikes": listed,
            **more,
        },
    )


def _around(run: Run, series: Series, found: Spikes) -> dict[str, Any]:
    """What else is known of the worst spike: learning rate, and whether it healed."""
    if found.places.size == 0:
        return {}
    worst = int(np.argmax(found.scores))
    place, length = int(found.places[worst]), int(found.lengths[worst])
    after = series.values[place + length : place + length + 50]
    level = float(found.levels[worst])
    width = abs(float(series.values[place]) - level)
    told: dict[str, Any] = {
        "has_recovered": bool(after.size and np.median(after) < level + 0.1 * width)
    }
    return told | _learning_rate(run, series.step(place))


def _learning_rate(run: Run, step: int) -> dict[str, float]:
    """The learning rate at a step, where it was logged."""
    rate = run.one("learning_rate")
    if rate is None or rate.finite.size == 0:
        return {}
    before = int(rate.finite.steps.searchsorted(step, side="right")) - 1
    return {"learning_rate": float(rate.finite.values[max(before, 0)])}


def _lead(run: Run, series: Series, found: Spikes) -> dict[str, Any]:
    """Steps by which the worst spike came before one of the loss."""
    loss = run.one("loss")
    if loss is None or found.places.size == 0 or loss.finite.size < 30:
        return {}
    step = series.step(int(found.places[int(np.argmax(found.scores))]))
    rises = spikes(loss.finite.values, 6, 1.2, 0.05).places
    lags = loss.finite.steps[rises] - step
    near = lags[(lags >= 0) & (lags <= 50)]
    return {"steps_before_loss_spike": int(near.min())} if near.size else {}


@run_rule("RUN003", "non-finite", "error")
def non_finite(run: Run, limits: Limits) -> Outcome:
    """A metric was logged as NaN or infinity.

    Test: Any value that is no finite number. An error for the loss, the reward, the
    gradient norm and the KL divergence; of other metrics it is information.

    Traps: NaN is not the same as never logged, and W&B spells it as text in JSON; both
    are told apart when runs are read. A share of nothing (0 / 0) is often harmless.

    Hypothesis: Values overflowed: the learning rate is too high, a logarithm or a
    division met zero, or half precision ran out.

    Suggestion: Look at the steps before the first such value; lower the learning rate,
    clip gradients, guard the division.

    Source: The playbook's pattern 1 (loss trends: divergence).
    """
    del limits
    if not run.series:
        return not_testable("the run logged no numbers")
    bad = {
        name: series.where(~np.isfinite(series.values))
        for name, series in run.series.items()
        if not np.isfinite(series.values).all()
    }
    n_points = sum(series.size for series in run.series.values())
    if not bad:
        return Outcome("clear", statistic=0, threshold=0, n_points=n_points)
    essential = {one.metric for role in _ESSENTIAL for one in run.of(role)} & set(bad)
    first = min(sorted(essential or bad), key=lambda one: bad[one].step(0))
    return Outcome(
        "fired",
        first,
        "error" if essential else "info",
        (bad[first].step(0), bad[first].step(-1)),
        statistic=sum(one.size for one in bad.values()),
        threshold=0,
        n_points=n_points,
        effect=Effect(bad[first].size / run.series[first].size),
        evidence={
            "n_metrics": len(bad),
            "first_metric": first,
            "first_step_of_metric": {
                name: bad[name].step(0) for name in sorted(bad)[:_LISTED]
            },
        },
    )


@series_rule(
    "RUN004",
    "diverging",
    "error",
    "loss",
    min_points=5,
    score=6,
    rise_rate=0.5,
    least_ratio=1.1,
)
def diverging(run: Run, series: Series, limits: Limits) -> Outcome:
    """The loss has risen for good: it ends far above its best level.

    Test: The median of the last block of values exceeds the best block's by `score`
    standard errors, by `rise_rate` of what had been gained until then, and by the
    factor `least_ratio` (of a positive loss). A loss whose last value is not finite,
    after finite ones, has diverged as well.

    Traps: Where no direction is declared only overflow counts. A spike that heals
    leaves the last block alone. The lowest single value of
    noise is no level, so blocks are compared. Losses of self-play and of
    reinforcement learning may rise while the policy improves: the reward and RUN045
    say which it is.

    Hypothesis: The learning rate is too high for where the run has come to, or the
    targets run away (a value function that follows itself).

    Suggestion: Go back to the checkpoint before the rise and continue with a lower
    learning rate, a decaying schedule or clipped updates.

    Source: The playbook's step 2 (instability or divergence).
    """
    logged = run.series[series.metric]
    if not np.isfinite(logged.values[-1]):
        return _overflowed(run, logged, series)
    if run.direction(series.metric) != "lower":
        return not_testable(_NO_DIRECTION, series.metric, series.size)
    if series.size < 30:
        reason = f"needs at least 30 finite values, has {series.size}"
        return not_testable(reason, series.metric, series.size)
    blocks = series.blocks
    best = int(np.argmin(blocks.levels[:-1]))
    rise = change_between(blocks, best, -1)
    gained = float(blocks.levels[0] - blocks.levels[best])
    level = float(blocks.levels[best])
    high_enough = level <= 0 or blocks.levels[-1] > limits["least_ratio"] * level
    is_bad = (
        rise.score > limits["score"]
        and rise.size > limits["rise_rate"] * gained
        and bool(high_enough)
    )
    place = int(blocks.starts[best])
    low, high = rise.interval()
    return Outcome(
        "fired" if is_bad else "clear",
        series.metric,
        steps=(series.step(place), series.step(-1)) if is_bad else (None, None),
        statistic=rise.score,
        threshold=limits["score"],
        n_points=series.size,
        effect=Effect(rise.size, low, high),
        evidence={
            "best_step": series.step(place),
            "best_level": level,
            "final_level": level + rise.size,
            **_learning_rate(run, series.step(place)),
        },
    )


def _overflowed(run: Run, logged: Series, series: Series) -> Outcome:
    place = int(np.argmax(~np.isfinite(logged.values)))
    return Outcome(
        "fired",
        series.metric,
        steps=(logged.step(place), logged.step(-1)),
        statistic=float(logged.size - place),
        threshold=0,
        n_points=logged.size,
        evidence={
            "last_finite_value": float(series.values[-1]),
            "largest_finite_value": float(series.values.max()),
            **_learning_rate(run, logged.step(place)),
        },
    )


@series_rule(
    "RUN005", "reward-variance", "warning", "reward", variance_ratio=4, p_value=0.01
)
def reward_variance(run: Run, series: Series, limits: Limits) -> Outcome:
    """The reward scatters more and more from step to step.

    Test: Levene's test on the logarithms of the deviations of the first and the last
    third, each about its own broken line of block medians, with as many degrees of
    freedom as there are independent values; and the variance has grown by
    `variance_ratio`.

    Traps: Scatter grows with the mean of a reward that starts near zero: the standard
    deviation must outgrow the mean. A trend is not variance. Autocorrelated values
    are fewer than they seem.

    Hypothesis: Few episodes make a step's mean, or the policy has become brittle: it
    wins or loses outright.

    Suggestion: Take more episodes a step, and compare the spread within a step
    (reward_std) with that between steps.

    Source: The playbook's pattern 1; Levene 1960; Conover, Johnson and Johnson
    1981 (logarithms).
    """
    del run
    third = series.size // 3
    first, last = series.values[:third], series.values[-third:]
    early, late = (blocks_of(one) for one in (first, last))
    spread = [_deviations(one) for one in (first, last)]
    ratio = float((late.noise / early.noise) ** 2) if early.noise > 1e-200 else 0.0
    worth = third / max(early.time, late.time)
    p_value = _same_spread(spread[0], spread[1], worth)
    means = [abs(float(np.median(one))) for one in (first, last)]
    is_coupled = means[1] * early.noise >= means[0] * late.noise * 0.7
    is_bad = (
        ratio > limits["variance_ratio"]
        and p_value < limits["p_value"]
        and not is_coupled
    )
    return Outcome(
        "fired" if is_bad else "clear",
        series.metric,
        steps=(series.step(-third), series.step(-1)) if is_bad else (None, None),
        statistic=ratio,
        threshold=limits["variance_ratio"],
        n_points=series.size,
        effect=Effect(ratio, *_ratio_interval(ratio, worth)),
        evidence={"p_value": p_value, "independent_values": worth},
        reason="it grew no faster than the mean" if is_coupled else None,
    )


def _deviations(values: Floats) -> Floats:
    """Distances from the local level."""
    blocks = blocks_of(values)
    middles = (blocks.starts[:-1] + blocks.starts[1:]) / 2
    line = np.interp(np.arange(values.size), middles, blocks.levels)
    return np.asarray(np.abs(values - line))


def _same_spread(first: Floats, second: Floats, worth: float) -> float:
    """The p-value of Levene's test on logarithms, for ``worth`` values in each group.

    Logarithms, because deviations of heavy-tailed noise are far from normal.
    """
    if worth <= 2:
        return 1.0
    least = 1e-3 * max(median(first), median(second), 1e-300)
    logs = [np.log(np.maximum(one, least)) for one in (first, second)]
    error = float(np.sqrt((logs[0].var() + logs[1].var()) / worth))
    if error == 0:
        return 1.0
    score = abs(float(logs[1].mean() - logs[0].mean())) / error
    return float(2 * stdtr(2 * worth - 2, -score))


def _ratio_interval(ratio: float, worth: float) -> tuple[float, float]:
    half = float(fdtri(max(worth - 1, 1), max(worth - 1, 1), 0.975))
    return ratio / half, ratio * half


@series_rule(
    "RUN006", "kl-runaway", "warning", "kl", warning_above=0.1, error_above=0.2
)
def kl_runaway(run: Run, series: Series, limits: Limits) -> Outcome:
    """The policy runs away from its reference, or collapses: KL divergence is high.

    Test: The mean over the last quarter of the run exceeds `warning_above` (an error
    above `error_above`), and so does the lower end of its 90 % interval.

    Traps: Warm-up is not in the last quarter. A single step is not a mean. Estimators
    of the divergence may be negative. Thresholds are for a mean per token in nats:
    0.01 to 0.05 is healthy there; set others for other units.

    Hypothesis: The penalty is too weak or the learning rate too high; the policy
    exploits the reward instead of the task.

    Suggestion: Raise the KL coefficient or lower the learning rate, and read some
    responses of the last steps.

    Source: The playbook's step 2; thresholds of the trainer it was written for.
    """
    del run
    last = series.from_place(-(series.size // 4))
    mean = float(last.values.mean())
    blocks = series.blocks
    error = blocks.noise * float(np.sqrt(min(blocks.time / last.size, 1.0)))
    low, high = mean - 1.645 * error, mean + 1.645 * error
    is_bad = low > limits["warning_above"]
    return Outcome(
        "fired" if is_bad else "clear",
        series.metric,
        "error" if low > limits["error_above"] else None,
        steps=(last.step(0), last.step(-1)) if is_bad else (None, None),
        statistic=mean,
        threshold=limits["warning_above"],
        n_points=last.size,
        effect=Effect(mean, low, high),
        evidence={
            "mean_of_run": float(series.values.mean()),
            "largest": float(series.values.max()),
        },
    )


@series_rule(
    "RUN007",
    "entropy-collapse",
    "warning",
    "entropy",
    left_rate=0.1,
    by_rate=0.5,
)
def entropy_collapse(run: Run, series: Series, limits: Limits) -> Outcome:
    """The policy has stopped exploring early in the run.

    Test: The median of some block in the first `by_rate` of the run is below
    `left_rate` of the first block's, and it does not come back.

    Traps: Entropy falls in every run that learns; that it is nearly gone early is what
    counts. A differential entropy can be negative and has no share: not testable.

    Hypothesis: The entropy bonus is too small or the learning rate too high; a first
    success was taken for the only one.

    Suggestion: Raise the entropy coefficient or the sampling temperature, and look
    whether the reward stopped rising when the entropy went.

    Source: The playbook's pattern 2 (exploration against exploitation).
    """
    del run
    blocks = series.blocks
    first = float(blocks.levels[0])
    if first <= 0:
        reason = "a differential entropy (not positive) has no share"
        return not_testable(reason, series.metric, series.size)
    left = blocks.levels / first
    gone = left < limits["left_rate"]
    early = int(np.ceil(limits["by_rate"] * left.size))
    place = int(np.argmax(gone))
    is_bad = bool(gone[:early].any() and gone[place:].all())
    return Outcome(
        "fired" if is_bad else "clear",
        series.metric,
        steps=(series.step(int(blocks.starts[place])), series.step(-1))
        if is_bad
        else (None, None),
        statistic=float(left[:early].min()),
        threshold=limits["left_rate"],
        n_points=series.size,
        effect=Effect(float(left[-1])),
        evidence={
            "entropy_at_first": first,
            "entropy_at_last": float(blocks.levels[-1]),
        },
    )
