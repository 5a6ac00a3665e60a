"""Statistics of each analysis; every number comes from ``stats.scores``."""

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import polars as pl

from run_assets import stats
from run_assets.assets.results import built, definition, plots
from run_assets.config import Analysis
from run_assets.contracts.tables import table
from run_assets.digests import code_digest_of
from run_assets.lab import Lab
from run_assets.resources import LabResource
from run_assets.stats.selection import select_scores
from run_assets.store.build import Build, Recipe
from run_assets.store.lake import empty

_SCORE_INPUTS = (
    "marts.runs",
    "marts.run_summaries",
    "derived.run_metrics",
    "core.run_configs",
)
_KINDS = {"python", "polars", "parquet"}


@dg.asset(**definition("stats.scores", _KINDS, _SCORE_INPUTS))
def scores(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per analysis and run: exactly what the statistics were computed from."""
    used = ("name", "project", "runs", "score", "group", "task", "replicate")
    return built(
        lab.lab,
        _recipe(lab.lab, "stats.scores", _SCORE_INPUTS, (*used, "normalize")),
        lambda build: _per_analysis(lab.lab, build, _scores_of(lab.lab)),
    )


@dg.asset(**definition("stats.interval_estimates", _KINDS, ("stats.scores",)))
def interval_estimates(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per analysis, group and statistic, with its confidence interval."""
    result = _statistic(
        lab.lab,
        "stats.interval_estimates",
        _interval_estimates,
        ("statistics", "interval", "optimal_scores"),
    )
    shown = plots(_interval_plots(lab.lab))
    return result._replace(metadata={**(result.metadata or {}), **shown})


def _interval_plots(lab: Lab) -> Iterator[str]:
    from run_assets.reports.content import AnalysisContent
    from run_assets.reports.figures import interval_plot

    names = ("stats.scores", "stats.interval_estimates")
    for analysis in lab.config.analyses:
        scores, estimates = (
            lab.lake.read(name).filter(analysis=analysis.name) for name in names
        )
        others = (empty("stats.comparisons"), empty("stats.performance_profiles"))
        figure = interval_plot(AnalysisContent(analysis, scores, estimates, *others))
        if figure is not None:
            yield figure.svg


@dg.asset(**definition("stats.performance_profiles", _KINDS, ("stats.scores",)))
def performance_profiles(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per analysis, group and threshold: the share of runs above it."""
    return _statistic(
        lab.lab, "stats.performance_profiles", _performance_profiles, ("interval",)
    )


@dg.asset(**definition("stats.comparisons", _KINDS, ("stats.scores",)))
def comparisons(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per analysis and pair of groups: test, effect size and difference."""
    return _statistic(
        lab.lab, "stats.comparisons", _comparisons, ("comparison", "interval")
    )


def _statistic(
    lab: Lab,
    name: str,
    compute: Callable[[Analysis, pl.DataFrame], pl.DataFrame],
    used: tuple[str, ...],
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # has no value
    def of(analysis: Analysis, build: Build) -> pl.DataFrame:
        rows = lab.lake.read("stats.scores", build.inputs["stats.scores"])
        mine = rows.filter(analysis=analysis.name)
        return compute(analysis, mine) if not mine.is_empty() else empty(name)

    recipe = _recipe(lab, name, ("stats.scores",), ("name", *used))
    return built(lab, recipe, lambda build: _per_analysis(lab, build, of))


def _recipe(
    lab: Lab, name: str, reads: tuple[str, ...], used: tuple[str, ...]
) -> Recipe:
    config: list[Any] = [
        analysis.model_dump(mode="json", include=set(used))
        for analysis in lab.config.analyses
    ]
    return Recipe(name, reads, code_digest_of("run_assets.stats", __name__), config)


def _per_analysis(
    lab: Lab, build: Build, compute: Callable[[Analysis, Build], pl.DataFrame]
) -> pl.DataFrame:
    name = build.part.table
    columns = table(name).columns
    frames = [empty(name)]
    for analysis in lab.config.analyses:
        frame = compute(analysis, build)
        named = frame.with_columns(pl.lit(analysis.name).alias("analysis"))
        frames.append(named.select(columns))
    return pl.concat(frames, how="vertical_relaxed")


def _scores_of(lab: Lab) -> Callable[[Analysis, Build], pl.DataFrame]:
    def of(analysis: Analysis, build: Build) -> pl.DataFrame:
        frames = {
            name.partition(".")[2]: lab.lake.read(name, parts)
            for name, parts in build.inputs.items()
        }
        selected = select_scores(analysis, **frames)
        return stats.normalize(
            selected.with_columns(score="raw_score"),
            method=analysis.normalize.method,
            per_task={
                task: bounds.model_dump()
                for task, bounds in analysis.normalize.per_task.items()
            },
        )

    return of


def _interval_estimates(analysis: Analysis, scores: pl.DataFrame) -> pl.DataFrame:
    interval = analysis.interval
    return stats.interval_estimates(
        scores,
        replicate="replicate",
        statistics=analysis.statistics,
        method=interval.method,
        confidence=interval.confidence,
        resamples=interval.resamples,
        seed=interval.seed,
        optimal=analysis.optimal_scores or 1.0,
    )


def _performance_profiles(analysis: Analysis, scores: pl.DataFrame) -> pl.DataFrame:
    interval = analysis.interval
    return stats.performance_profiles(
        scores,
        replicate="replicate",
        method=interval.method,
        confidence=interval.confidence,
        seed=interval.seed,
    )


def _comparisons(analysis: Analysis, scores: pl.DataFrame) -> pl.DataFrame:
    comparison = analysis.comparison
    return stats.compare_groups(
        scores,
        replicate="replicate",
        test=comparison.test,
        correction=comparison.correction,
        paired_by=comparison.paired_by,
        effect=comparison.effect,
        alternative=comparison.alternative,
        seed=analysis.interval.seed,
        confidence=analysis.interval.confidence,
    )
