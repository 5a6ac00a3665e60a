"""From marks to plots: layers, rows and grids, as Vega-Lite spells them.

Altair's own compositions copy each of their parts several times, which takes longer
than drawing them.
"""

import json
from collections.abc import Sequence
from typing import Any

import altair as alt

Plot = dict[str, Any]
"""A plot, or a panel of one, as Vega-Lite's JSON."""

_SPACING = 18


def chart_of(rows: list[dict[str, Any]]) -> alt.Chart:
    """A chart that carries its data, as a text: altair copies a list with each mark."""
    return alt.Chart(
        alt.InlineData(json.dumps(rows), format=alt.JsonDataFormat(type="json"))
    )


def step(pixels: int) -> dict[str, int]:
    """A height of so many pixels a row."""
    return {"step": pixels}


def layered(*marks: alt.Chart | Plot, **about: Any) -> Plot:
    """Marks on top of each other, the first at the bottom.

    Args:
        marks: With data and encodings; a plot of layers is a mark, too.
        about: Such as ``width``, ``height`` and ``title``.
    """
    layers = [_spelled(one) for one in marks]
    data = layers[0].get("data")
    if data and all(one.get("data") == data for one in layers):
        about["data"] = data
        layers = [{k: v for k, v in one.items() if k != "data"} for one in layers]
    return {"layer": layers, **about}


def _spelled(mark: alt.Chart | Plot) -> Plot:
    if isinstance(mark, dict):
        return mark
    with alt.data_transformers.enable(consolidate_datasets=False):
        return mark.to_dict(validate=False, context={"top_level": False})


def in_grid(panels: Sequence[Plot], columns: int) -> Plot:
    """Panels in rows of ``columns``."""
    return {"concat": list(panels), "columns": columns, "spacing": _SPACING}


def with_one_legend(panels: Sequence[Plot], columns: int) -> Plot:
    """Panels in rows of ``columns``, which mean the same by a colour and a dash."""
    shared = {"color": "shared", "strokeDash": "shared"}
    return {**in_grid(panels, columns), "resolve": {"scale": shared}}
