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

_SHARE_OF_RUNS = 0.5
"""Of the runs must have reached a point of the curves, as in the report's bands."""

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
    return _normalized(analysis, selected.with_columns(score="raw_score"))


def _normalized(analysis: Analysis, frame: pl.DataFrame) -> pl.DataFrame:
    return stats.normalize(
        frame,
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
        level=interval.level,
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
        method=_simple(interval.method),
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


def probability_of_improvement(
    analysis: Analysis, scores: pl.DataFrame
) -> pl.DataFrame:
    """One row per ordered pair of groups."""
    interval = analysis.interval
    return stats.probability_of_improvement(
        scores,
        replicate="replicate",
        method=interval.method,
        confidence=interval.confidence,
        resamples=interval.resamples,
        seed=interval.seed,
    )


def rank_stability(analysis: Analysis, scores: pl.DataFrame) -> pl.DataFrame:
    """One row per group."""
    interval = analysis.interval
    return stats.rank_stability(
        scores,
        replicate="replicate",
        statistic=_aggregate(analysis),
        method=_simple(interval.method),
        confidence=interval.confidence,
        resamples=min(interval.resamples, 10_000),
        seed=interval.seed,
    )


def sample_efficiency(
    analysis: Analysis, scores: pl.DataFrame, curves: pl.DataFrame
) -> pl.DataFrame:
    """One row per group and point of the curves, and its area and first step.

    Args:
        analysis: The question.
        scores: Rows of ``stats.scores``: which run belongs to which group and task.
        curves: Rows of ``derived.metric_curves``.

    Returns:
        Columns of ``stats.sample_efficiency`` with ``grid_x`` instead of ``step``: for
        the area and the first step the end of the grid, which holds up to 60 points
        that at least half of the runs have reached. No row without curves of the
        score's metric.
    """
    interval = analysis.interval
    labels = scores.select("run_path", "group_name", "task", "replicate")
    points = curves.filter(
        pl.col("metric") == analysis.score.metric, pl.col("value").is_finite()
    ).join(labels, "run_path")
    if points.is_empty():
        return pl.DataFrame(schema={"group_name": pl.String, "grid_x": pl.Float64})
    reached = points.group_by("grid_x").len().sort("grid_x")
    enough = pl.col("len") >= _SHARE_OF_RUNS * points["run_path"].n_unique()
    grid = thinned(reached.filter(enough)["grid_x"])
    found = stats.sample_efficiency(
        _normalized(analysis, points.rename({"value": "score"})),
        grid=grid,
        step="grid_x",
        replicate="replicate",
        statistic=_aggregate(analysis),
        level=analysis.target_score,
        method=_simple(interval.method),
        confidence=interval.confidence,
        resamples=min(interval.resamples, 2_000),
        seed=interval.seed,
    )
    placed = found.with_columns(grid_x=pl.col("step").fill_null(grid[-1]))
    first = ("group_name", "statistic", "grid_x")
    return placed.select(*first, pl.exclude(*first, "step"))


def thinned(points: pl.Series, most: int = 60) -> list[float]:
    """Evenly chosen points, the last one among them.

    >>> thinned(pl.Series([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), most=3)
    [1.0, 3.0, 5.0]
    """
    every = -(-points.len() // most)
    kept: list[float] = points.reverse().gather_every(every).reverse().to_list()
    return kept


def _aggregate(analysis: Analysis) -> str:
    """The statistic that the verdict rests on, where it is no gap."""
    known = [one for one in analysis.statistics if one != "optimality_gap"]
    return known[0] if known else "iqm"


def _simple(method: str) -> str:
    """The interval method where BCa has no meaning."""
    return "corrected" if method == "bca" else method


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
    "stats.probability_of_improvement": probability_of_improvement,
    "stats.optimality_gaps": optimality_gaps,
    "stats.rank_stability": rank_stability,
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
