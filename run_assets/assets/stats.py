"""Statistics of each analysis; every number comes from ``stats.scores``."""

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import polars as pl

from run_assets.assets.results import built, definition, plots
from run_assets.config import Analysis
from run_assets.contracts.tables import table
from run_assets.digests import code_digest_of
from run_assets.lab import Lab
from run_assets.resources import LabResource
from run_assets.stats import answers
from run_assets.stats.answers import ANSWERS
from run_assets.stats.selection import summaries_of_last_steps
from run_assets.store.build import Build, Recipe
from run_assets.store.lake import empty

_SCORE_INPUTS = (
    "marts.runs",
    "marts.run_summaries",
    "derived.run_metrics",
    "core.run_configs",
    "core.metric_points",
)
_KINDS = {"python", "polars", "parquet"}


@dg.asset(**definition("stats.scores", _KINDS, _SCORE_INPUTS))
def scores(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per analysis and run: exactly what the statistics were computed from."""
    used = ("name", "project", "runs", "score", "group", "task", "replicate")
    result = built(
        lab.lab,
        _recipe(lab.lab, "stats.scores", _SCORE_INPUTS, (*used, "normalize")),
        lambda build: _per_analysis(lab.lab, build, _scores_of(lab.lab)),
    )
    return _with_plots(result, _figures(lab.lab, "stats.scores", "scores_over_time"))


@dg.asset(**definition("stats.interval_estimates", _KINDS, ("stats.scores",)))
def interval_estimates(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per analysis, group and statistic, with its confidence interval."""
    used = ("statistics", "interval", "optimal_scores", "normalize")
    return _statistic(lab.lab, "stats.interval_estimates", used, "interval_plot")


@dg.asset(**definition("stats.performance_profiles", _KINDS, ("stats.scores",)))
def performance_profiles(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per analysis, group and threshold: the share of runs above it."""
    used = ("interval",)
    return _statistic(
        lab.lab, "stats.performance_profiles", used, "performance_profile"
    )


@dg.asset(**definition("stats.comparisons", _KINDS, ("stats.scores",)))
def comparisons(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per analysis and pair of groups: test, effect size and difference."""
    used = ("comparison", "interval")
    return _statistic(lab.lab, "stats.comparisons", used, "comparisons")


@dg.asset(**definition("stats.probability_of_improvement", _KINDS, ("stats.scores",)))
def probability_of_improvement(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per analysis and ordered pair: how often x beats y."""
    return _statistic(
        lab.lab,
        "stats.probability_of_improvement",
        ("interval",),
        "probability_of_improvement",
    )


@dg.asset(**definition("stats.rank_stability", _KINDS, ("stats.scores",)))
def rank_stability(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per analysis and group: its rank, and how sure that is."""
    used = ("interval", "statistics")
    return _statistic(lab.lab, "stats.rank_stability", used, "rank_stability")


@dg.asset(
    **definition(
        "stats.sample_efficiency", _KINDS, ("stats.scores", "derived.metric_curves")
    )
)
def sample_efficiency(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per analysis, group and point of the score's curves."""
    found = lab.lab
    name, reads = "stats.sample_efficiency", ("stats.scores", "derived.metric_curves")
    used = ("score", "normalize", "statistics", "interval", "target_score")

    def of(analysis: Analysis, build: Build) -> pl.DataFrame:
        scores, curves = (
            found.lake.scan(one, build.inputs[one]).filter(condition).collect()
            for one, condition in zip(
                reads,
                (
                    pl.col("analysis") == analysis.name,
                    pl.col("metric") == analysis.score.metric,
                ),
                strict=True,
            )
        )
        rows = answers.sample_efficiency(analysis, scores, curves)
        return rows if not rows.is_empty() else empty(name)

    recipe = _recipe(found, name, reads, ("name", *used))
    result = built(found, recipe, lambda build: _per_analysis(found, build, of))
    return _with_plots(result, _figures(found, name, "sample_efficiency"))


@dg.asset(**definition("stats.optimality_gaps", _KINDS, ("stats.scores",)))
def optimality_gaps(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per analysis, group and task: the distance from the best score."""
    used = ("optimal_scores", "interval")
    return _statistic(lab.lab, "stats.optimality_gaps", used, "optimality_gaps")


def _statistic(
    lab: Lab, name: str, used: tuple[str, ...], plot: str
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # has no value
    def of(analysis: Analysis, build: Build) -> pl.DataFrame:
        rows = lab.lake.read("stats.scores", build.inputs["stats.scores"])
        mine = rows.filter(analysis=analysis.name)
        return ANSWERS[name](analysis, mine) if not mine.is_empty() else empty(name)

    recipe = _recipe(lab, name, ("stats.scores",), ("name", *used))
    result = built(lab, recipe, lambda build: _per_analysis(lab, build, of))
    return _with_plots(result, _figures(lab, name, plot))


def _with_plots(
    result: dg.MaterializeResult,  # type: ignore[type-arg]  # has no value
    svgs: Iterator[str],
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # as above
    return result._replace(metadata={**(result.metadata or {}), **plots(svgs)})


def _figures(lab: Lab, name: str, kind: str) -> Iterator[str]:
    """The plots of one kind, one per analysis that has what they show."""
    from run_assets.reports.content import ANALYSIS_TABLES, AnalysisContent
    from run_assets.reports.figures import PLOTS

    # Only what this asset is made from: the other tables may be of yesterday.
    read = {one: lab.lake.read(one) for one in ("stats.scores", name)}
    for analysis in lab.config.analyses:
        rows: dict[str, Any] = {
            one.partition(".")[2]: read.get(one, empty(one)).filter(
                analysis=analysis.name
            )
            for one in ANALYSIS_TABLES
        }
        figure = PLOTS[kind](AnalysisContent(analysis, **rows))
        if figure is not None:
            yield figure.svg


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
        inputs = dict(build.inputs)
        points = lab.lake.scan("core.metric_points", inputs.pop("core.metric_points"))
        frames = {
            name.partition(".")[2]: lab.lake.read(name, parts)
            for name, parts in inputs.items()
        }
        if n := analysis.score.last_n_steps:
            metric = analysis.score.metric
            others = frames["run_summaries"].filter(pl.col("metric") != metric)
            mine = summaries_of_last_steps(points, metric, n)
            frames["run_summaries"] = pl.concat([others, mine], how="diagonal_relaxed")
        return answers.scores(analysis, **frames)

    return of
