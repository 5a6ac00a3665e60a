"""An analysis of the configuration put to the statistics; every door asks here.

Each function takes an analysis and its rows of ``stats.scores`` and returns the rows of
the table of its name, without the column ``analysis``.
"""

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from run_assets import stats
from run_assets.config import Analysis
from run_assets.stats.normalization import ANY_TASK
from run_assets.stats.selection import select_scores

Answer = Callable[[Analysis, pl.DataFrame], pl.DataFrame]


def scores(
    analysis: Analysis,
    *,
    runs: pl.DataFrame,
    run_summaries: pl.DataFrame,
    run_metrics: pl.DataFrame,
    run_configs: pl.DataFrame,
) -> pl.DataFrame:
    """The scores of an analysis, as logged and normalized; see ``select_scores``."""
    selected = select_scores(
        analysis,
        runs=runs,
        run_summaries=run_summaries,
        run_metrics=run_metrics,
        run_configs=run_configs,
    )
    return stats.normalize(
        selected.with_columns(score="raw_score"),
        method=analysis.normalize.method,
        per_task={
            task: bounds.model_dump()
            for task, bounds in analysis.normalize.per_task.items()
        },
    )


def interval_estimates(analysis: Analysis, scores: pl.DataFrame) -> pl.DataFrame:
    """One row per group and statistic."""
    interval = analysis.interval
    return stats.interval_estimates(
        scores,
        replicate="replicate",
        statistics=analysis.statistics,
        method=interval.method,
        confidence=interval.confidence,
        resamples=interval.resamples,
        seed=interval.seed,
        optimal=normalized_optima(analysis) or 1.0,
    )


def performance_profiles(
    analysis: Analysis,
    scores: pl.DataFrame,
    thresholds: Sequence[float] | None = None,
) -> pl.DataFrame:
    """One row per group and threshold."""
    interval = analysis.interval
    return stats.performance_profiles(
        scores,
        replicate="replicate",
        thresholds=thresholds,
        method=interval.method,
        confidence=interval.confidence,
        seed=interval.seed,
    )


def comparisons(analysis: Analysis, scores: pl.DataFrame) -> pl.DataFrame:
    """One row per unordered pair of groups."""
    comparison = analysis.comparison
    return stats.compare_groups(
        scores,
        replicate="replicate",
        test=comparison.test,
        correction=comparison.correction,
        paired_by=comparison.paired_by,
        effect=comparison.effect,
        alternative=comparison.alternative,
        confidence=analysis.interval.confidence,
        seed=analysis.interval.seed,
    )


def optimality_gaps(analysis: Analysis, scores: pl.DataFrame) -> pl.DataFrame:
    """One row per group and task, in the unit of the score as logged.

    Without optimal scores there is nothing to be far from: no row.
    """
    interval = analysis.interval
    as_logged = scores.with_columns(score="raw_score")
    return stats.optimality_gaps(
        as_logged if analysis.optimal_scores else as_logged.clear(),
        optimal=analysis.optimal_scores,
        replicate="replicate",
        method=interval.method,
        confidence=interval.confidence,
        resamples=interval.resamples,
        seed=interval.seed,
    )


ANSWERS: Mapping[str, Answer] = {
    "stats.interval_estimates": interval_estimates,
    "stats.performance_profiles": performance_profiles,
    "stats.comparisons": comparisons,
    "stats.optimality_gaps": optimality_gaps,
}
"""What is asked of the scores of every analysis, by table."""


def is_asked(table: str, analysis: Analysis) -> bool:
    """Whether an analysis wants rows of a table.

    Gaps need optimal scores.
    """
    return table != "stats.optimality_gaps" or bool(analysis.optimal_scores)


def normalized_optima(analysis: Analysis) -> dict[str, float]:
    """The optimal scores on the scale of the normalized ones."""
    bounds = analysis.normalize.per_task
    if analysis.normalize.method != "bounds":
        return dict(analysis.optimal_scores)
    placed = {
        task: (optimum, bounds.get(task) or bounds.get(ANY_TASK))
        for task, optimum in analysis.optimal_scores.items()
    }
    return {
        task: (optimum - of.low) / (of.high - of.low)
        for task, (optimum, of) in placed.items()
        if of is not None
    }
