"""Pictures of models in an evaluation: success, pass@k, cost, time."""

import altair as alt
import polars as pl

from run_assets.contracts.evaluations import ALL_TASKS
from run_assets.reports import palette
from run_assets.reports.composing import Plot, layered, step, with_one_legend
from run_assets.reports.drawing import Groups, Variant
from run_assets.reports.evaluation_content import EvaluationContent
from run_assets.reports.evaluation_marks import (
    confidence,
    evaluation_figure,
    models_of,
    points,
    rows_axis,
    share,
    share_y,
)
from run_assets.reports.figure import MAX_GROUPS, MAX_ROWS, Figure
from run_assets.stats.trial_costs import pareto_front


def model_comparison(content: EvaluationContent) -> Figure | None:
    """Success rate of each model with its interval, and any_success_rate."""
    rows = content.totals.filter(pl.col("any_success_rate").is_not_null())
    models = models_of(content, rows, MAX_ROWS)
    if not models:
        return None

    def chart(variant: Variant) -> Plot:
        style = Groups(models, variant)
        kept = rows.filter(pl.col("model").is_in(models))
        base = points(kept, style, "estimate", "ci_low", "ci_high", "any_success_rate")
        y = rows_axis(style.domain)
        x = share("estimate", "Success rate, mean over tasks")
        color = style.color(legend=False)
        bar = base.mark_rule(strokeWidth=7, opacity=0.35).encode(
            x=alt.X("ci_low:Q"), x2=alt.X2("ci_high:Q"), y=y, color=color
        )
        point = base.mark_point(size=95, filled=True, opacity=1).encode(
            x=x, y=y, color=color, shape=style.shape()
        )
        any_success = base.mark_tick(thickness=2, size=22).encode(
            x=alt.X("any_success_rate:Q"), y=y, color=color
        )
        return layered(
            bar,
            any_success,
            point,
            width=variant.width - style.label_width,
            height=step(40),
        )

    return evaluation_figure(
        content,
        "model_comparison",
        "Success rate by model",
        f"Point: mean success rate over tasks. Bar: {confidence(content)} confidence "
        "interval over tasks. Tick: share of tasks with any success, which grows with "
        "the number of trials. Numbers: stats.success_rates.",
        chart,
    )


def pass_at_k(content: EvaluationContent) -> Figure | None:
    """pass@k and pass^k of each model with bands over k."""
    rows = content.pass_at_k.filter(
        pl.col("task") == ALL_TASKS, pl.col("estimate").is_not_null()
    )
    models = models_of(content, rows, MAX_GROUPS)
    if not models:
        return None
    kept = rows.filter(pl.col("model").is_in(models))

    def chart(variant: Variant) -> Plot:
        style = Groups(models, variant)
        width = (variant.width - 150) // variant.columns
        panels = [
            {
                **_pass_panel(kept.filter(statistic=name), style, name),
                "width": width,
                "height": 240,
                "title": title,
            }
            for name, title in (
                ("pass@k", "pass@k: any of k trials succeeds"),
                ("pass^k", "pass^k: all of k trials succeed"),
            )
        ]
        return with_one_legend(panels, variant.columns)

    return evaluation_figure(
        content,
        "pass_at_k",
        "Chance of success in k trials",
        f"Line: unbiased for each task, mean over tasks. Band: {confidence(content)} "
        "confidence interval over tasks. A model without a point has a task with fewer "
        "than k trials, or stopped at its first success. Numbers: stats.pass_at_k.",
        chart,
    )


def _pass_panel(rows: pl.DataFrame, style: Groups, name: str) -> Plot:
    base = points(rows.sort("model", "k"), style, "k", "estimate", "ci_low", "ci_high")
    ticks = rows["k"].unique().sort().to_list()
    x = alt.X(
        "k:Q",
        scale=alt.Scale(zero=False, nice=False),
        axis=alt.Axis(title="k", values=ticks, format="d", grid=False),
    )
    color = style.color(legend=True)
    band = base.mark_area(opacity=0.14, line=False).encode(
        x=x, y=alt.Y("ci_low:Q"), y2=alt.Y2("ci_high:Q"), color=color
    )
    line = base.mark_line(strokeWidth=2.2).encode(
        x=x, y=share_y("estimate", name), color=color, strokeDash=style.dash()
    )
    point = base.mark_point(filled=True, size=36, opacity=1).encode(
        x=x, y=alt.Y("estimate:Q"), color=style.color(legend=True)
    )
    return layered(band, line, point)


def efficiency_scatter(content: EvaluationContent) -> Figure | None:
    """Tokens against success and reward, with the models that nobody beats."""
    rows = content.efficiency.filter(
        pl.col("mean_tokens").is_not_null(),
        pl.col("mean_reward").is_not_null() | pl.col("success_rate").is_not_null(),
    )
    models = models_of(content, rows, MAX_GROUPS)
    if not models:
        return None
    kept = rows.filter(pl.col("model").is_in(models))

    def chart(variant: Variant) -> Plot:
        style = Groups(models, variant)
        width = (variant.width - 170) // variant.columns
        panels = [
            _scatter(kept.filter(pl.col(column).is_not_null()), style, column, title)
            for column, title in (
                ("success_rate", "Success rate"),
                ("mean_reward", "Mean reward"),
            )
            if kept[column].count()
        ]
        return with_one_legend(
            [{**one, "width": width, "height": 230} for one in panels],
            variant.columns,
        )

    return evaluation_figure(
        content,
        "efficiency_scatter",
        "What tokens buy",
        "Point: a model, by its mean tokens of a trial. Line: the Pareto front; no "
        "model has as much for as few tokens as those on it. Numbers: "
        "stats.efficiency.",
        chart,
    )


def _scatter(rows: pl.DataFrame, style: Groups, column: str, title: str) -> Plot:
    places = rows.select(column, "mean_tokens").rows()
    is_front = pl.Series("is_front", pareto_front(places), pl.Boolean)
    front = rows.filter(is_front).sort("mean_tokens", "model")
    x = alt.X(
        "mean_tokens:Q",
        scale=alt.Scale(zero=False, padding=20),
        axis=alt.Axis(title="tokens of a trial", format="~s", tickCount=5),
    )
    is_share = column == "success_rate"
    y = (
        share_y(column, title)
        if is_share
        else alt.Y(
            f"{column}:Q",
            scale=alt.Scale(zero=False, padding=12),
            axis=alt.Axis(title=title, tickCount=5),
        )
    )
    line = (
        points(front, style, "mean_tokens", column)
        .mark_line(interpolate="step-after", color=palette.MUTED.light, strokeWidth=1.2)
        .encode(x=x, y=y)
    )
    dots = (
        points(rows.sort("model"), style, "mean_tokens", column)
        .mark_point(filled=True, size=110, opacity=1)
        .encode(
            x=x,
            y=y,
            color=style.color(legend=False).legend(
                title=None, orient="top", symbolSize=90, labelLimit=300
            ),
            shape=style.shape(),
        )
    )
    return layered(line, dots)


def learning_curves(content: EvaluationContent) -> Figure | None:
    """Success and reward by window of time; ``None`` where there is but one."""
    rows = content.results_over_time
    models = models_of(content, rows, MAX_GROUPS)
    if not models or rows["window_start_at"].n_unique() < 2:
        return None
    kept = rows.filter(pl.col("model").is_in(models)).sort("model", "window_start_at")

    def chart(variant: Variant) -> Plot:
        style = Groups(models, variant)
        width = (variant.width - 150) // variant.columns
        panels = [_over_time(kept, style, "success_rate", "Success rate")]
        if kept["mean_reward"].count():
            panels.append(_over_time(kept, style, "mean_reward", "Mean reward"))
        return with_one_legend(
            [{**one, "width": width, "height": 220} for one in panels],
            variant.columns,
        )

    hours = float(kept["window_seconds"][0]) / 3600
    return evaluation_figure(
        content,
        "learning_curves",
        "Results over time",
        f"Line: trials that ended within {hours:g} h. Band: {confidence(content)} "
        "confidence interval of the success rate, one standard deviation of the "
        "reward. Numbers: stats.results_over_time.",
        chart,
    )


def _over_time(rows: pl.DataFrame, style: Groups, column: str, title: str) -> Plot:
    mean, std = pl.col("mean_reward"), pl.col("std_reward").fill_null(0)
    is_share = column == "success_rate"
    ends = (
        rows if is_share else rows.with_columns(ci_low=mean - std, ci_high=mean + std)
    )
    timed = ends.filter(pl.col(column).is_not_null()).with_columns(
        at=pl.col("window_start_at").dt.epoch("ms")
    )
    base = points(timed, style, "at", column, "ci_low", "ci_high")
    x = alt.X(
        "at:T",
        scale=alt.Scale(type="utc"),
        axis=alt.Axis(
            title="time (UTC)", tickCount=4, grid=False, format=_moments(timed)
        ),
    )
    y = (
        share_y(column, title)
        if is_share
        else alt.Y(
            f"{column}:Q",
            scale=alt.Scale(zero=False),
            axis=alt.Axis(title=title, tickCount=5),
        )
    )
    color = style.color(legend=True)
    band = base.mark_area(opacity=0.12, line=False).encode(
        x=x, y=alt.Y("ci_low:Q"), y2=alt.Y2("ci_high:Q"), color=color
    )
    line = base.mark_line(strokeWidth=2.2, point=True).encode(
        x=x, y=y, color=color, strokeDash=style.dash()
    )
    return layered(band, line)


def _moments(rows: pl.DataFrame) -> str:
    """How moments are written: with hours where days alone would repeat."""
    days = rows["window_start_at"].dt.date().n_unique()
    return "%H:%M" if days == 1 else "%m-%d" if days > 4 else "%m-%d %H:%M"
