"""How scores move over the calendar: does the lab get better?"""

from typing import Any

import altair as alt
import polars as pl

from run_assets.reports.composing import Plot, chart_of, layered, with_one_legend
from run_assets.reports.content import AnalysisContent
from run_assets.reports.drawing import Groups, Variant
from run_assets.reports.figure import MAX_GROUPS, MAX_TASKS, Figure, figure
from run_assets.reports.text import labels, shown
from run_assets.reports.verdicts import group_order

MAX_RUNS = 600
"""Points beyond these hide each other."""

_PERIODS = {"day": ("1d", "%d %b"), "hour": ("1h", "%H:%M"), "minute": ("1m", "%H:%M")}


def scores_over_time(analysis: AnalysisContent) -> Figure | None:
    """Each run at its creation; ``None`` where all of them are of one minute."""
    dated = analysis.scores.filter(
        pl.col("score").is_finite(), pl.col("created_at").is_not_null()
    )
    period = _period(dated["created_at"])
    if period is None:
        return None
    length, _ = _PERIODS[period]
    dated = dated.with_columns(period=pl.col("created_at").dt.truncate(length))
    groups = [g for g in group_order(analysis) if g in set(dated["group_name"])]
    left_out = len(groups) - len(groups[:MAX_GROUPS])
    groups = groups[:MAX_GROUPS]
    if dated["task"].n_unique() > MAX_TASKS:
        dated = dated.with_columns(task=pl.lit(None, pl.String))
    kept = dated.filter(pl.col("group_name").is_in(groups)).sort(
        "created_at", "run_path"
    )

    def chart(variant: Variant) -> Plot:
        titles = (shown(analysis.config.score.metric, 30), _PERIODS[period][1])
        return _panels(kept, Groups(groups, variant), variant, titles)

    n_hidden = max(0, kept.height - MAX_RUNS)
    return figure(
        analysis,
        "scores_over_time",
        "Scores over time",
        f"Point: a run at its creation (UTC). Line: median of the runs of a {period}. "
        "Numbers: stats.scores."
        + (f" {n_hidden:,} older runs are in the line only." if n_hidden else "")
        + (f" {left_out} more groups are not drawn." if left_out else ""),
        chart,
    )


def _period(instants: pl.Series) -> str | None:
    """The longest period of which the runs fill more than one."""
    return next(
        (
            name
            for name, (length, _) in _PERIODS.items()
            if instants.dt.truncate(length).n_unique() > 1
        ),
        None,
    )


def _panels(
    scores: pl.DataFrame, style: Groups, variant: Variant, titles: tuple[str, str]
) -> Plot:
    tasks = scores["task"].unique().sort().to_list()
    columns = min(variant.columns, len(tasks))
    names = labels([one for one in tasks if one is not None], 40)
    metric, form = titles
    panels = [
        _panel(
            scores.filter(pl.col("task").eq_missing(pl.lit(task, pl.String))),
            style,
            (metric if at % columns == 0 else None, form),
            width=variant.width // columns - 62,
            height=170 if len(tasks) > 1 else 260,
            title=names.get(task, ""),
        )
        for at, task in enumerate(tasks)
    ]
    return with_one_legend(panels, columns)


def _panel(
    scores: pl.DataFrame, style: Groups, titles: tuple[str | None, str], **about: Any
) -> Plot:
    label = pl.col("group_name").replace_strict(style.label).alias("group")
    points = scores.tail(MAX_RUNS).select(label, at=_instant("created_at"), y="score")
    medians = (
        scores.group_by("group_name", "period")
        .agg(pl.col("score", "created_at").median())
        .sort("group_name", "period")
        .select(label, at=_instant("created_at"), y="score")
    )
    x = alt.X(
        "at:T",
        scale=alt.Scale(type="utc", padding=10),
        axis=alt.Axis(title=None, tickCount=4, format=titles[1], labelOverlap=True),
    )
    y = alt.Y(
        "y:Q",
        scale=alt.Scale(zero=False, nice=True),
        axis=alt.Axis(title=titles[0], tickCount=5),
    )
    color = style.color(legend=True)
    dots = chart_of(points.to_dicts()).mark_circle(size=34, opacity=0.45)
    line = chart_of(medians.to_dicts()).mark_line(strokeWidth=2.2)
    return layered(
        line.encode(x=x, y=y, color=color, strokeDash=style.dash()),
        dots.encode(x=x, y=y, color=color),
        **about,
    )


def _instant(column: str) -> pl.Expr:
    return pl.col(column).dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
