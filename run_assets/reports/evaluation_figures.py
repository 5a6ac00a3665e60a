"""Pictures of an evaluation: models, pass@k, rewards, costs, time, tasks.

A cell that was never run is empty in every picture, not zero.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import altair as alt
import polars as pl

from run_assets.contracts.evaluations import ALL_TASKS
from run_assets.reports import palette
from run_assets.reports.drawing import (
    NARROW,
    Chart,
    Groups,
    Variant,
    chart_of,
    side_by_side,
)
from run_assets.reports.evaluation_content import EvaluationContent
from run_assets.reports.figure import MAX_GROUPS, MAX_ROWS, MAX_TASKS, Figure
from run_assets.reports.text import labels, slug
from run_assets.stats.trial_costs import pareto_front

Panel = alt.LayerChart | alt.FacetChart
_SHARE = alt.Scale(domain=[0, 1])
_PERCENT = ".0%"
# Neither paper nor ink: cells keep their colours on a dark page, so must their text.
_DARK_TEXT, _LIGHT_TEXT = "#1d2531", "#fefefe"
_CELLS = ("#eef3f8", "#0b4f8b")
_CLASSES = {"all": "#0b4f8b", "some": "#7fb0d8", "none": "#c9d1da"}


def evaluation_figures(content: EvaluationContent) -> dict[str, Figure]:
    """All pictures of an evaluation by name; those without data are left out."""
    found = [plot(content) for plot in EVALUATION_PLOTS.values()]
    return {one.name: one for one in found if one is not None}


def _figure(
    content: EvaluationContent, kind: str, title: str, caption: str, chart: Chart
) -> Figure:
    name = f"{slug(content.name)}-{kind}"
    return Figure(name, kind, content.name, title, caption, chart)


def _models(content: EvaluationContent, frame: pl.DataFrame, most: int) -> list[str]:
    present = set(frame["model"])
    return [one for one in content.model_names if one in present][:most]


def model_comparison(content: EvaluationContent) -> Figure | None:
    """Success rate of each model with its interval, and any_success_rate."""
    rows = content.totals.filter(pl.col("any_success_rate").is_not_null())
    models = _models(content, rows, MAX_ROWS)
    if not models:
        return None

    def chart(variant: Variant) -> alt.TopLevelMixin:
        style = Groups(models, variant)
        kept = rows.filter(pl.col("model").is_in(models))
        base = _points(kept, style, "estimate", "ci_low", "ci_high", "any_success_rate")
        y = _rows_axis(style.domain)
        x = _share("estimate", "Success rate, mean over tasks")
        color = style.color(legend=False)
        bar = base.mark_rule(strokeWidth=7, opacity=0.35).encode(
            x=alt.X("ci_low:Q"), x2="ci_high:Q", y=y, color=color
        )
        point = base.mark_point(size=95, filled=True, opacity=1).encode(
            x=x, y=y, color=color, shape=style.shape()
        )
        any_success = base.mark_tick(thickness=2, size=22).encode(
            x=alt.X("any_success_rate:Q"), y=y, color=color
        )
        return alt.layer(bar, any_success, point).properties(
            width=variant.width - style.label_width, height=alt.Step(40)
        )

    return _figure(
        content,
        "model_comparison",
        "Success rate by model",
        f"Point: mean success rate over tasks. Bar: {_confidence(content)} confidence "
        "interval over tasks. Tick: share of tasks with any success, which grows with "
        "the number of trials. Numbers: stats.success_rates.",
        chart,
    )


def pass_at_k(content: EvaluationContent) -> Figure | None:
    """pass@k and pass^k of each model with bands over k."""
    rows = content.pass_at_k.filter(
        pl.col("task") == ALL_TASKS, pl.col("estimate").is_not_null()
    )
    models = _models(content, rows, MAX_GROUPS)
    if not models:
        return None
    kept = rows.filter(pl.col("model").is_in(models))

    def chart(variant: Variant) -> alt.TopLevelMixin:
        style = Groups(models, variant)
        width = (variant.width - 150) // variant.columns
        panels = [
            _pass_panel(kept.filter(statistic=name), style, name).properties(
                width=width, height=240, title=title
            )
            for name, title in (
                ("pass@k", "pass@k: any of k trials succeeds"),
                ("pass^k", "pass^k: all of k trials succeed"),
            )
        ]
        return side_by_side(panels, variant.columns)

    return _figure(
        content,
        "pass_at_k",
        "Chance of success in k trials",
        f"Line: unbiased for each task, mean over tasks. Band: {_confidence(content)} "
        "confidence interval over tasks. A model without a point has a task with fewer "
        "than k trials, or stopped at its first success. Numbers: stats.pass_at_k.",
        chart,
    )


def _pass_panel(rows: pl.DataFrame, style: Groups, name: str) -> Panel:
    base = _points(rows.sort("model", "k"), style, "k", "estimate", "ci_low", "ci_high")
    ticks = rows["k"].unique().sort().to_list()
    x = alt.X(
        "k:Q",
        scale=alt.Scale(zero=False, nice=False),
        axis=alt.Axis(title="k", values=ticks, format="d", grid=False),
    )
    color = style.color(legend=True)
    band = base.mark_area(opacity=0.14, line=False).encode(
        x=x, y=alt.Y("ci_low:Q"), y2="ci_high:Q", color=color
    )
    line = base.mark_line(strokeWidth=2.2).encode(
        x=x, y=_share_y("estimate", name), color=color, strokeDash=style.dash()
    )
    point = base.mark_point(filled=True, size=36, opacity=1).encode(
        x=x, y=alt.Y("estimate:Q"), color=style.color(legend=True)
    )
    return alt.layer(band, line, point)


def reward_distribution(content: EvaluationContent) -> Figure | None:
    """Rewards of all trials, task by task: the tasks with the most differing ones."""
    rows = content.trials.filter(
        pl.col("reward").is_not_null(), pl.col("is_success").is_not_null()
    )
    models = _models(content, rows, MAX_GROUPS)
    if not models:
        return None
    spread = rows.group_by("task").agg(pl.col("reward").std().fill_null(0).alias("s"))
    tasks = spread.sort("s", "task", descending=[True, False])["task"].head(MAX_TASKS)

    def chart(variant: Variant) -> alt.TopLevelMixin:
        style = Groups(models, variant)
        names = labels(tasks, variant.label_limit)
        room = (variant.width - variant.columns * style.label_width) // variant.columns
        panels = [
            _rewards_panel(
                rows.filter(pl.col("model").is_in(models), pl.col("task") == task),
                style,
            ).properties(width=room - 20, height=alt.Step(26), title=names[task])
            for task in tasks
        ]
        return alt.ConcatChart(concat=panels, columns=variant.columns, spacing=18)

    return _figure(
        content,
        "reward_distribution",
        "Rewards of the trials",
        f"Tick: one trial. Bar: quartiles, with the median. Of {spread.height} tasks "
        f"the {len(tasks)} whose rewards differ most; each has its own axis. "
        "Numbers: core.trials.",
        chart,
    )


def _rewards_panel(rows: pl.DataFrame, style: Groups) -> Panel:
    base = _points(rows.sort("model", "source", "sweep_id", "trial"), style, "reward")
    reward = pl.col("reward")
    boxes = rows.group_by("model").agg(
        reward.quantile(0.25, "linear").alias("low"),
        reward.median().alias("middle"),
        reward.quantile(0.75, "linear").alias("high"),
    )
    box = _points(boxes.sort("model"), style, "low", "middle", "high")
    y, color = _rows_axis(style.domain), style.color(legend=False)
    x = alt.X(
        "reward:Q",
        scale=alt.Scale(zero=False, padding=8),
        axis=alt.Axis(title="reward", tickCount=4),
    )
    ticks = base.mark_tick(size=14, thickness=1.5, opacity=0.55).encode(
        x=x, y=y, color=color
    )
    bars = box.mark_rule(strokeWidth=9, opacity=0.25).encode(
        x=alt.X("low:Q"), x2="high:Q", y=y, color=color
    )
    middle = box.mark_point(filled=True, size=60, opacity=1).encode(
        x=alt.X("middle:Q"), y=y, color=color, shape=style.shape()
    )
    return alt.layer(bars, ticks, middle)


def efficiency_scatter(content: EvaluationContent) -> Figure | None:
    """Tokens against success and reward, with the models that nobody beats."""
    rows = content.efficiency.filter(
        pl.col("mean_tokens").is_not_null(),
        pl.col("mean_reward").is_not_null() | pl.col("success_rate").is_not_null(),
    )
    models = _models(content, rows, MAX_GROUPS)
    if not models:
        return None
    kept = rows.filter(pl.col("model").is_in(models))

    def chart(variant: Variant) -> alt.TopLevelMixin:
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
        return side_by_side(
            [one.properties(width=width, height=230) for one in panels],
            variant.columns,
        )

    return _figure(
        content,
        "efficiency_scatter",
        "What tokens buy",
        "Point: a model, by its mean tokens of a trial. Line: the Pareto front; no "
        "model has as much for as few tokens as those on it. Numbers: "
        "stats.efficiency.",
        chart,
    )


def _scatter(rows: pl.DataFrame, style: Groups, column: str, title: str) -> Panel:
    points = rows.select(column, "mean_tokens").rows()
    is_front = pl.Series("is_front", pareto_front(points), pl.Boolean)
    front = rows.filter(is_front).sort("mean_tokens", "model")
    x = alt.X(
        "mean_tokens:Q",
        scale=alt.Scale(zero=False, padding=20),
        axis=alt.Axis(title="tokens of a trial", format="~s", tickCount=5),
    )
    is_share = column == "success_rate"
    y = (
        _share_y(column, title)
        if is_share
        else alt.Y(
            f"{column}:Q",
            scale=alt.Scale(zero=False, padding=12),
            axis=alt.Axis(title=title, tickCount=5),
        )
    )
    line = (
        _points(front, style, "mean_tokens", column)
        .mark_line(interpolate="step-after", color=palette.MUTED.light, strokeWidth=1.2)
        .encode(x=x, y=y)
    )
    dots = (
        _points(rows.sort("model"), style, "mean_tokens", column)
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
    return alt.layer(line, dots)


def learning_curves(content: EvaluationContent) -> Figure | None:
    """Success and reward by window of time; ``None`` where there is but one."""
    rows = content.results_over_time
    models = _models(content, rows, MAX_GROUPS)
    if not models or rows["window_start_at"].n_unique() < 2:
        return None
    kept = rows.filter(pl.col("model").is_in(models)).sort("model", "window_start_at")

    def chart(variant: Variant) -> alt.TopLevelMixin:
        style = Groups(models, variant)
        width = (variant.width - 150) // variant.columns
        panels = [_over_time(kept, style, "success_rate", "Success rate")]
        if kept["mean_reward"].count():
            panels.append(_over_time(kept, style, "mean_reward", "Mean reward"))
        return side_by_side(
            [one.properties(width=width, height=220) for one in panels],
            variant.columns,
        )

    hours = float(kept["window_seconds"][0]) / 3600
    return _figure(
        content,
        "learning_curves",
        "Results over time",
        f"Line: trials that ended within {hours:g} h. Band: {_confidence(content)} "
        "confidence interval of the success rate, one standard deviation of the "
        "reward. Numbers: stats.results_over_time.",
        chart,
    )


def _over_time(rows: pl.DataFrame, style: Groups, column: str, title: str) -> Panel:
    mean, std = pl.col("mean_reward"), pl.col("std_reward").fill_null(0)
    is_share = column == "success_rate"
    ends = (
        rows if is_share else rows.with_columns(ci_low=mean - std, ci_high=mean + std)
    )
    timed = ends.filter(pl.col(column).is_not_null()).with_columns(
        at=pl.col("window_start_at").dt.epoch("ms")
    )
    base = _points(timed, style, "at", column, "ci_low", "ci_high")
    x = alt.X(
        "at:T",
        scale=alt.Scale(type="utc"),
        axis=alt.Axis(
            title="time (UTC)", tickCount=4, grid=False, format=_moments(timed)
        ),
    )
    y = (
        _share_y(column, title)
        if is_share
        else alt.Y(
            f"{column}:Q",
            scale=alt.Scale(zero=False),
            axis=alt.Axis(title=title, tickCount=5),
        )
    )
    color = style.color(legend=True)
    band = base.mark_area(opacity=0.12, line=False).encode(
        x=x, y=alt.Y("ci_low:Q"), y2="ci_high:Q", color=color
    )
    line = base.mark_line(strokeWidth=2.2, point=True).encode(
        x=x, y=y, color=color, strokeDash=style.dash()
    )
    return alt.layer(band, line)


def _moments(rows: pl.DataFrame) -> str:
    """How moments are written: with hours where days alone would repeat."""
    days = rows["window_start_at"].dt.date().n_unique()
    return "%H:%M" if days == 1 else "%m-%d" if days > 4 else "%m-%d %H:%M"


def task_heatmap(content: EvaluationContent) -> Figure | None:
    """Success rate of each model on each task; cells never run are empty."""
    cells = content.model_tasks.filter(pl.col("n_trials") > 0)
    models, tasks = content.model_names[:MAX_GROUPS], content.task_names[:MAX_ROWS]
    kept = cells.filter(pl.col("model").is_in(models), pl.col("task").is_in(tasks))
    if kept.is_empty():
        return None

    def chart(variant: Variant) -> alt.TopLevelMixin:
        return _grid(kept, models, tasks, variant, "success_rate")

    return _figure(
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
) -> Panel:
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
    y = _rows_axis(list(y_names.values()), "y")
    color = alt.Color(
        "rate:Q",
        scale=alt.Scale(domain=[0, 1], range=list(_CELLS), interpolate="rgb"),
        legend=None,
    )
    boxes = base.mark_rect(stroke=palette.PAPER.light, strokeWidth=2).encode(
        x=x, y=y, color=color
    )
    texts = base.mark_text(fontSize=variant.font - 1).encode(
        x=x, y=y, text="text:N", color=alt.Color("ink:N", scale=None)
    )
    left = 14 + round(0.6 * variant.font * max(map(len, y_names.values())))
    width = min(variant.width - left, 120 * len(models))
    together = alt.layer(boxes, texts).properties(width=width, height=alt.Step(26))
    return cast("alt.LayerChart", together.resolve_scale(color="independent"))


def success_classes(content: EvaluationContent) -> Figure | None:
    """On how many tasks all, some or none of a model's trials succeeded."""
    rows = content.models.filter(pl.col("n_tasks") > 0)
    models = _models(content, rows, MAX_ROWS)
    if not models:
        return None

    def chart(variant: Variant) -> alt.TopLevelMixin:
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
                y=_rows_axis(list(names.values()), "model"),
                color=color,
                order=alt.Order("place:Q"),
            )
        )
        left = Groups(models, variant).label_width
        return alt.layer(bars).properties(
            width=variant.width - left, height=alt.Step(30)
        )

    return _figure(
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

    def chart(variant: Variant) -> alt.TopLevelMixin:
        names = labels(tasks, variant.label_limit)
        columns = ("success_rate", "ci_low", "ci_high", "best_rate")
        base = chart_of(
            rows.filter(pl.col("task").is_in(tasks))
            .select(pl.col("task").replace_strict(names), *columns)
            .to_dicts()
        )
        y = _rows_axis(list(names.values()), "task")
        ink = palette.GROUPS[0].light
        bar = base.mark_rule(strokeWidth=7, opacity=0.3, color=ink).encode(
            x=alt.X("ci_low:Q"), x2="ci_high:Q", y=y
        )
        best = base.mark_tick(thickness=2, size=16, color=palette.GROUPS[1].light)
        point = base.mark_point(filled=True, size=80, opacity=1, color=ink)
        x = _share("success_rate", "Success rate, mean over models")
        left = 14 + round(0.6 * variant.font * max(map(len, names.values())))
        return alt.layer(
            bar, best.encode(x=alt.X("best_rate:Q"), y=y), point.encode(x=x, y=y)
        ).properties(width=variant.width - left, height=alt.Step(26))

    return _figure(
        content,
        "task_difficulty",
        "Difficulty of the tasks",
        f"Point: mean success rate over models, the hardest task first. Bar: "
        f"{_confidence(content)} confidence interval over models. Tick: the best "
        "model. Numbers: stats.task_difficulty.",
        chart,
    )


EVALUATION_PLOTS: Mapping[str, Callable[[EvaluationContent], Figure | None]] = {
    "model_comparison": model_comparison,
    "pass_at_k": pass_at_k,
    "reward_distribution": reward_distribution,
    "efficiency_scatter": efficiency_scatter,
    "learning_curves": learning_curves,
    "task_heatmap": task_heatmap,
    "success_classes": success_classes,
    "task_difficulty": difficulty,
}
"""By kind, in the order in which a report shows them."""


def _points(rows: pl.DataFrame, style: Groups, *columns: str) -> alt.Chart:
    label = pl.col("model").replace_strict(style.label).alias("group")
    numbers = [
        pl.col(one).fill_nan(None) if rows.schema[one].is_float() else pl.col(one)
        for one in columns
    ]
    return chart_of(rows.select(label, *numbers).to_dicts())


def _rows_axis(domain: Sequence[str], field: str = "group") -> alt.Y:
    return alt.Y(
        f"{field}:N",
        sort=list(domain),
        scale=alt.Scale(domain=list(domain)),
        axis=alt.Axis(title=None, grid=False, domain=False),
    )


def _share(field: str, title: str) -> alt.X:
    axis = alt.Axis(title=title, format=_PERCENT, tickCount=5)
    return alt.X(f"{field}:Q", scale=_SHARE, axis=axis)


def _share_y(field: str, title: str) -> alt.Y:
    axis = alt.Axis(title=title, format=_PERCENT, tickCount=5)
    return alt.Y(f"{field}:Q", scale=_SHARE, axis=axis)


def _confidence(content: EvaluationContent) -> str:
    return f"{float(content.success_rates['confidence'][0]):.0%}"
