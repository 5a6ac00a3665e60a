"""How far groups lie apart, pair by pair."""

import altair as alt

from run_assets.reports import palette
from run_assets.reports.composing import Plot, chart_of, layered, step
from run_assets.reports.content import AnalysisContent
from run_assets.reports.drawing import NARROW, Variant
from run_assets.reports.figure import MAX_ROWS, Figure, figure
from run_assets.reports.interval_rows import interval_rows
from run_assets.reports.text import decimals, labels, p_statement, signed
from run_assets.reports.verdicts import Pair, pairs

_INKS = {
    "better": palette.GROUPS[0].light,
    "worse": palette.GROUPS[1].light,
    "unclear": palette.MUTED.light,
}


def comparisons(analysis: AnalysisContent) -> Figure | None:
    """The difference of each pair with its interval; ``None`` without pairs."""
    found = [one for one in pairs(analysis) if one.difference is not None]
    if not found:
        return None
    shown = found[:MAX_ROWS]

    def chart(variant: Variant) -> Plot:
        return _rows(shown, variant)

    left_out = len(found) - len(shown)
    confidence = f"{analysis.config.interval.confidence:.0%}"
    return figure(
        analysis,
        "comparisons",
        "Difference of the mean scores, pair by pair",
        f"First group minus second. Bar: {confidence} interval, of each pair by "
        "itself. p: after the correction for all pairs. Grey: unclear, which does not "
        "mean equal. Numbers: stats.comparisons."
        + (f" {left_out} more pairs are not drawn." if left_out else ""),
        chart,
    )


def _rows(found: list[Pair], variant: Variant) -> Plot:
    limit = variant.label_limit if variant is NARROW else 24
    names = labels(sorted({n for one in found for n in (one.group, one.other)}), limit)
    places = decimals([one.difference for one in found])
    rows = [_row(one, names, places) for one in found]
    order = [str(row["name"]) for row in rows]
    x = alt.X(
        "value:Q",
        scale=alt.Scale(zero=True, nice=True, padding=18),
        axis=alt.Axis(title="difference in the unit of the score", tickCount=5),
    )
    zero = chart_of([{"at": 0}]).mark_rule(strokeDash=[4, 3], color=palette.AXIS.light)
    shown = interval_rows(rows, order, x, color=alt.Color("color:N", scale=None))
    longest = max(len(one) for one in order)
    width = max(variant.width - 14 - round(0.56 * variant.font * longest) - 40, 120)
    return layered(zero.encode(x=alt.X("at:Q")), shown, height=step(46), width=width)


def _row(one: Pair, names: dict[str, str], places: int) -> dict[str, object]:
    p = "" if one.p_adjusted is None else f"  ({p_statement(one.p_adjusted)})"
    return {
        "name": f"{names[one.group]} \u2212 {names[one.other]}",
        "value": one.difference,
        "low": one.low,
        "high": one.high,
        "color": _INKS[one.relation],
        "text": signed(one.difference, places) + p,
    }
