"""Quality: what the model answers, and what it is rewarded for."""

from collections.abc import Iterator

import numpy as np

from run_assets.diagnostics.counts import Share, pooled, windows
from run_assets.diagnostics.levels import change_between
from run_assets.diagnostics.model import (
    Effect,
    Outcome,
    Run,
    Series,
    not_testable,
    together,
)
from run_assets.diagnostics.progress import sign_of
from run_assets.diagnostics.registry import Limits, run_rule
from run_assets.diagnostics.robust import MAD_TO_SD

_NOT_COUNTED = "orders expected and extracted were not logged together"


@run_rule(
    "RUN040",
    "low-extraction",
    "warning",
    rate_below=0.95,
    error_below=0.8,
    min_points=10,
)
def low_extraction(run: Run, limits: Limits) -> Outcome:
    """Too few of the expected orders can be read from the responses.

    Test: Orders extracted over orders expected, in the last tenth of the run (at
    least 10 steps), weighted by counts: the upper end of the 95 % interval, with more
    scatter than a binomial's allowed for, is below `rate_below`.

    Traps: Single steps below 95 % are common in healthy runs. The mean of rates weighs
    a step of 5 orders like one of 500. Nothing expected is no failure, and 19 of 20 is
    compatible with 95 %.

    Hypothesis: The prompt does not show the format clearly, responses are cut off, or
    the policy has drifted from the format.

    Suggestion: Read some failed responses of the last steps; compare empty and partial
    ones (RUN043, RUN044).

    Source: The playbook's step 4; Wilson 1927.
    """
    found = _orders(run)
    if found is None:
        return _by_rate(run, limits)
    steps, extracted, expected = found
    if steps.size < limits["min_points"]:
        least = int(limits["min_points"])
        return not_testable(f"needs at least {least} steps, has {steps.size}")
    n = max(steps.size // 10, int(limits["min_points"]))
    share = pooled(extracted[-n:], expected[-n:])
    if share.trials == 0:
        return not_testable("no orders were expected in the last steps", n_points=n)
    is_bad = share.high < limits["rate_below"]
    return Outcome(
        "fired" if is_bad else "clear",
        severity="error" if share.high < limits["error_below"] else None,
        steps=(int(steps[-n]), int(steps[-1])) if is_bad else (None, None),
        statistic=share.value,
        threshold=limits["rate_below"],
        n_points=n,
        effect=Effect(share.value, share.low, share.high),
        evidence={
            "n_expected": share.trials,
            "n_missing": float((expected - extracted)[-n:].sum()),
            "rate_of_run": pooled(extracted, expected).value,
        },
    )


def _by_rate(run: Run, limits: Limits) -> Outcome:
    """Without counts: the median rate of the last steps, and its error."""
    rate = run.one("extraction_rate")
    if rate is None or rate.finite.size < 10:
        return not_testable(f"{_NOT_COUNTED}, and no extraction rate either")
    series = rate.finite
    n = max(series.size // 10, 10)
    last = series.values[-n:]
    level = float(np.median(last))
    error = MAD_TO_SD * float(np.median(np.abs(last - level))) / np.sqrt(n) * 1.25
    is_bad = level + 1.96 * error < limits["rate_below"]
    return Outcome(
        "fired" if is_bad else "clear",
        series.metric,
        "error" if level + 1.96 * error < limits["error_below"] else None,
        steps=(series.step(-n), series.step(-1)) if is_bad else (None, None),
        statistic=level,
        threshold=limits["rate_below"],
        n_points=n,
        effect=Effect(level, level - 1.96 * error, level + 1.96 * error),
        reason="rates without counts: each step weighs the same",
    )


def _orders(
    run: Run, of: str = "orders_extracted"
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    counted, expected = run.one(of), run.one("orders_expected")
    if counted is None or expected is None:
        return None
    steps, (some, whole) = together(counted, expected)
    return (steps, some, whole) if steps.size else None


@run_rule(
    "RUN041",
    "extraction-drop",
    "warning",
    score=5,
    drop=0.01,
    min_points=30,
)
def extraction_drop(run: Run, limits: Limits) -> Outcome:
    """Fewer orders can be read at the end than in the best part of the run.

    Test: The count-weighted rate of ten windows: the last one is below the best by
    `drop` (absolute) and by `score` standard errors, the errors from the scatter of
    steps within their windows.

    Traps: A rate over few orders jumps; windows are weighted by counts. One bad step
    moves no window.

    Hypothesis: The policy drifts away from the format, contexts have grown too long, or
    the prompt was changed.

    Suggestion: Compare responses from the best window with those of the last one.

    Source: The playbook's pattern 4.
    """
    found = _orders(run)
    if found is None:
        return not_testable(_NOT_COUNTED)
    steps, extracted, expected = found
    if steps.size < limits["min_points"]:
        least = int(limits["min_points"])
        return not_testable(f"needs at least {least} steps, has {steps.size}")
    shares = [one for one in windows(extracted, expected) if one.trials > 0]
    if len(shares) < 2:
        return not_testable("orders were expected in hardly any step")
    best = max(shares[:-1], key=lambda one: one.value)
    fall = best.value - shares[-1].value
    error = float(np.hypot(_error(best), _error(shares[-1])))
    is_bad = fall > max(limits["drop"], limits["score"] * error)
    start = int(steps[int(0.9 * steps.size)])
    return Outcome(
        "fired" if is_bad else "clear",
        steps=(start, int(steps[-1])) if is_bad else (None, None),
        statistic=fall,
        threshold=max(limits["drop"], limits["score"] * error),
        n_points=int(steps.size),
        effect=Effect(-fall, -fall - 1.96 * error, -fall + 1.96 * error),
        evidence={
            "best_rate": best.value,
            "last_rate": shares[-1].value,
            "last_interval": [shares[-1].low, shares[-1].high],
        },
    )


def _error(share: Share) -> float:
    return (share.high - share.low) / (2 * 1.96)


@run_rule("RUN042", "extraction-gap", "warning", gap=0.2, steps_rate=0.02)
def extraction_gap(run: Run, limits: Limits) -> Outcome:
    """In some steps a large part of the expected orders is missing.

    Test: Steps in which the missing share is above `gap`, by more than three binomial
    standard deviations, make up `steps_rate` of all and are at least three.

    Traps: A step with few orders misses a large share by chance. More extracted than
    expected is a counting error and is named in the evidence.

    Hypothesis: Parsing fails for one kind of response, or one phase of the game.

    Suggestion: Read the responses of the steps named.

    Source: The playbook's step 4 (expected against extracted).
    """
    found = _orders(run)
    if found is None:
        return not_testable(_NOT_COUNTED)
    steps, extracted, expected = found
    used = expected > 0
    steps, extracted, expected = steps[used], extracted[used], expected[used]
    if steps.size < 30:
        return not_testable(f"needs at least 30 steps with orders, has {steps.size}")
    missing = 1 - extracted / expected
    error = np.sqrt(limits["gap"] * (1 - limits["gap"]) / expected)
    bad = np.flatnonzero(missing - limits["gap"] > 3 * error)
    rate = bad.size / steps.size
    is_bad = rate > limits["steps_rate"] and bad.size >= 3
    share = pooled((missing > limits["gap"]).astype(float), np.ones(steps.size))
    return Outcome(
        "fired" if is_bad else "clear",
        steps=(int(steps[bad[0]]), int(steps[bad[-1]])) if is_bad else (None, None),
        statistic=rate,
        threshold=limits["steps_rate"],
        n_points=int(steps.size),
        effect=Effect(rate, share.low, share.high),
        evidence={
            "largest_gap": float(missing.max()),
            "n_steps": int(bad.size),
            "n_steps_with_more_than_expected": int((extracted > expected).sum()),
        },
    )


@run_rule("RUN043", "empty-responses", "warning", rate_above=0.05, rise=0.02)
def empty_responses(run: Run, limits: Limits) -> Outcome:
    """Many responses are empty, or ever more of them.

    Test: Empty responses over expected orders, count-weighted: in the last of ten
    windows the lower end of the 95 % interval is above `rate_above`, or above the
    first window's upper end by `rise`.

    Traps: A few empty responses at the start are warm-up. Without expected orders
    there is nothing to relate them to.

    Hypothesis: The model stops at once (a wrong stop token, an empty context), or the
    inference server returns errors as empty text.

    Suggestion: Read the raw responses and the server's log at the last steps.

    Source: The playbook's step 4.
    """
    return _rising(run, "empty_responses", limits)


@run_rule("RUN044", "partial-responses", "warning", rate_above=0.1, rise=0.05)
def partial_responses(run: Run, limits: Limits) -> Outcome:
    """Many responses are cut off, or ever more of them.

    Test: As RUN043, on partial responses.

    Traps: As RUN043.

    Hypothesis: Responses have become longer than the token limit, or the context no
    longer fits.

    Suggestion: Compare response lengths with the limit; raise it or reward brevity.

    Source: The playbook's step 4.
    """
    return _rising(run, "partial_responses", limits)


def _rising(run: Run, role: str, limits: Limits) -> Outcome:
    found = _orders(run, role)
    if found is None:
        return not_testable(f"{role} and orders_expected were not logged together")
    steps, hits, trials = found
    shares = [one for one in windows(hits, trials) if one.trials > 0]
    if steps.size < 30 or len(shares) < 2:
        return not_testable(f"needs at least 30 steps with orders, has {steps.size}")
    first, last = shares[0], shares[-1]
    is_bad = last.low > limits["rate_above"] or last.low > first.high + limits["rise"]
    start = int(steps[int(0.9 * steps.size)])
    return Outcome(
        "fired" if is_bad else "clear",
        steps=(start, int(steps[-1])) if is_bad else (None, None),
        statistic=last.value,
        threshold=limits["rate_above"],
        n_points=int(steps.size),
        effect=Effect(last.value, last.low, last.high),
        evidence={"first_rate": first.value, "last_rate": last.value},
    )


@run_rule("RUN045", "reward-falls-at-low-loss", "warning", score=5, gain_rate=0.1)
def reward_falls_at_low_loss(run: Run, limits: Limits) -> Outcome:
    """The reward has fallen from its best although the loss has not risen.

    Test: The last block of the reward is below its best block by `score` standard
    errors and `gain_rate` of its gain, and the last block of the loss is not above the
    block of the reward's best by three.

    Traps: Where the loss rises, too, RUN004 and RUN011 say more. Reward and loss may be
    logged at different steps; blocks are compared by step.

    Hypothesis: The loss measures something else than the task by now: the policy
    over-fits, the distribution has shifted, or a shaped reward is exploited.

    Suggestion: Evaluate the checkpoint of the best block and the last one on the same
    games; look at the single components of the reward.

    Source: The playbook's pattern 4.
    """
    reward, loss = run.one("reward"), run.one("loss")
    if reward is None or loss is None:
        return not_testable("reward and loss were not both logged")
    if min(reward.finite.size, loss.finite.size) < 30:
        return not_testable("needs at least 30 finite values of reward and loss")
    sign = sign_of(run, reward)
    if not sign or sign_of(run, loss) == 0:
        return not_testable("reward or loss has no declared direction")
    blocks = reward.finite.blocks.times(sign)
    best = int(np.argmax(blocks.levels))
    drop = change_between(blocks, best, -1)
    gained = float(blocks.levels[best] - blocks.levels.min())
    has_fallen = -drop.score > limits["score"] and -drop.size > (
        limits["gain_rate"] * gained
    )
    step = reward.finite.step(int(blocks.starts[best]))
    has_risen = _has_risen(loss.finite, step)
    is_bad = has_fallen and not has_risen
    low, high = sorted(sign * one for one in drop.interval())
    return Outcome(
        "fired" if is_bad else "clear",
        reward.metric,
        steps=(step, reward.finite.step(-1)) if is_bad else (None, None),
        statistic=-drop.score,
        threshold=limits["score"],
        n_points=reward.finite.size,
        effect=Effect(sign * drop.size, low, high),
        evidence={"loss_metric": loss.metric, "has_loss_risen": has_risen},
    )


def _has_risen(loss: Series, step: int) -> bool:
    """The loss of the end is above that around a step."""
    blocks = loss.blocks
    place = int(np.searchsorted(loss.steps, step))
    block = int(np.searchsorted(blocks.starts, place, side="right")) - 1
    before = min(block, blocks.levels.size - 2)
    return change_between(blocks, before, -1).score > 3


@run_rule("RUN046", "component-vanishes", "warning", left_rate=0.02, min_points=30)
def component_vanishes(run: Run, limits: Limits) -> Iterator[Outcome]:
    """A component of the reward has gone to zero.

    Test: The median size of the component in the last block is below `left_rate` of its
    largest block's, and it was above its noise there.

    Traps: A component that never was anything has not vanished. A penalty that goes to
    zero is success; the sign stands in the evidence.

    Hypothesis: The behaviour that earned it has died out, or its code no longer runs.

    Suggestion: Read responses from before and after; check the component's weight and
    whether it still is computed.

    Source: The reward guide (components).
    """
    components = run.of("reward_component")
    if not components:
        yield not_testable("no metric plays the part reward_component")
    for series in (one.finite for one in components):
        if series.size < limits["min_points"]:
            yield not_testable(
                "fewer than 30 finite values", series.metric, series.size
            )
            continue
        blocks = series.blocks
        sizes = np.abs(blocks.levels)
        best = int(np.argmax(sizes))
        largest, left = float(sizes[best]), float(sizes[-1])
        is_real = largest > 5 * float(blocks.errors[best])
        is_bad = (
            is_real
            and blocks.levels[best] > 0
            and (left < limits["left_rate"] * largest)
        )
        yield Outcome(
            "fired" if is_bad else "clear",
            series.metric,
            steps=(series.step(int(blocks.starts[best])), series.step(-1))
            if is_bad
            else (None, None),
            statistic=left / largest if largest > 0 else 0.0,
            threshold=limits["left_rate"],
            n_points=series.size,
            effect=Effect(float(blocks.levels[-1] - blocks.levels[best])),
            evidence={"largest_level": float(blocks.levels[best])},
            reason="a penalty that went to zero"
            if is_real and not is_bad and (left < limits["left_rate"] * largest)
            else None,
        )


@run_rule("RUN047", "component-dominates", "info", share_above=0.9, least=3)
def component_dominates(run: Run, limits: Limits) -> Outcome:
    """One component makes up nearly all of the reward.

    Test: Among at least `least` components, the median share of one in the sum of
    their sizes over the last tenth of the shared steps is above `share_above`.

    Traps: Sizes are compared as logged: where weights are applied later, the shares are
    others. A task with one real reward and small shaping terms looks like this, too.

    Hypothesis: The other terms are too small to steer the policy.

    Suggestion: Scale the components to comparable sizes, or drop those without effect.

    Source: The reward guide (components).
    """
    components = run.of("reward_component")
    if len(components) < limits["least"]:
        least, n = int(limits["least"]), len(components)
        return not_testable(f"needs at least {least} reward components, has {n}")
    steps, values = together(*components)
    if steps.size < 10:
        return not_testable("the components share fewer than 10 steps")
    sizes = np.abs(np.array(values))[:, -max(steps.size // 10, 10) :]
    whole = sizes.sum(axis=0)
    if not (whole > 0).any():
        return not_testable("all components are zero in the last steps")
    shares = np.median(sizes[:, whole > 0] / whole[whole > 0], axis=1)
    top = int(np.argmax(shares))
    is_bad = bool(shares[top] > limits["share_above"])
    named = {one.metric: float(s) for one, s in zip(components, shares, strict=True)}
    return Outcome(
        "fired" if is_bad else "clear",
        components[top].metric,
        statistic=float(shares[top]),
        threshold=limits["share_above"],
        n_points=int(steps.size),
        effect=Effect(float(shares[top])),
        evidence={"shares": named},
    )
