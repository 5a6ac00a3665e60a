"""Static plots as SVG, one set per analysis; the same content gives the same bytes.

Each plot is drawn twice, for a wide page and for a phone, because a plot that is
merely scaled down has unreadable labels.
"""

from collections.abc import Callable, Mapping
from typing import Any

import altair as alt
import polars as pl

from run_assets.reports.bands import curve_bands
from run_assets.reports.composing import (
    Plot,
    chart_of,
    in_grid,
    layered,
    with_one_legend,
)
from run_assets.reports.content import AnalysisContent, Estimate, ReportContent
from run_assets.reports.curve_figures import curve_figures
from run_assets.reports.difference_figure import comparisons
from run_assets.reports.drawing import (
    NARROW,
    Groups,
    Variant,
)
from run_assets.reports.efficiency_figure import sample_efficiency
from run_assets.reports.evaluation_figures import evaluation_figures
from run_assets.reports.figure import (
    MAX_GROUPS,
    MAX_ROWS,
    MAX_TASKS,
    Figure,
    figure,
    finite,
)
from run_assets.reports.finding_figure import finding_figures
from run_assets.reports.gap_figure import optimality_gaps
from run_assets.reports.history_figure import scores_over_time
from run_assets.reports.improvement_figure import probability_of_improvement
from run_assets.reports.interval_rows import interval_rows
from run_assets.reports.rank_figure import rank_stability
from run_assets.reports.text import axis_name, decimals, labels, number, shown, slug
from run_assets.reports.verdicts import group_order, ranked

MAX_CURVES = 6
MAX_POINTS = 120

STATISTIC_NAMES = {
    "iqm": "IQM",
    "mean": "Mean",
    "median": "Median",
    "optimality_gap": "Optimality gap",
}


def figures(content: ReportContent) -> dict[str, Figure]:
    """All plots of a report by name, in the order in which they appear."""
    found = [plot for one in content.analyses for plot in _of_analysis(one)]
    found += finding_figures(content.diagnosis)
    found += curve_figures(content.curves) if content.curves else []
    named = {one.name: one for one in found}
    for evaluation in content.evaluations:
        named |= evaluation_figures(evaluation)
    return named


def _of_analysis(analysis: AnalysisContent) -> list[Figure]:
    curves = [learning_curves(analysis, metric) for metric in curve_metrics(analysis)]
    first, *others = [plot(analysis) for plot in PLOTS.values()]
    return [one for one in (first, *curves, *others) if one is not None]


def curve_metrics(analysis: AnalysisContent) -> list[str]:
    """Metrics with curves, the configured order first, at most ``MAX_CURVES``."""
    known = analysis.curves["metric"].unique().sort().to_list()
    wanted = [name for name in analysis.config.curves if name in known]
    return list(dict.fromkeys([*wanted, *known]))[:MAX_CURVES]


# --- interval plot ----------------------------------------------------------------


def interval_plot(analysis: AnalysisContent) -> Figure | None:
    """Each statistic of each group with its interval; ``None`` without estimates."""
    statistics = list(dict.fromkeys(one.statistic for one in analysis.estimates))
    groups = group_order(analysis)[:MAX_ROWS]
    if not statistics or not groups:
        return None

    def chart(variant: Variant) -> Plot:
        style = Groups(groups, variant)
        room = variant.width - style.label_width
        width = room // len(statistics) - 22 if variant.columns > 1 else room
        panels = [
            _interval_panel(
                analysis, one, style, width, has_labels=at == 0 or variant is NARROW
            )
            for at, one in enumerate(statistics)
        ]
        columns = len(panels) if variant.columns > 1 else 1
        return {**in_grid(panels, columns), "spacing": 22}

    confidence = f"{analysis.config.interval.confidence:.0%}"
    return figure(
        analysis,
        "interval_plot",
        f"Score by group, with {confidence} confidence intervals",
        "Point: estimate. Bar: confidence interval. The best group comes first. "
        "Numbers: stats.interval_estimates.",
        chart,
    )


def _interval_panel(
    analysis: AnalysisContent,
    statistic: str,
    style: Groups,
    width: int,
    *,
    has_labels: bool,
) -> Plot:
    rows = [one for one in ranked(analysis, statistic) if one.group in style.names]
    places = decimals([one.value for one in rows])
    x = alt.X(
        "value:Q",
        scale=alt.Scale(domain=_extent(analysis, statistic), zero=False, padding=18),
        axis=alt.Axis(title=_score_title(analysis, width // 6), tickCount=5),
    )
    return interval_rows(
        [_interval_row(one, style, places) for one in rows],
        style.domain,
        x,
        color=style.color(legend=False),
        shape=style.shape(),
        has_labels=has_labels,
        width=width,
        title=STATISTIC_NAMES.get(statistic, shown(statistic, 30)),
    )


def _extent(analysis: AnalysisContent, statistic: str) -> list[float]:
    """One axis for all statistics in the unit of the score; a gap has its own."""
    is_gap = pl.col("statistic") == "optimality_gap"
    shares = is_gap if statistic == "optimality_gap" else ~is_gap
    ends = analysis.interval_estimates.filter(shares).select(
        low=pl.min_horizontal("estimate", "ci_low").fill_nan(None).min(),
        high=pl.max_horizontal("estimate", "ci_high").fill_nan(None).max(),
    )
    low, high = (finite(end) for end in ends.row(0))
    return [0.0 if low is None else low, 1.0 if high is None else high]


def _interval_row(one: Estimate, style: Groups, places: int) -> dict[str, Any]:
    return {
        "name": style.label[one.group],
        "group": style.label[one.group],
        "value": finite(one.value),
        "low": finite(one.low),
        "high": finite(one.high),
        "text": number(one.value, places),
    }


def _score_title(analysis: AnalysisContent, limit: int) -> str:
    score = analysis.config.score
    method = analysis.config.normalize.method
    scale = "" if method == "none" else f", {method}"
    how = f" ({score.aggregate}{scale})"
    return shown(score.metric, max(limit - len(how), 8)) + how


# --- learning curves --------------------------------------------------------------


def learning_curves(analysis: AnalysisContent, metric: str) -> Figure | None:
    """One metric over training, a panel per task; ``None`` without points."""
    bands = _drawn_bands(analysis, metric)
    if bands.is_empty():
        return None
    present = set(bands["group_name"])
    known = [one for one in group_order(analysis) if one in present]
    groups = [*known, *sorted(present - set(known))][:MAX_GROUPS]
    bands = bands.filter(pl.col("group_name").is_in(groups))

    def chart(variant: Variant) -> Plot:
        return _curve_panels(bands, Groups(groups, variant), metric, variant)

    left_out = len(present) - len(groups)
    return figure(
        analysis,
        f"learning_curves-{slug(metric)}",
        f"Learning curves: {shown(metric)}",
        "Line: interquartile mean over runs. Band: the middle half of the runs "
        "(25th to 75th percentile). Drawn where at least half of the runs have a "
        "value. Numbers: derived.metric_curves; the bands are in report.json."
        + (f" {left_out} more groups are not drawn." if left_out else ""),
        chart,
    )


def _drawn_bands(analysis: AnalysisContent, metric: str) -> pl.DataFrame:
    """Bands of one metric on its most frequent x axis, thinned to what is visible."""
    curves = analysis.curves.filter(pl.col("metric") == metric)
    axes = curves["x_metric"].value_counts().sort("count", "x_metric")["x_metric"]
    curves = curves.filter(pl.col("x_metric").eq_missing(pl.lit(axes.last())))
    if curves["task"].n_unique() > MAX_TASKS:
        curves = curves.with_columns(task=pl.lit(None, pl.String))
    series = ["task", "group_name"]
    every = (pl.len().over(series) - 1) // MAX_POINTS + 1
    place = pl.int_range(pl.len()).over(series)
    is_last = place == pl.len().over(series) - 1
    return curve_bands(curves).filter((place % every == 0) | is_last)


def _curve_panels(
    bands: pl.DataFrame, style: Groups, metric: str, variant: Variant
) -> Plot:
    tasks = bands["task"].unique().sort().to_list()
    columns = min(variant.columns, len(tasks))
    task_labels = labels([one for one in tasks if one is not None], 40)
    width = variant.width // columns - 62
    panels = [
        _curve_panel(
            bands.filter(pl.col("task").eq_missing(pl.lit(task, pl.String))),
            style,
            _axes(
                bands,
                metric,
                has_y_title=at % columns == 0,
                has_x_title=at >= len(tasks) - columns,
            ),
            width=width,
            height=170 if len(tasks) > 1 else 260,
            title=task_labels.get(task, ""),
        )
        for at, task in enumerate(tasks)
    ]
    return with_one_legend(panels, columns)


def _axes(
    bands: pl.DataFrame,
    metric: str,
    *,
    has_y_title: bool,
    has_x_title: bool,
) -> tuple[alt.X, alt.Y]:
    x_metric = bands["x_metric"].first()
    largest = bands["grid_x"].abs().max()
    form = "~s" if isinstance(largest, float) and largest >= 10_000 else ",~r"
    x_title = axis_name(str(x_metric or "_step")) if has_x_title else None
    x_domain = list(bands.select(pl.min("grid_x"), max=pl.max("grid_x")).row(0))
    y_domain = list(bands.select(pl.min("low"), pl.max("high")).row(0))
    x = alt.X(
        "grid_x:Q",
        scale=alt.Scale(domain=x_domain, nice=False),
        axis=alt.Axis(title=x_title, format=form, tickCount=5),
    )
    y = alt.Y(
        "center:Q",
        scale=alt.Scale(domain=y_domain, zero=False, nice=True),
        axis=alt.Axis(title=shown(metric, 30) if has_y_title else None, tickCount=5),
    )
    return x, y


def _curve_panel(
    bands: pl.DataFrame, style: Groups, axes: tuple[alt.X, alt.Y], **about: Any
) -> Plot:
    x, y = axes
    columns = ["grid_x", "center", "low", "high"]
    labelled = bands.select(
        pl.col("group_name").replace_strict(style.label).alias("group"), *columns
    )
    base = chart_of(labelled.to_dicts())
    color = style.color(legend=True)
    band = base.mark_area(opacity=0.16, line=False).encode(
        x=x, y=alt.Y("low:Q"), y2=alt.Y2("high:Q"), color=color
    )
    line = base.mark_line(strokeWidth=2.2).encode(
        x=x, y=y, color=color, strokeDash=style.dash()
    )
    return layered(band, line, **about)


# --- performance profile ----------------------------------------------------------


def performance_profile(analysis: AnalysisContent) -> Figure | None:
    """Share of runs above each threshold; ``None`` without profiles."""
    profiles = analysis.performance_profiles.with_columns(
        pl.col("threshold", "fraction", "ci_low", "ci_high").fill_nan(None)
    )
    groups = group_order(analysis)[:MAX_GROUPS]
    drawn = profiles.filter(pl.col("group_name").is_in(groups))
    kinds = drawn["kind"].unique().sort(descending=True).to_list()
    if drawn.is_empty():
        return None

    def chart(variant: Variant) -> Plot:
        style = Groups(groups, variant)
        columns = min(variant.columns, len(kinds))
        panels = [
            _profile_panel(
                drawn.filter(pl.col("kind").eq_missing(pl.lit(kind))),
                style,
                width=variant.width // columns - 62,
                height=250,
                title=shown(kind, 30) if len(kinds) > 1 else "",
            )
            for kind in kinds
        ]
        return with_one_legend(panels, columns)

    return figure(
        analysis,
        "performance_profile",
        "Performance profile",
        "Share of runs whose score exceeds the threshold; a higher line is better "
        "wherever it does not cross another. Band: confidence interval. "
        "Numbers: stats.performance_profiles.",
        chart,
    )


def _profile_panel(profiles: pl.DataFrame, style: Groups, **about: Any) -> Plot:
    labelled = profiles.sort("group_name", "threshold").select(
        pl.col("group_name").replace_strict(style.label).alias("group"),
        "threshold",
        "fraction",
        "ci_low",
        "ci_high",
    )
    base = chart_of(labelled.to_dicts())
    x = alt.X(
        "threshold:Q",
        scale=alt.Scale(nice=False, zero=False),
        axis=alt.Axis(title="score threshold", tickCount=6),
    )
    y = alt.Y(
        "fraction:Q",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(title="share of runs above it", format=".0%", tickCount=5),
    )
    color = style.color(legend=True)
    band = base.mark_area(opacity=0.16, interpolate="step-after").encode(
        x=x, y=alt.Y("ci_low:Q"), y2=alt.Y2("ci_high:Q"), color=color
    )
    line = base.mark_line(strokeWidth=2.2, interpolate="step-after").encode(
        x=x, y=y, color=color, strokeDash=style.dash()
    )
    return layered(band, line, **about)


PLOTS: Mapping[str, Callable[[AnalysisContent], Figure | None]] = {
    "interval_plot": interval_plot,
    "performance_profile": performance_profile,
    "comparisons": comparisons,
    "probability_of_improvement": probability_of_improvement,
    "rank_stability": rank_stability,
    "sample_efficiency": sample_efficiency,
    "optimality_gaps": optimality_gaps,
    "scores_over_time": scores_over_time,
}
"""Plots of which an analysis has at most one, by kind."""
