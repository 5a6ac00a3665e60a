"""Coverage: whether the record of the run is whole."""

import math

import numpy as np

from run_assets.diagnostics.model import Effect, Outcome, Run, not_testable
from run_assets.diagnostics.registry import Limits, run_rule

_LISTED = 10
_BAD_ENDS = {"crashed": "error", "failed": "error", "killed": "warning"}


@run_rule(
    "RUN090", "metric-stopped", "warning", lost_rate=0.1, intervals=10, min_points=20
)
def metric_stopped(run: Run, limits: Limits) -> Outcome:
    """A metric stopped being logged while the run went on.

    Test: Its last step is more than `lost_rate` of the run, and `intervals` of its
    usual intervals (95th percentile), before the run's last step.

    Traps: Sparse metrics, of evaluations, have long intervals of their own. A metric of
    fewer than 20 points has no usual interval.

    Hypothesis: The code that computes it fails or was switched off; a worker died.

    Suggestion: Look at the logs of the step after its last value.

    Source: Runs read in the making of this project.
    """
    known = {
        name: one
        for name, one in run.series.items()
        if one.size >= limits["min_points"]
    }
    if not known:
        return not_testable("no metric has 20 values")
    first = min(one.step(0) for one in known.values())
    last = max(one.step(-1) for one in run.series.values())
    stopped = {}
    for name, one in known.items():
        usual = float(np.quantile(np.diff(one.steps), 0.95))
        silent = last - one.step(-1)
        if silent > max(
            limits["lost_rate"] * (last - first), limits["intervals"] * usual
        ):
            stopped[name] = one.step(-1)
    if not stopped:
        return Outcome("clear", statistic=0, threshold=0, n_points=len(known))
    earliest = min(stopped, key=lambda name: stopped[name])
    return Outcome(
        "fired",
        earliest,
        steps=(stopped[earliest], last),
        statistic=float(len(stopped)),
        threshold=0,
        n_points=len(known),
        effect=Effect((last - stopped[earliest]) / max(last - first, 1)),
        evidence={
            "n_metrics": len(stopped),
            "last_step_of_metric": {
                name: stopped[name] for name in sorted(stopped)[:_LISTED]
            },
        },
    )


@run_rule("RUN091", "summary-differs", "info", relative=1e-6)
def summary_differs(run: Run, limits: Limits) -> Outcome:
    """The summary of a metric is not the last value of its history.

    Test: A number of the summary differs from the last value logged, and from the
    smallest and the largest one, by more than `relative`.

    Traps: Summaries may be declared as minimum, maximum or mean; means are not
    compared here, so a declared mean is named as differing.

    Hypothesis: The summary was written by hand, or the last rows of the history were
    not uploaded.

    Suggestion: Trust the history for curves, and find out who wrote the summary.

    Source: W&B (`run.summary`, `define_metric(summary=…)`).
    """
    both = sorted(set(run.summary) & set(run.series))
    if not both:
        return not_testable("the summary has no number of a logged metric")
    differing = {}
    for name in both:
        values, told = run.series[name].finite.values, run.summary[name]
        if not math.isfinite(told) or values.size == 0:
            continue
        candidates = np.array([values[-1], values.min(), values.max()])
        scale = max(abs(told), float(np.abs(candidates).max()), 1e-12)
        if not (np.abs(candidates - told) <= limits["relative"] * scale).any():
            differing[name] = {"summary": told, "last": float(values[-1])}
    return Outcome(
        "fired" if differing else "clear",
        statistic=float(len(differing)),
        threshold=0,
        n_points=len(both),
        evidence={name: differing[name] for name in sorted(differing)[:_LISTED]},
    )


@run_rule("RUN092", "steps-backwards", "warning", share=0.01)
def steps_backwards(run: Run, limits: Limits) -> Outcome:
    """Steps go backwards in time: the run was rewound, or two runs share one log.

    Test: In the order of steps, the time of logging goes back in more than `share` of
    the intervals of the longest metric, and at least twice. Many small returns mean
    that two processes log at the same time; one large one means that the run was
    resumed from an earlier step.

    Traps: Workers log a little out of order: returns below a second do not count.

    Hypothesis: Two processes were started with the same run id, or a resume did not
    set the step.

    Suggestion: Give every process a run of its own (`shared` mode where one is
    meant), and resume with the step of the checkpoint.

    Source: W&B's resumed and shared runs.
    """
    timed = [one for one in run.series.values() if np.isfinite(one.seconds).all()]
    if not timed:
        return not_testable("no times were logged")
    longest = max(timed, key=lambda one: one.size)
    if longest.size < 10:
        return not_testable("fewer than 10 steps", longest.metric, longest.size)
    back = np.flatnonzero(np.diff(longest.seconds) < -1.0)
    rate = back.size / (longest.size - 1)
    deepest = float(-np.diff(longest.seconds).min())
    whole = float(np.ptp(longest.seconds))
    is_rewound = back.size > 0 and deepest > 0.1 * whole
    is_bad = (rate > limits["share"] and back.size >= 2) or is_rewound
    return Outcome(
        "fired" if is_bad else "clear",
        steps=(longest.step(int(back[0])), longest.step(int(back[-1]) + 1))
        if is_bad
        else (None, None),
        statistic=float(rate),
        threshold=limits["share"],
        n_points=longest.size,
        effect=Effect(rate),
        evidence={
            "n_returns": int(back.size),
            "deepest_seconds": max(deepest, 0.0),
            "looks_like": "two processes" if back.size > 5 else "a resumed run",
        }
        if is_bad
        else {},
    )


@run_rule("RUN093", "short-run", "info", rows=30, planned_rate=0.9)
def short_run(run: Run, limits: Limits) -> Outcome:
    """The run is too short to say much, or ended before its plan.

    Test: Fewer than `rows` logged rows; or the last step is below `planned_rate` of the
    total steps in its config, for a run that is not running any more.

    Traps: Steps of the plan may be counted in another unit than W&B's; where the plan
    is more than a hundred times the last step, units differ and it is left alone.

    Hypothesis: It was a test, or it ended early.

    Suggestion: Leave it out of comparisons (`runs: {min_steps: …}`).

    Source: The playbook's step 1 (is the run finished?).
    """
    rows, last = run.history_rows, run.last_step
    planned = run.setting("planned_steps")
    is_short = rows < limits["rows"]
    share = (last + 1) / planned if planned and last is not None else None
    is_early = (
        share is not None
        and 0.01 < share < limits["planned_rate"]
        and run.state != "running"
    )
    return Outcome(
        "fired" if is_short or is_early else "clear",
        statistic=float(rows),
        threshold=limits["rows"],
        n_points=rows,
        effect=Effect(share) if share is not None else None,
        evidence={"last_step": last, "planned_steps": planned},
    )


@run_rule("RUN094", "ended-badly", "error")
def ended_badly(run: Run, limits: Limits) -> Outcome:
    """The run crashed, failed or was killed.

    Test: The state that W&B reports; a local run without an end that has been silent
    for longer than the heartbeat allows counts as crashed. An error, and a warning for
    a killed run.

    Traps: A run that is still going may look dead for some minutes. A run that was
    stopped by hand is killed, not crashed.

    Hypothesis: Out of memory, a lost machine, or an exception in the training code.

    Suggestion: Read the end of its log and its system metrics; continue it from the
    last checkpoint.

    Source: The playbook's step 1 (finished, running or crashed).
    """
    del limits
    if run.state == "unknown":
        return not_testable("the state of the run is not known")
    severity = _BAD_ENDS.get(run.state)
    last = {
        name: float(one.values[-1])
        for role in ("loss", "reward", "gradient_norm")
        for one in run.of(role)[:1]
        for name in [one.metric]
    }
    return Outcome(
        "fired" if severity else "clear",
        severity=severity,  # type: ignore[arg-type]  # of the table above
        steps=(run.last_step, run.last_step) if severity else (None, None),
        n_points=run.history_rows,
        evidence={
            "state": run.state,
            "runtime_seconds": run.runtime_seconds,
            "last_values": last,
        },
    )
