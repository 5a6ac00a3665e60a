"""How sure the ranking of the groups is."""

from typing import Any

import altair as alt
import polars as pl

from run_assets.reports.content import AnalysisContent
from run_assets.reports.drawing import Groups, Variant, chart_of
from run_assets.reports.figure import MAX_ROWS, Figure, figure
from run_assets.reports.verdicts import group_order


def rank_stability(analysis: AnalysisContent) -> Figure | None:
    """The mean rank of each group with its interval; ``None`` without ranks."""
    ranks = analysis.rank_stability.filter(pl.col("mean_rank").is_not_null())
    if ranks.height < 2:
        return None
    present = set(ranks["group_name"])
    groups = [one for one in group_order(analysis) if one in present][:MAX_ROWS]
    rows = ranks.filter(pl.col("group_name").is_in(groups))

    def chart(variant: Variant) -> alt.TopLevelMixin:
        style = Groups(groups, variant)
        width = variant.width - style.label_width - 40
        return _rows(rows, style, len(present)).properties(width=width)

    confidence = f"{analysis.config.interval.confidence:.0%}"
    left_out = len(present) - len(groups)
    return figure(
        analysis,
        "rank_stability",
        "Rank of each group, had other runs been drawn",
        f"Point: mean rank over the resamples, 1 is the best. Bar: {confidence} "
        "interval of the rank. Number: how often the group comes first. "
        "Numbers: stats.rank_stability."
        + (f" {left_out} more groups are not drawn." if left_out else ""),
        chart,
    )


def _rows(
    ranks: pl.DataFrame, style: Groups, n_groups: int
) -> alt.LayerChart | alt.FacetChart:
    base = chart_of([_row(row, style) for row in ranks.iter_rows(named=True)])
    y = alt.Y(
        "group:N",
        sort=style.domain,
        scale=alt.Scale(domain=style.domain),
        axis=alt.Axis(title=None, grid=False, domain=False),
    )
    x = alt.X(
        "rank:Q",
        scale=alt.Scale(domain=[1, n_groups], padding=24),
        axis=alt.Axis(
            title="rank", values=list(range(1, n_groups + 1, n_groups // 10 + 1))
        ),
    )
    color = style.color(legend=False)
    bar = base.mark_rule(strokeWidth=7, opacity=0.35, strokeCap="butt").encode(
        x=alt.X("low:Q"), x2="high:Q", y=y, color=color
    )
    point = base.mark_point(size=95, filled=True, opacity=1).encode(
        x=x, y=y, color=color, shape=style.shape()
    )
    value = base.mark_text(dy=-15, fontWeight=600).encode(x=x, y=y, text="text:N")
    return alt.layer(bar, point, value).properties(height=alt.Step(46))


def _row(row: dict[str, Any], style: Groups) -> dict[str, Any]:
    return {
        "group": style.label[row["group_name"]],
        "rank": row["mean_rank"],
        "low": row["rank_low"],
        "high": row["rank_high"],
        "text": f"{row['probability_best']:.0%} first",
    }
