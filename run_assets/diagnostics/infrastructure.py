"""Infrastructure: time, machines and failures around the training."""

from collections.abc import Iterator

import numpy as np

from run_assets.diagnostics.counts import pooled
from run_assets.diagnostics.levels import blocks_of, change_between
from run_assets.diagnostics.model import (
    Effect,
    Outcome,
    Run,
    Series,
    not_testable,
    together,
)
from run_assets.diagnostics.registry import Limits, run_rule, series_rule
from run_assets.diagnostics.robust import difference_scale
from run_assets.diagnostics.trends import Segment, segments, theil_sen


@series_rule(
    "RUN020", "throughput-drop", "warning", "throughput", left_rate=0.85, skip_rate=0.05
)
def throughput_drop(run: Run, series: Series, limits: Limits) -> Outcome:
    """The throughput has fallen to a lower level.

    Test: Change points of the logarithm (`ruptures.KernelCPD`, at most 500 block
    medians, penalty 8 ln n noise variances); the last level is below `left_rate` of the
    best one before it.

    Traps: The first steps compile and warm up: `skip_rate` of the run is left out.
    Dips at evaluations and checkpoints are no level. After a restart on other hardware,
    or with another batch size, steps are not comparable.

    Hypothesis: A machine, a disk or a network became slower, the data loader fell
    behind, or responses became longer.

    Suggestion: Compare what the machines logged around the step of the change, and the
    lengths of episodes or responses.

    Source: The playbook's step 3; Truong, Oudre, Vayatis 2020.
    """
    del run
    return _level_drop(series, limits)


@series_rule(
    "RUN021",
    "fewer-trajectories",
    "warning",
    "trajectories",
    left_rate=0.85,
    skip_rate=0.05,
)
def fewer_trajectories(run: Run, series: Series, limits: Limits) -> Outcome:
    """Steps hold fewer trajectories than they did.

    Test: As RUN020, on the trajectories of a step.

    Traps: A schedule may shrink batches on purpose; then set another threshold.

    Hypothesis: Rollouts fail or time out, or fewer workers are left.

    Suggestion: Look at failed rollouts (RUN024) and at how many workers report.

    Source: The playbook's step 3 (enough data for each step).
    """
    del run
    return _level_drop(series, limits)


def _level_drop(series: Series, limits: Limits) -> Outcome:
    kept = series.where(series.values > 0)
    kept = kept.from_place(int(limits["skip_rate"] * kept.size))
    if kept.size < limits["min_points"]:
        return not_testable("hardly any positive values", series.metric, kept.size)
    logs = np.log(kept.values)
    found = segments(logs)
    best = max(found[:-1] or found, key=lambda one: one.level)
    last = found[-1]
    left = float(np.exp(last.level - best.level))
    is_bad = len(found) > 1 and left < limits["left_rate"]
    error = difference_scale(logs) * np.sqrt(1 / _length(best) + 1 / _length(last))
    low, high = (left * float(np.exp(side * 1.96 * error)) for side in (-1, 1))
    return Outcome(
        "fired" if is_bad else "clear",
        series.metric,
        steps=(kept.step(found[-1].start), kept.step(-1)) if is_bad else (None, None),
        statistic=left,
        threshold=limits["left_rate"],
        n_points=kept.size,
        effect=Effect(left, low, high),
        evidence={
            "level_before": float(np.exp(best.level)),
            "level_after": float(np.exp(last.level)),
            "n_levels": len(found),
        },
    )


def _length(segment: Segment) -> int:
    return max(segment.end - segment.start, 1)


@series_rule(
    "RUN022",
    "slow-rollouts",
    "warning",
    "slowest_rollout_seconds",
    "rollout_seconds",
    p95_seconds=120,
    tail_ratio=3,
)
def slow_rollouts(run: Run, series: Series, limits: Limits) -> Outcome:
    """Some rollouts take far longer than the usual one.

    Test: The 95th percentile exceeds `p95_seconds`, and `tail_ratio` times the median.

    Traps: The first steps compile and are left out. Rollouts that are slow as a rule
    have no tail; that is what RUN026 says. The
    mean hides tails, the maximum is one value.

    Hypothesis: Single games hang, containers start cold, or an inference server is
    overloaded.

    Suggestion: Give rollouts a time limit, and look at what the slowest ones have in
    common.

    Source: The playbook's step 5; 120 s is the threshold of the trainer it was written
    for.
    """
    del run
    return _tail(series, limits["p95_seconds"], limits["tail_ratio"])


@series_rule(
    "RUN023",
    "slow-reloads",
    "warning",
    "reload_seconds",
    p95_seconds=10,
    tail_ratio=3,
)
def slow_reloads(run: Run, series: Series, limits: Limits) -> Outcome:
    """Reloading weights from the shared volume sometimes takes far longer than usual.

    Test: As RUN022.

    Traps: The first reload fills caches; one value does not move a 95th percentile.

    Hypothesis: The volume is busy: checkpoints are written while workers read.

    Suggestion: Save checkpoints less often, or hand weights over another way.

    Source: The playbook's pattern 3.
    """
    del run
    return _tail(series, limits["p95_seconds"], limits["tail_ratio"])


def _tail(series: Series, seconds: float, ratio: float) -> Outcome:
    # The first steps compile and fill caches.
    series = series.from_place(max(3, series.size // 20))
    median, p95 = (float(one) for one in np.quantile(series.values, [0.5, 0.95]))
    tail = p95 / median if median > 0 else float("inf")
    is_bad = p95 > seconds and tail > ratio
    above = np.flatnonzero(series.values > max(seconds, ratio * median))
    low, high = _quantile_interval(series.values, 0.95)
    return Outcome(
        "fired" if is_bad else "clear",
        series.metric,
        steps=(series.step(int(above[0])), series.step(int(above[-1])))
        if is_bad
        else (None, None),
        statistic=p95,
        threshold=seconds,
        n_points=series.size,
        effect=Effect(p95, low, high),
        evidence={
            "median": median,
            "p95_over_median": tail if np.isfinite(tail) else None,
            "largest": float(series.values.max()),
            "n_spikes": int(above.size),
        },
    )


def _quantile_interval(values: np.ndarray, share: float) -> tuple[float, float]:
    """95 % interval of a quantile, from order statistics (normal approximation)."""
    ordered = np.sort(values)
    half = 1.96 * np.sqrt(share * (1 - share) / ordered.size)
    low, high = np.clip([share - half, share + half], 0, 1)
    low_place, high_place = (
        min(int(one * ordered.size), ordered.size - 1) for one in (low, high)
    )
    return float(ordered[low_place]), float(ordered[high_place])


@run_rule(
    "RUN024",
    "failed-rollouts",
    "warning",
    failed_rate=0.01,
    failed_steps=0.05,
    min_points=10,
)
def failed_rollouts(run: Run, limits: Limits) -> Outcome:
    """Rollouts fail.

    Test: The failed share of all rollouts, weighted by their number and with more
    scatter than a binomial's allowed for, is above `failed_rate` with its whole 95 %
    interval. Where trajectories are not logged: the share of steps with a failure is
    above `failed_steps`.

    Traps: One failure among thousands is no finding. Failures come in bursts, which
    makes them fewer independent events than they seem.

    Hypothesis: Workers die, run out of memory or of time, or a service they call
    refuses them.

    Suggestion: Read the logs of the workers at the steps named, and look at the
    scaling of the containers.

    Source: The playbook's step 5 (failures should be none or minimal).
    """
    failed = run.one("failed_rollouts")
    if failed is None:
        return not_testable("failed rollouts were not logged (rollout/failed_count)")
    if failed.finite.size < limits["min_points"]:
        return _too_few(failed.finite.size, limits)
    done = run.one("trajectories")
    if done is None:
        return _failing_steps(failed.finite, limits["failed_steps"])
    steps, (lost, made) = together(failed, done)
    if not steps.size or made.sum() + lost.sum() <= 0:
        return not_testable("no rollouts were counted", failed.metric)
    share = pooled(lost, made + lost)
    bad = steps[lost > 0]
    is_bad = share.low > limits["failed_rate"]
    return Outcome(
        "fired" if is_bad else "clear",
        failed.metric,
        steps=(int(bad[0]), int(bad[-1])) if is_bad else (None, None),
        statistic=share.value,
        threshold=limits["failed_rate"],
        n_points=int(steps.size),
        effect=Effect(share.value, share.low, share.high),
        evidence={
            "n_failed": float(lost.sum()),
            "n_steps_with_failures": int(bad.size),
        },
    )


def _failing_steps(failed: Series, limit: float) -> Outcome:
    bad = np.flatnonzero(failed.values > 0)
    share = pooled((failed.values > 0).astype(float), np.ones(failed.size))
    is_bad = share.low > limit
    return Outcome(
        "fired" if is_bad else "clear",
        failed.metric,
        steps=(failed.step(int(bad[0])), failed.step(int(bad[-1])))
        if is_bad
        else (None, None),
        statistic=share.value,
        threshold=limit,
        n_points=failed.size,
        effect=Effect(share.value, share.low, share.high),
        evidence={"n_failed": float(failed.values.sum())},
    )


@run_rule("RUN025", "low-overlap", "info", overlap_rate=0.5, min_points=30)
def low_overlap(run: Run, limits: Limits) -> Outcome:
    """Rollouts and training hardly run side by side.

    Test: The median over steps of the overlapping time, as a share of the shorter of
    rollout and training time, is below `overlap_rate`.

    Traps: More than the shorter of the two can never overlap, so shares of the whole
    step look low even in a perfect pipeline.

    Hypothesis: The pipeline waits for each step's weights, or one of the two is so
    short that overlapping would not pay.

    Suggestion: Start the next rollouts while the last batch trains, if slightly old
    weights are acceptable; otherwise enlarge the batch.

    Source: The playbook's step 3 and pattern 3.
    """
    found = _times(run, "overlap_seconds", "rollout_seconds", "training_seconds")
    if isinstance(found, str):
        return not_testable(found)
    steps, (overlap, rollout, training) = found
    shorter = np.minimum(rollout, training)
    used = shorter > 0
    if used.sum() < limits["min_points"]:
        return _too_few(int(used.sum()), limits)
    rate = overlap[used] / shorter[used]
    median = float(np.median(rate))
    low, high = _quantile_interval(rate, 0.5)
    is_bad = median < limits["overlap_rate"]
    return Outcome(
        "fired" if is_bad else "clear",
        steps=(int(steps[0]), int(steps[-1])) if is_bad else (None, None),
        statistic=median,
        threshold=limits["overlap_rate"],
        n_points=int(used.sum()),
        effect=Effect(median, low, high),
        evidence={
            "median_overlap_seconds": float(np.median(overlap)),
            "seconds_to_gain_a_step": float(np.median(shorter[used] - overlap[used])),
        },
    )


@run_rule("RUN026", "lopsided-steps", "info", share_above=0.9, min_points=30)
def lopsided_steps(run: Run, limits: Limits) -> Outcome:
    """Nearly all of a step's time goes into rollouts, or into training.

    Test: The median share of rollout or of training time in their sum is above
    `share_above`.

    Traps: A share says where time goes, not that it is wasted.

    Hypothesis: The smaller part is not the bottleneck; making it faster gains nothing.

    Suggestion: Work on the larger part: more workers, or a faster inference server, for
    rollouts; a larger micro-batch or more devices for training.

    Source: The playbook's step 3 (is training the bottleneck?).
    """
    found = _times(run, "rollout_seconds", "training_seconds")
    if isinstance(found, str):
        return not_testable(found)
    steps, (rollout, training) = found
    used = rollout + training > 0
    if used.sum() < limits["min_points"]:
        return _too_few(int(used.sum()), limits)
    share = rollout[used] / (rollout[used] + training[used])
    median = float(np.median(share))
    larger = max(median, 1 - median)
    low, high = _quantile_interval(share, 0.5)
    is_bad = larger > limits["share_above"]
    return Outcome(
        "fired" if is_bad else "clear",
        steps=(int(steps[0]), int(steps[-1])) if is_bad else (None, None),
        statistic=larger,
        threshold=limits["share_above"],
        n_points=int(used.sum()),
        effect=Effect(median, low, high),
        evidence={
            "bottleneck": "rollouts" if median > 0.5 else "training",
            "median_rollout_seconds": float(np.median(rollout)),
            "median_training_seconds": float(np.median(training)),
        },
    )


def _times(run: Run, *roles: str) -> tuple[np.ndarray, list[np.ndarray]] | str:
    series = [run.one(role) for role in roles]
    missing = [role for role, one in zip(roles, series, strict=True) if one is None]
    if missing:
        return f"no metric plays the part {' and '.join(missing)}"
    return together(*(one for one in series if one is not None))


def _too_few(n: int, limits: Limits) -> Outcome:
    least = int(limits["min_points"])
    return not_testable(f"needs at least {least} usable steps, has {n}", n_points=n)


@run_rule(
    "RUN027", "stalls", "warning", interval_ratio=20, gap_seconds=300, lost_rate=0.05
)
def stalls(run: Run, limits: Limits) -> Outcome:
    """The run stood still: long gaps between what it logged.

    Test: Gaps between the times of consecutive steps that exceed `interval_ratio`
    times the usual one (its 95th percentile) and `gap_seconds`; together they make up
    `lost_rate` of the run's time.

    Traps: Evaluations and checkpoints make regular gaps, which the percentile knows. A
    resumed run has a gap without having hung: the evidence says where it restarted.

    Hypothesis: The run waited for a machine, a lock or a service, or it was preempted
    and resumed.

    Suggestion: Look at what ran at those times; save checkpoints so that a restart
    loses little.

    Source: The playbook's pattern 3; SageMaker Debugger (StalledTrainingRule).
    """
    steps, seconds = _clock(run)
    if steps.size < 30:
        return not_testable("fewer than 30 steps with a time", n_points=int(steps.size))
    gaps = np.diff(seconds)
    usual = float(np.quantile(gaps, 0.95)) if gaps.size else 0.0
    least = max(limits["interval_ratio"] * usual, limits["gap_seconds"])
    long = np.flatnonzero(gaps > least)
    whole = float(seconds[-1] - seconds[0])
    lost = float(gaps[long].sum()) / whole if whole > 0 else 0.0
    is_bad = bool(long.size) and lost > limits["lost_rate"]
    return Outcome(
        "fired" if is_bad else "clear",
        steps=(int(steps[long[0]]), int(steps[long[-1] + 1]))
        if is_bad
        else (None, None),
        statistic=lost,
        threshold=limits["lost_rate"],
        n_points=int(steps.size),
        effect=Effect(float(gaps[long].sum())),
        evidence={
            "n_gaps": int(long.size),
            "longest_seconds": float(gaps.max()) if gaps.size else 0.0,
            "usual_seconds": float(np.median(gaps)) if gaps.size else 0.0,
            "gap_after_steps": [int(steps[at]) for at in long[:10]],
        },
    )


def _clock(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """The time of every logged step, ascending: steps of all metrics together."""
    known = [one for one in run.series.values() if np.isfinite(one.seconds).any()]
    if not known:
        return np.empty(0, np.int64), np.empty(0)
    longest = max(known, key=lambda one: one.size)
    kept = longest.where(np.isfinite(longest.seconds))
    return kept.steps, np.maximum.accumulate(kept.seconds)


@series_rule("RUN028", "idle-gpu", "info", "gpu_use", use_below=30)
def idle_gpu(run: Run, series: Series, limits: Limits) -> Outcome:
    """A GPU is idle most of the time.

    Test: The median of its use, in percent, is below `use_below`; the upper end of its
    95 % interval, too.

    Traps: Sampling every few seconds misses short bursts, so the median of all samples
    is taken, not single ones.

    Hypothesis: The step waits for rollouts, data or the network.

    Suggestion: Look at the share of rollout and training time (RUN026) and at the data
    loader; a smaller machine may do.

    Source: W&B's system metrics; the playbook's step 3.
    """
    del run
    median = float(np.median(series.values))
    low, high = _quantile_interval(series.values, 0.5)
    is_bad = high < limits["use_below"]
    return Outcome(
        "fired" if is_bad else "clear",
        series.metric,
        statistic=median,
        threshold=limits["use_below"],
        n_points=series.size,
        effect=Effect(median, low, high),
        evidence={"p95": float(np.quantile(series.values, 0.95))},
    )


@series_rule("RUN029", "memory-growth", "warning", "memory", growth_ratio=1.5, score=5)
def memory_growth(run: Run, series: Series, limits: Limits) -> Outcome:
    """Memory grows throughout the run.

    Test: The last fifth's median exceeds that of the second fifth by `growth_ratio` and
    by `score` standard errors, and the Theil-Sen slope of the last half is positive
    beyond three.

    Traps: Memory rises at the start, when caches fill: the first fifth is left out.
    A step to a new level (a longer sequence) is no leak: the slope of the last half
    must go on.

    Hypothesis: Something is kept from step to step: histories, graphs, replay buffers
    without a bound.

    Suggestion: Look at what is appended in the training loop; the evidence says how
    fast it grows.

    Source: W&B's system metrics.
    """
    del run
    blocks = blocks_of(series.values, 5)
    change = change_between(blocks, 1, -1)
    half = series.size // 2
    slope = theil_sen(np.arange(half, dtype=float), series.values[-half:])
    level = float(blocks.levels[1])
    ratio = float(blocks.levels[-1]) / level if level > 0 else 0.0
    is_bad = (
        ratio > limits["growth_ratio"]
        and change.score > limits["score"]
        and slope.value > 3 * slope.error
    )
    low, high = change.interval()
    return Outcome(
        "fired" if is_bad else "clear",
        series.metric,
        statistic=ratio,
        threshold=limits["growth_ratio"],
        n_points=series.size,
        effect=Effect(change.size, low, high),
        evidence={"level_before": level, "level_after": float(blocks.levels[-1])},
    )


@run_rule("RUN030", "restarts", "info")
def restarts(run: Run, limits: Limits) -> Iterator[Outcome]:
    """The run was interrupted and began again: its clock jumps while steps go on.

    Test: A gap of at least ten minutes, and 50 times the usual interval, between two
    consecutive logged steps.

    Traps: A single evaluation that long looks the same; RUN027 weighs the time lost.

    Hypothesis: The run was preempted, crashed and resumed, or moved to another machine.

    Suggestion: Compare throughput and loss before and after: an optimizer state or a
    data order that was not restored shows there.

    Source: W&B's resumed runs; the playbook's pattern 3.
    """
    del limits
    steps, seconds = _clock(run)
    gaps = np.diff(seconds)
    if steps.size < 30:
        yield not_testable("fewer than 30 steps with a time", n_points=int(steps.size))
        return
    usual = float(np.median(gaps))
    long = np.flatnonzero((gaps > 600) & (gaps > 50 * usual))
    yield Outcome(
        "fired" if long.size else "clear",
        steps=(int(steps[long[0]]), int(steps[long[-1] + 1]))
        if long.size
        else (None, None),
        statistic=float(long.size),
        threshold=0,
        n_points=int(steps.size),
        evidence={"after_steps": [int(steps[at]) for at in long[:10]]},
    )
