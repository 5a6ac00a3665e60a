"""A row for each name: a point, its interval as a bar, its number above."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from run_assets.reports.composing import Plot, chart_of, layered, step


def interval_rows(
    rows: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    x: alt.X,
    *,
    color: alt.Color,
    shape: alt.Shape | None = None,
    has_labels: bool = True,
    **about: Any,
) -> Plot:
    """Points with intervals, one below the other.

    Args:
        rows: Each with ``name``, ``value``, ``low``, ``high`` and ``text``, and what
            ``color`` and ``shape`` ask for.
        names: From the top down.
        x: The scale and axis of ``value``.
        color: Of point and bar.
        shape: Of the point; a disc without.
        has_labels: Whether the names are written at the left.
        about: Such as ``width`` and ``title``.
    """
    base = chart_of([dict(row) for row in rows])
    y = alt.Y(
        "name:N",
        sort=list(names),
        scale=alt.Scale(domain=list(names)),
        axis=alt.Axis(
            title=None, labels=has_labels, grid=False, domain=False, labelLimit=400
        ),
    )
    bar = base.mark_rule(strokeWidth=7, opacity=0.35, strokeCap="butt").encode(
        x=alt.X("low:Q"), x2=alt.X2("high:Q"), y=y, color=color
    )
    shaped = {} if shape is None else {"shape": shape}
    point = base.mark_point(size=95, filled=True, opacity=1).encode(
        x=x, y=y, color=color, **shaped
    )
    value = base.mark_text(dy=-15, fontWeight=600).encode(
        x=x, y=y, text=alt.Text("text:N")
    )
    return layered(bar, point, value, height=step(46), **about)
