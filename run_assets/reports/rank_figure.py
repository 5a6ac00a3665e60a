"""How sure the ranking of the groups is."""

from typing import Any

import altair as alt
import polars as pl

from run_assets.reports.composing import Plot
from run_assets.reports.content import AnalysisContent
from run_assets.reports.drawing import Groups, Variant
from run_assets.reports.figure import MAX_ROWS, Figure, figure
from run_assets.reports.interval_rows import interval_rows
from run_assets.reports.verdicts import group_order


def rank_stability(analysis: AnalysisContent) -> Figure | None:
    """The mean rank of each group with its interval; ``None`` without ranks."""
    ranks = analysis.rank_stability.filter(pl.col("mean_rank").is_not_null())
    if ranks.height < 2:
        return None
    present = set(ranks["group_name"])
    groups = [one for one in group_order(analysis) if one in present][:MAX_ROWS]
    rows = ranks.filter(pl.col("group_name").is_in(groups))

    def chart(variant: Variant) -> Plot:
        style = Groups(groups, variant)
        width = variant.width - style.label_width - 40
        return {**_rows(rows, style, len(present)), "width": width}

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


def _rows(ranks: pl.DataFrame, style: Groups, n_groups: int) -> Plot:
    x = alt.X(
        "value:Q",
        scale=alt.Scale(domain=[1, n_groups], padding=24),
        axis=alt.Axis(
            title="rank", values=list(range(1, n_groups + 1, n_groups // 10 + 1))
        ),
    )
    return interval_rows(
        [_row(row, style) for row in ranks.iter_rows(named=True)],
        style.domain,
        x,
        color=style.color(legend=False),
        shape=style.shape(),
    )


def _row(row: dict[str, Any], style: Groups) -> dict[str, Any]:
    return {
        "name": style.label[row["group_name"]],
        "group": style.label[row["group_name"]],
        "value": row["mean_rank"],
        "low": row["rank_low"],
        "high": row["rank_high"],
        "text": f"{row['probability_best']:.0%} first",
    }
