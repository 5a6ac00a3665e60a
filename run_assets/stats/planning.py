"""How many more runs an interval of a given width needs."""

from math import ceil, sqrt

import polars as pl

from run_assets.errors import UsageError
from run_assets.stats.intervals import interval_estimates
from run_assets.stats.samples import ScoreColumns, Strata, read_groups, strata

SCHEMA = {
    "group_name": pl.String,
    "statistic": pl.String,
    "halfwidth": pl.Float64,
    "current_halfwidth": pl.Float64,
    "current_runs_per_task": pl.Int64,
    "required_runs_per_task": pl.Int64,
    "required_low": pl.Int64,
    "required_high": pl.Int64,
    "more_runs": pl.Int64,
    "n_tasks": pl.Int64,
    "confidence": pl.Float64,
    "notes": pl.String,
}

MIN_RUNS = 2
"""One run in a task says nothing about scatter, however narrow the target."""

Row = dict[str, object]


def required_runs(  # noqa: PLR0913  every option of the analysis is one argument
    scores: pl.DataFrame,
    *,
    halfwidth: float,
    statistic: str = "iqm",
    group: str = "group_name",
    task: str | None = "task",
    score: str = "score",
    replicate: str | None = "run_path",
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> pl.DataFrame:
    """Runs per task until the interval of each group is this narrow.

    The half-width of a ``corrected`` interval falls with the square root of the number
    of runs per task, so ``required = n · (current half-width / halfwidth)²``. A scatter
    seen in few runs is uncertain itself: ``required_low`` and ``required_high`` are the
    same with both ends of the interval of that scatter (chi-squared, as for normal
    scores, at ``confidence``). Plan with ``required_high``, or run some and ask again.

    Source: the interval of a normal variance, for example Casella and Berger 2002,
    section 9.2.

    Args:
        scores: One row per run and task, ragged allowed.
        halfwidth: Half of the wanted width of the interval, in the unit of ``score``.
        statistic: ``iqm``, ``mean`` or ``median``.
        group: Column with the group that a run belongs to.
        task: Column with the task, or None for one task.
        score: Column with the number.
        replicate: Column with the independent run, or None when each row is one.
        confidence: Nominal coverage of the interval, in (0, 1).
        resamples: Bootstrap resamples for the current interval.
        seed: From 0 to 2**63 - 1.

    Returns:
        One row per group with the columns of ``SCHEMA``. ``current_runs_per_task`` is
        that of the task with the fewest; ``more_runs`` is the sum over the tasks of
        what each lacks. What cannot be said is null and ``notes`` says why.

    Raises:
        UsageError: ``halfwidth`` is not above 0, or an option or column is unknown.

    >>> scores = pl.DataFrame({"group_name": ["a"] * 4, "score": [1.0, 2.0, 3.0, 4.0]})
    >>> required_runs(
    ...     scores, halfwidth=0.5, statistic="mean", task=None, replicate=None
    ... ).select("current_runs_per_task", "required_runs_per_task", "more_runs").row(0)
    (4, 25, 21)
    """
    if not halfwidth > 0:
        message = f"halfwidth must be above 0, got {halfwidth}"
        raise UsageError(message)
    now = interval_estimates(
        scores,
        group=group,
        task=task,
        score=score,
        replicate=replicate,
        statistics=(statistic,),
        method="corrected",
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )
    groups = read_groups(scores, ScoreColumns(group, task, score, replicate))
    rows = [
        {**_plan(strata(one), row, halfwidth), "halfwidth": halfwidth}
        for one, row in zip(groups, now.iter_rows(named=True), strict=True)
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def _plan(layout: Strata, now: Row, halfwidth: float) -> Row:
    shared = ("group_name", "statistic", "confidence", "n_tasks", "notes")
    row: Row = {name: now[name] for name in shared}
    low, high = now["ci_low"], now["ci_high"]
    if not (isinstance(low, float) and isinstance(high, float)):
        return row
    current = (high - low) / 2
    row |= {
        "current_halfwidth": current,
        "current_runs_per_task": int(layout.sizes.min()),
    }
    if current == 0:
        reason = "no plan: the scores do not scatter"
        return {**row, "notes": "; ".join(filter(None, [str(row["notes"]), reason]))}
    per_task = _runs_per_task(layout, is_pooled=now["statistic"] == "iqm")
    needed = per_task * (current / halfwidth) ** 2
    ends = _scatter_ends(layout, float(str(now["confidence"])))
    required, least, most = (
        max(MIN_RUNS, ceil(needed * factor**2 - 1e-9)) for factor in (1.0, *ends)
    )
    more = sum(max(0, required - int(size)) for size in layout.sizes)
    return {
        **row,
        "required_runs_per_task": required,
        "required_low": least,
        "required_high": most,
        "more_runs": more,
    }


def _runs_per_task(layout: Strata, *, is_pooled: bool) -> float:
    """Equal runs per task that would be as good as the unequal ones there are."""
    if is_pooled:
        return float(layout.sizes.mean())
    return float(layout.sizes.size / (1 / layout.sizes).sum())


def _scatter_ends(layout: Strata, confidence: float) -> tuple[float, float]:
    """Ends of the interval of the true scatter, as shares of the observed one."""
    from scipy.special import chdtri

    freedom = int((layout.sizes - 1).sum())
    tail = (1 - confidence) / 2
    low, high = float(chdtri(freedom, tail)), float(chdtri(freedom, 1 - tail))
    return sqrt(freedom / low), sqrt(freedom / high)
