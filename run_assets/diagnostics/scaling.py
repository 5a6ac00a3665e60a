"""Scaling: performance as a law of compute."""

import numpy as np

from run_assets.diagnostics.levels import reduced
from run_assets.diagnostics.model import (
    Effect,
    Outcome,
    Run,
    Series,
    not_testable,
    together,
)
from run_assets.diagnostics.power_law import exponent_intervals, fits, refusal
from run_assets.diagnostics.registry import Limits, run_rule, series_rule

_MOST_FITTED = 60
_NO_COMPUTE = "cumulative compute and performance were not logged together"
PERFORMANCE = ("performance_at_compute", "loss", "reward")


def performance_over_compute(
    run: Run,
) -> tuple[Series, np.ndarray, np.ndarray, np.ndarray] | str:
    """The metric, steps, compute and value of a run's points; or why there are none.

    Values at or below zero have no logarithm and are left out.
    """
    compute = run.one("compute")
    series = next((one for role in PERFORMANCE if (one := run.one(role))), None)
    if compute is None or series is None:
        return _NO_COMPUTE
    steps, (x, y) = together(compute, series)
    kept = (x > 0) & (y > 0)
    if not kept.any():
        return f"no positive values of {series.metric} where compute was logged"
    order = np.argsort(x[kept], kind="stable")
    return series, steps[kept][order], x[kept][order], y[kept][order]


@run_rule("RUN060", "power-law", "info", aicc_lead=2, resamples=40)
def power_law(run: Run, limits: Limits) -> Outcome:
    """Performance follows a power law of compute.

    Test: Power law with offset (Huber loss in log space, nine starts), without offset,
    and log-linear, compared by AICc. Fires where a power law leads the log-linear
    curve by `aicc_lead`; the effect is its exponent with a bootstrap interval.

    Traps: A straight line in log-log space ignores the irreducible part and finds too
    small an exponent. Below 1.5 decades of compute or 8 points every law fits: refused.
    Rewards at or below zero have no logarithm. Points inside one run are
    autocorrelated: compare exponents of several runs before believing one
    (`diagnostics.scaling_fits`).

    Hypothesis: More compute goes on paying as the law says, down to its offset.

    Suggestion: Read off what ten times the compute would bring before paying for it.

    Source: The playbook's pattern 5; Hoffmann et al. 2022; Besiroglu et al. 2024.
    """
    found = performance_over_compute(run)
    if isinstance(found, str):
        return not_testable(found)
    series, steps, x, y = found
    if reason := refusal(x):
        return not_testable(reason, series.metric, int(x.size))
    y, x = reduced(y, x, _MOST_FITTED)
    laws = fits(x, y)
    law = next(one for one in laws if one.form != "log_linear")
    rival = next(one for one in laws if one.form == "log_linear")
    lead = rival.aicc - law.aicc
    is_law = lead > limits["aicc_lead"]
    ends = exponent_intervals(
        law, x, resamples=int(limits["resamples"]), rng=np.random.default_rng(0)
    )
    return Outcome(
        "fired" if is_law else "clear",
        series.metric,
        steps=(int(steps.min()), int(steps.max())) if is_law else (None, None),
        statistic=lead,
        threshold=limits["aicc_lead"],
        n_points=int(steps.size),
        effect=Effect(law.exponents[0], *(float(one) for one in ends[0])),
        evidence={
            "form": law.form,
            "exponent": law.exponents[0],
            "offset": law.offset,
            "decades_of_compute": float(np.log10(x[-1] / x[0])),
            "at_ten_times_the_compute": float(law.at(10 * x[-1:])[0]),
            "aicc": {one.form: one.aicc for one in laws},
        },
    )


@series_rule("RUN061", "uneven-compute", "info", "compute_per_step", spread_above=0.1)
def uneven_compute(run: Run, series: Series, limits: Limits) -> Outcome:
    """The compute of a step is not constant.

    Test: The levels of the run's blocks differ by more than `spread_above` of their
    median.

    Traps: Single steps differ; levels of blocks should not. A value that was logged as
    a constant is constant, whatever its last digit.

    Hypothesis: The batch size or the length of games changed on the way.

    Suggestion: Plot performance against compute, not against steps.

    Source: The playbook's step 7.
    """
    del run
    blocks = series.blocks
    median = float(np.median(blocks.levels))
    spread = float(np.ptp(blocks.levels))
    share = spread / abs(median) if median else 0.0
    is_bad = share > limits["spread_above"] and spread > 6 * float(blocks.errors.max())
    return Outcome(
        "fired" if is_bad else "clear",
        series.metric,
        steps=(series.step(0), series.step(-1)) if is_bad else (None, None),
        statistic=share,
        threshold=limits["spread_above"],
        n_points=series.size,
        effect=Effect(share),
        evidence={
            "lowest_level": float(blocks.levels.min()),
            "highest_level": float(blocks.levels.max()),
        },
    )
