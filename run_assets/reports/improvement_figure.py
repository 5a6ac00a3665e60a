"""Who beats whom how often: a matrix of all ordered pairs of groups."""

from typing import Any

import altair as alt
import polars as pl

from run_assets.reports import palette
from run_assets.reports.composing import Plot, chart_of, layered, step
from run_assets.reports.content import AnalysisContent
from run_assets.reports.drawing import NARROW, Variant
from run_assets.reports.figure import MAX_GROUPS, Figure, figure, finite
from run_assets.reports.text import labels
from run_assets.reports.verdicts import group_order

_MORE, _LESS = palette.GROUPS[0].light, palette.GROUPS[1].light


def probability_of_improvement(analysis: AnalysisContent) -> Figure | None:
    """The chance that a run of the row beats one of the column; ``None`` without."""
    rows = analysis.probability_of_improvement.filter(pl.col("estimate").is_not_null())
    if rows.is_empty():
        return None
    present = {*rows["group_x"], *rows["group_y"]}
    groups = [one for one in group_order(analysis) if one in present][:MAX_GROUPS]
    kept = rows.filter(pl.col("group_x").is_in(groups), pl.col("group_y").is_in(groups))

    def chart(variant: Variant) -> Plot:
        return _matrix(kept, groups, variant)

    left_out = len(present) - len(groups)
    confidence = f"{analysis.config.interval.confidence:.0%}"
    return figure(
        analysis,
        "probability_of_improvement",
        "Probability of improvement",
        "How often a run of the row scores above a run of the column on the same task, "
        f"ties counting half; below it the {confidence} confidence interval. 50 % is "
        "no difference. Numbers: stats.probability_of_improvement."
        + (f" {left_out} more groups are not drawn." if left_out else ""),
        chart,
    )


def _matrix(rows: pl.DataFrame, groups: list[str], variant: Variant) -> Plot:
    short = labels(groups, variant.label_limit)
    order = [short[one] for one in groups]
    cells = [_cell(row, short) for row in rows.iter_rows(named=True)]
    base = chart_of(cells).encode(
        x=alt.X(
            "y:N",
            sort=order,
            scale=alt.Scale(domain=order),
            axis=alt.Axis(title=None, orient="top", labelAngle=-30, domain=False),
        ),
        y=alt.Y(
            "x:N",
            sort=order,
            scale=alt.Scale(domain=order),
            axis=alt.Axis(title=None, domain=False),
        ),
    )
    square = base.mark_rect().encode(
        color=alt.Color("color:N", scale=None),
        opacity=alt.Opacity("strength:Q", scale=None),
    )
    middle = base.mark_text(fontWeight=600, dy=-7).encode(text=alt.Text("text:N"))
    size = variant.font - (3 if variant is NARROW else 1)
    ends = base.mark_text(fontSize=size, dy=9).encode(text=alt.Text("ends:N"))
    width = variant.width - 150
    return layered(square, middle, ends, width=width, height=step(48))


def _cell(row: dict[str, Any], short: dict[str, str]) -> dict[str, Any]:
    chance = row["estimate"]
    low, high = finite(row["ci_low"]), finite(row["ci_high"])
    has_ends = low is not None and high is not None
    return {
        "x": short[row["group_x"]],
        "y": short[row["group_y"]],
        "text": f"{chance:.0%}",
        "ends": f"{low:.0%} to {high:.0%}" if has_ends else "no interval",
        "color": _MORE if chance >= 0.5 else _LESS,
        "strength": round(abs(chance - 0.5) * 0.9, 3),
    }
