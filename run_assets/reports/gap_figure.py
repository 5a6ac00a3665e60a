"""How far groups stay below the optimum, over all tasks and on each."""

from typing import Any

import altair as alt
import polars as pl

from run_assets.reports.composing import Plot, in_grid, with_one_legend
from run_assets.reports.content import AnalysisContent
from run_assets.reports.drawing import NARROW, Groups, Variant
from run_assets.reports.figure import MAX_ROWS, MAX_TASKS, Figure, figure, finite
from run_assets.reports.interval_rows import interval_rows
from run_assets.reports.text import decimals, labels, number
from run_assets.reports.verdicts import group_order

ALL_TASKS = "*"


def optimality_gaps(analysis: AnalysisContent) -> Figure | None:
    """The gap of each group with its interval; ``None`` without optimal scores."""
    gaps = analysis.optimality_gaps.filter(pl.col("gap").is_not_null())
    if gaps.is_empty():
        return None
    present = set(gaps["group_name"])
    groups = [one for one in group_order(analysis) if one in present][:MAX_ROWS]
    has_rate = gaps["gap_rate"].is_not_null().all()
    columns = (
        ("gap_rate", "rate_ci_low", "rate_ci_high")
        if has_rate
        else ("gap", "ci_low", "ci_high")
    )
    rows = gaps.filter(pl.col("group_name").is_in(groups)).select(
        "group_name",
        "task",
        *(
            pl.col(one).alias(new)
            for one, new in zip(columns, ("value", "low", "high"), strict=True)
        ),
    )
    tasks = [one for one in rows["task"].unique().sort() if one != ALL_TASKS]
    shown = [ALL_TASKS, *(tasks if 1 < len(tasks) <= MAX_TASKS else [])]
    unit = "share of the optimum" if has_rate else "in the unit of the score"

    def chart(variant: Variant) -> Plot:
        return _panels(rows, shown, Groups(groups, variant), variant, unit)

    confidence = f"{analysis.config.interval.confidence:.0%}"
    return figure(
        analysis,
        "optimality_gaps",
        f"Distance below the optimum, with {confidence} confidence intervals",
        "Mean over runs of how far they stay below the best possible score; 0 is "
        "perfect. Numbers: stats.optimality_gaps.",
        chart,
    )


def _panels(
    rows: pl.DataFrame, tasks: list[str], style: Groups, variant: Variant, unit: str
) -> Plot:
    columns = min(variant.columns, len(tasks))
    names = labels([one for one in tasks if one != ALL_TASKS], 40)
    ends = rows.select(pl.max_horizontal("value", "high").max()).item()
    scale = alt.Scale(domain=[0.0, finite(ends) or 1.0], nice=True, padding=18)
    panels = [
        _panel(
            rows.filter(task=task),
            style,
            alt.X("value:Q", scale=scale, axis=alt.Axis(title=unit, tickCount=5)),
            has_labels=at % columns == 0,
            width=(variant.width - style.label_width) // columns - 30,
            title=names.get(task, "all tasks"),
        )
        for at, task in enumerate(tasks)
    ]
    if variant is NARROW or columns == 1:
        return in_grid(panels, 1)
    return with_one_legend(panels, columns)


def _panel(rows: pl.DataFrame, style: Groups, x: alt.X, **about: Any) -> Plot:
    places = decimals(rows["value"])
    return interval_rows(
        [_row(row, style, places) for row in rows.iter_rows(named=True)],
        style.domain,
        x,
        color=style.color(legend=False),
        shape=style.shape(),
        **about,
    )


def _row(row: dict[str, Any], style: Groups, places: int) -> dict[str, Any]:
    return {
        "name": style.label[row["group_name"]],
        "group": style.label[row["group_name"]],
        "value": finite(row["value"]),
        "low": finite(row["low"]),
        "high": finite(row["high"]),
        "text": number(row["value"], places),
    }
