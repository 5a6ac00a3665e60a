"""One finding as a small plot: the metric, and where it happened."""

from functools import partial
from typing import Any, cast

import altair as alt
import polars as pl

from run_assets.diagnostics.registry import rules
from run_assets.reports import palette
from run_assets.reports.composing import Plot, chart_of, layered
from run_assets.reports.diagnosis_content import Diagnosis, drawn_findings
from run_assets.reports.drawing import Variant
from run_assets.reports.figure import Figure
from run_assets.reports.text import shown, slug

_HEIGHT = 150
_LEAST_WIDTH = 0.006  # of the axis: a spike of one step is to be seen


def finding_figures(diagnosis: Diagnosis) -> list[Figure]:
    """The plots of the worst findings; none where their series are not at hand."""
    rows = drawn_findings(diagnosis.findings).to_dicts()
    found = [_figure(at, row, diagnosis.points) for at, row in enumerate(rows)]
    return [one for one in found if one is not None]


def _figure(at: int, row: dict[str, Any], points: pl.DataFrame) -> Figure | None:
    mine = points.filter(run_path=row["run_path"], metric=row["metric"])
    if mine.is_empty():
        return None
    name = f"finding-{at + 1}-{slug(row['rule_code'])}"
    run = str(row["run_path"]).rpartition("/")[2]
    what = f"{shown(row['metric'], 40)} of {shown(run, 40)}"
    title = f"{row['rule_code']} {row['severity']}: {what}"
    return Figure(
        name=name,
        kind="finding",
        analysis="",
        title=title,
        caption=_caption(row),
        chart=partial(_chart, row, mine),
    )


def _caption(row: dict[str, Any]) -> str:
    first, last = row["first_step"], row["last_step"]
    where = f"step {first:,}" if first == last else f"steps {first:,} to {last:,}"
    return (
        f"{rules()[row['rule_code']].summary} Marked: {where}. Of each stretch the "
        "lowest and the highest value are drawn; values that are not finite are not."
    )


def _scale(values: pl.Series) -> alt.Scale:
    """Logarithmic where a line would be flat but for its highest points."""
    low, high = float(cast(float, values.min())), float(cast(float, values.max()))
    is_steep = low > 0 and high > 1_000 * low
    return alt.Scale(type="log") if is_steep else alt.Scale(zero=False)


def _chart(row: dict[str, Any], points: pl.DataFrame, variant: Variant) -> Plot:
    steps = points["step"]
    low, high = int(cast(int, steps.min())), int(cast(int, steps.max()))
    high = max(high, row["last_step"], low + 1)
    low = min(low, row["first_step"])
    half = _LEAST_WIDTH * (high - low)
    mark = {
        "first": max(row["first_step"] - half, low),
        "last": min(row["last_step"] + half, high),
    }
    domain = alt.Scale(domain=[low, high], nice=False)
    axis = alt.X("step:Q", title="step", scale=domain)
    region = chart_of([mark]).mark_rect(color=palette.GROUPS[4].light, opacity=0.16)
    rows = points.select("step", "value").to_dicts()
    line = chart_of(rows).mark_line(color=palette.GROUPS[0].light, strokeWidth=1.3)
    values = alt.Y(
        "value:Q",
        title=shown(row["metric"], variant.label_limit),
        scale=_scale(points["value"]),
        axis=alt.Axis(format="~g", tickCount=4),
    )
    return layered(
        region.encode(
            x=alt.X("first:Q", scale=domain, title="step"), x2=alt.X2("last:Q")
        ),
        line.encode(x=axis, y=values),
        width=variant.width - 90,
        height=_HEIGHT,
    )
