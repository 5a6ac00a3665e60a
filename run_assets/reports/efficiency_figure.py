"""How good a group is after how many steps, over all tasks."""

import altair as alt
import polars as pl

from run_assets.reports.composing import Plot, chart_of, layered
from run_assets.reports.content import AnalysisContent
from run_assets.reports.drawing import Groups, Variant
from run_assets.reports.figure import MAX_GROUPS, Figure, figure
from run_assets.reports.text import axis_name, shown
from run_assets.reports.verdicts import group_order

_WHOLE = ("area", "first_step")
STATISTICS = {"iqm": "IQM", "mean": "Mean", "median": "Median"}


def sample_efficiency(analysis: AnalysisContent) -> Figure | None:
    """The aggregate curve of each group with its band; ``None`` without curves."""
    points = analysis.sample_efficiency.filter(
        ~pl.col("statistic").is_in(_WHOLE), pl.col("estimate").is_not_null()
    )
    if points.is_empty():
        return None
    present = set(points["group_name"])
    groups = [one for one in group_order(analysis) if one in present][:MAX_GROUPS]
    kept = points.filter(pl.col("group_name").is_in(groups))
    statistic = str(kept["statistic"][0])
    axes = analysis.curves["x_metric"].drop_nulls()
    x_title = axis_name(str(axes[0])) if axes.len() else "step"

    def chart(variant: Variant) -> Plot:
        style = Groups(groups, variant)
        metric = shown(analysis.config.score.metric, 30)
        lines = _lines(kept, style, (x_title, metric))
        return {**lines, "width": variant.width - 70, "height": 260}

    name = STATISTICS.get(statistic, statistic)
    confidence = f"{analysis.config.interval.confidence:.0%}"
    return figure(
        analysis,
        "sample_efficiency",
        f"Sample efficiency: {name} over all tasks",
        f"Line: {name} of the runs that have a value there. Band: {confidence} "
        "confidence interval at each point by itself. Numbers, area under the curve "
        "and first step at the target: stats.sample_efficiency.",
        chart,
    )


def _lines(points: pl.DataFrame, style: Groups, titles: tuple[str, str]) -> Plot:
    labelled = points.sort("group_name", "grid_x").select(
        pl.col("group_name").replace_strict(style.label).alias("group"),
        "grid_x",
        pl.col("estimate", "ci_low", "ci_high").fill_nan(None),
    )
    base = chart_of(labelled.to_dicts())
    largest = points["grid_x"].abs().max()
    form = "~s" if isinstance(largest, float) and largest >= 10_000 else ",~r"
    x = alt.X(
        "grid_x:Q",
        scale=alt.Scale(nice=False, zero=False),
        axis=alt.Axis(title=titles[0], format=form, tickCount=5),
    )
    y = alt.Y(
        "estimate:Q",
        scale=alt.Scale(zero=False, nice=True),
        axis=alt.Axis(title=titles[1], tickCount=5),
    )
    color = style.color(legend=True)
    band = base.mark_area(opacity=0.16, line=False).encode(
        x=x, y=alt.Y("ci_low:Q"), y2=alt.Y2("ci_high:Q"), color=color
    )
    line = base.mark_line(strokeWidth=2.2).encode(
        x=x, y=y, color=color, strokeDash=style.dash()
    )
    return layered(band, line)
