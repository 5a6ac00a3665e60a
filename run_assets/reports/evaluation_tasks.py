"""Pictures of tasks in an evaluation: rewards, success, difficulty.

A cell that was never run is empty in every picture, not zero.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from run_assets.reports import palette
from run_assets.reports.composing import Plot, chart_of, in_grid, layered, step
from run_assets.reports.drawing import NARROW, Groups, Variant
from run_assets.reports.evaluation_content import EvaluationContent
from run_assets.reports.evaluation_marks import (
    confidence,
    evaluation_figure,
    models_of,
    points,
    rows_axis,
    share,
)
from run_assets.reports.figure import MAX_GROUPS, MAX_ROWS, MAX_TASKS, Figure
from run_assets.reports.text import labels

# Neither paper nor ink: cells keep their colours on a dark page, so must their text.
_DARK_TEXT, _LIGHT_TEXT = "#1d2531", "#fefefe"
_CELLS = ("#eef3f8", "#0b4f8b")
_CLASSES = {"all": "#0b4f8b", "some": "#7fb0d8", "none": "#c9d1da"}


def reward_distribution(content: EvaluationContent) -> Figure | None:
    """Rewards of all trials, task by task: the tasks with the most differing ones."""
    rows = content.trials.filter(
        pl.col("reward").is_not_null(), pl.col("is_success").is_not_null()
    )
    models = models_of(content, rows, MAX_GROUPS)
    if not models:
        return None
    spread = rows.group_by("task").agg(pl.col("reward").std().fill_null(0).alias("s"))
    tasks = spread.sort("s", "task", descending=[True, False])["task"].head(MAX_TASKS)

    def chart(variant: Variant) -> Plot:
        style = Groups(models, variant)
        names = labels(tasks, variant.label_limit)
        room = (variant.width - variant.columns * style.label_width) // variant.columns
        panels = [
            _rewards_panel(
                rows.filter(pl.col("model").is_in(models), pl.col("task") == task),
                style,
                width=room - 20,
                title=names[task],
            )
            for task in tasks
        ]
        return in_grid(panels, variant.columns)

    return evaluation_figure(
        content,
        "reward_distribution",
        "Rewards of the trials",
        f"Tick: one trial. Bar: quartiles, with the median. Of {spread.height} tasks "
        f"the {len(tasks)} whose rewards differ most; each has its own axis. "
        "Numbers: core.trials.",
        chart,
    )


def _rewards_panel(rows: pl.DataFrame, style: Groups, **about: Any) -> Plot:
    base = points(rows.sort("model", "source", "sweep_id", "trial"), style, "reward")
    reward = pl.col("reward")
    boxes = rows.group_by("model").agg(
        reward.quantile(0.25, "linear").alias("low"),
        reward.median().alias("middle"),
        reward.quantile(0.75, "linear").alias("high"),
    )
    box = points(boxes.sort("model"), style, "low", "middle", "high")
    y, color = rows_axis(style.domain), style.color(legend=False)
    x = alt.X(
        "reward:Q",
        scale=alt.Scale(zero=False, padding=8),
        axis=alt.Axis(title="reward", tickCount=4),
    )
    ticks = base.mark_tick(size=14, thickness=1.5, opacity=0.55).encode(
        x=x, y=y, color=color
    )
    bars = box.mark_rule(strokeWidth=9, opacity=0.25).encode(
        x=alt.X("low:Q"), x2=alt.X2("high:Q"), y=y, color=color
    )
    middle = box.mark_point(filled=True, size=60, opacity=1).encode(
        x=alt.X("middle:Q"), y=y, color=color, shape=style.shape()
    )
    return layered(bars, ticks, middle, height=step(26), **about)


def task_heatmap(content: EvaluationContent) -> Figure | None:
    """Success rate of each model on each task; cells never run are empty."""
    cells = content.model_tasks.filter(pl.col("n_trials") > 0)
    models, tasks = content.model_names[:MAX_GROUPS], content.task_names[:MAX_ROWS]
    kept = cells.filter(pl.col("model").is_in(models), pl.col("task").is_in(tasks))
    if kept.is_empty():
        return None

    def chart(variant: Variant) -> Plot:
        return _grid(kept, models, tasks, variant, "success_rate")

    return evaluation_figure(
        content,
        "task_heatmap",
        "Success rate by task and model",
        "Number: successful trials. The hardest task comes first. Empty: never run. "
        "A dot marks a cell whose trials were stopped at the first success: it has no "
        "rate. Numbers: marts.model_tasks.",
        chart,
    )


def _grid(
    cells: pl.DataFrame,
    models: Sequence[str],
    tasks: Sequence[str],
    variant: Variant,
    column: str,
) -> Plot:
    x_names, y_names = labels(models, variant.label_limit), labels(tasks, 28)
    is_stopped = pl.col("is_stopped_early")
    rows = cells.sort("task", "model").select(
        pl.col("model").replace_strict(x_names).alias("x"),
        pl.col("task").replace_strict(y_names).alias("y"),
        pl.when(~is_stopped).then(column).alias("rate"),
        pl.when(is_stopped)
        .then(pl.lit("•"))
        .otherwise((pl.col(column) * 100).round(0).cast(pl.Int64).cast(pl.String) + "%")
        .alias("text"),
        pl.when(~is_stopped & (pl.col(column) > 0.55))
        .then(pl.lit(_LIGHT_TEXT))
        .otherwise(pl.lit(_DARK_TEXT))
        .alias("ink"),
    )
    base = chart_of(rows.to_dicts())
    x = alt.X(
        "x:N",
        scale=alt.Scale(domain=list(x_names.values())),
        axis=alt.Axis(
            title=None,
            orient="top",
            labelAngle=-35 if variant is NARROW else 0,
            labelLimit=110,
        ),
    )
    y = rows_axis(list(y_names.values()), "y")
    color = alt.Color(
        "rate:Q",
        scale=alt.Scale(domain=[0, 1], range=list(_CELLS), interpolate="rgb"),
        legend=None,
    )
    boxes = base.mark_rect(stroke=palette.PAPER.light, strokeWidth=2).encode(
        x=x, y=y, color=color
    )
    texts = base.mark_text(fontSize=variant.font - 1).encode(
        x=x, y=y, text=alt.Text("text:N"), color=alt.Color("ink:N", scale=None)
    )
    left = 14 + round(0.6 * variant.font * max(map(len, y_names.values())))
    width = min(variant.width - left, 120 * len(models))
    apart = {"scale": {"color": "independent"}}
    return layered(boxes, texts, width=width, height=step(26), resolve=apart)


def success_classes(content: EvaluationContent) -> Figure | None:
    """On how many tasks all, some or none of a model's trials succeeded."""
    rows = content.models.filter(pl.col("n_tasks") > 0)
    models = models_of(content, rows, MAX_ROWS)
    if not models:
        return None

    def chart(variant: Variant) -> Plot:
        names = labels(models, variant.label_limit)
        counted = [
            {
                "model": names[row["model"]],
                "class": one,
                "n": row[f"n_{one}"],
                "place": at,
            }
            for row in rows.sort("model").iter_rows(named=True)
            if row["model"] in names
            for at, one in enumerate(_CLASSES)
            if row[f"n_{one}"]
        ]
        color = alt.Color(
            "class:N",
            scale=alt.Scale(domain=list(_CLASSES), range=list(_CLASSES.values())),
            legend=alt.Legend(title=None, orient="top", symbolType="square"),
        )
        bars = (
            chart_of(counted)
            .mark_bar(height=18)
            .encode(
                x=alt.X(
                    "n:Q",
                    axis=alt.Axis(title="tasks", tickMinStep=1, format="d"),
                    stack="zero",
                ),
                y=rows_axis(list(names.values()), "model"),
                color=color,
                order=alt.Order("place:Q"),
            )
        )
        left = Groups(models, variant).label_width
        return layered(bars, width=variant.width - left, height=step(30))

    return evaluation_figure(
        content,
        "success_classes",
        "Tasks by how many of their trials succeeded",
        "All, some or none of a model's trials of the task succeeded. "
        "Numbers: marts.model_tasks.",
        chart,
    )


def difficulty(content: EvaluationContent) -> Figure | None:
    """Success rate of each task over models, the hardest first."""
    rows = content.task_difficulty.filter(pl.col("success_rate").is_not_null())
    rated = set(rows["task"])
    tasks = [one for one in content.task_names if one in rated][:MAX_ROWS]
    if not tasks:
        return None

    def chart(variant: Variant) -> Plot:
        names = labels(tasks, variant.label_limit)
        columns = ("success_rate", "ci_low", "ci_high", "best_rate")
        base = chart_of(
            rows.filter(pl.col("task").is_in(tasks))
            .select(pl.col("task").replace_strict(names), *columns)
            .to_dicts()
        )
        y = rows_axis(list(names.values()), "task")
        ink = palette.GROUPS[0].light
        bar = base.mark_rule(strokeWidth=7, opacity=0.3, color=ink).encode(
            x=alt.X("ci_low:Q"), x2=alt.X2("ci_high:Q"), y=y
        )
        best = base.mark_tick(thickness=2, size=16, color=palette.GROUPS[1].light)
        point = base.mark_point(filled=True, size=80, opacity=1, color=ink)
        x = share("success_rate", "Success rate, mean over models")
        left = 14 + round(0.6 * variant.font * max(map(len, names.values())))
        return layered(
            bar,
            best.encode(x=alt.X("best_rate:Q"), y=y),
            point.encode(x=x, y=y),
            width=variant.width - left,
            height=step(26),
        )

    return evaluation_figure(
        content,
        "task_difficulty",
        "Difficulty of the tasks",
        f"Point: mean success rate over models, the hardest task first. Bar: "
        f"{confidence(content)} confidence interval over models. Tick: the best "
        "model. Numbers: stats.task_difficulty.",
        chart,
    )
