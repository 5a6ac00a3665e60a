"""From a chart to a clean SVG: page variants, theme, colours of the groups."""

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import cycle, islice
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import altair as alt
import vl_convert
from altair.utils.schemapi import debug_mode

from run_assets.errors import ContractError
from run_assets.reports import palette
from run_assets.reports.composing import Plot
from run_assets.reports.text import labels

_VEGA_LITE = "6.4"
# Families of one and the same metrics: text is as wide as it was measured.
_FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
_SVG = "http://www.w3.org/2000/svg"
_SHAPES_OF_SVG = {"svg", "g", "path", "text", "tspan", "rect", "line", "defs"}
_SHAPES_OF_SVG |= {"clipPath", "title"}
_NOISE = {"role", "pointer-events", "class"}


class Variant(NamedTuple):
    """For which page a plot is drawn; lengths in CSS pixels."""

    name: str
    width: int
    font: int
    label_limit: int
    columns: int


WIDE = Variant("wide", 900, 13, 30, 2)
NARROW = Variant("narrow", 350, 12, 14, 1)


Chart = Callable[[Variant], Plot]
"""Makes a chart for a page."""


class Groups:
    """Label, colour, dash and shape of each group, the same in every plot."""

    def __init__(self, names: Sequence[str], variant: Variant) -> None:
        self.names = list(names)
        self.label = labels(names, variant.label_limit)
        self.domain = [self.label[name] for name in self.names]
        self.label_width = 14 + round(
            0.6 * variant.font * max(len(one) for one in self.domain)
        )
        self._legend = alt.Legend(
            title=None,
            orient="top",
            columns=2 if variant is NARROW else 4,
            symbolType="stroke",
            symbolSize=700,
            symbolOpacity=1,
            symbolStrokeWidth=2.2,
            columnPadding=24,
            labelLimit=variant.width,
        )

    def _scale(self, values: Sequence[Any]) -> alt.Scale:
        taken = list(islice(cycle(values), len(self.domain)))
        return alt.Scale(domain=self.domain, range=taken)

    def color(self, *, legend: bool) -> alt.Color:
        """A colour per group."""
        scale = self._scale([ink.light for ink in palette.GROUPS])
        return alt.Color(
            "group:N", scale=scale, legend=self._legend if legend else None
        )

    def dash(self) -> alt.StrokeDash:
        """A dash per group, in the legend of the colours."""
        scale = self._scale(palette.DASHES)
        return alt.StrokeDash("group:N", scale=scale, legend=self._legend)

    def shape(self) -> alt.Shape:
        """A point shape per group."""
        return alt.Shape("group:N", scale=self._scale(palette.SHAPES), legend=None)


def drawn(chart: Chart, variant: Variant, name: str, title: str) -> str:
    """A chart as SVG.

    Args:
        chart: Makes it, with its data inside.
        variant: The page it is for.
        name: Prefix of its ids, unique in the report.
        title: What a screen reader says.

    Raises:
        ContractError: The SVG holds more than shapes and text.
    """
    # Checking each part against the schema of Vega-Lite takes longer than drawing.
    with debug_mode(arg=False):
        specification = {**chart(variant), "config": _config(variant)}
    return tidy_svg(_as_svg(json.dumps(specification)), name, title)


@lru_cache(maxsize=64)  # the report shows again what assets have shown
def _as_svg(specification: str) -> str:
    svg: str = vl_convert.vegalite_to_svg(
        specification, vl_version=_VEGA_LITE, allowed_base_urls=[]
    )
    return svg


def _config(variant: Variant) -> dict[str, Any]:
    text = {"labelFont": _FONT, "titleFont": _FONT}
    sizes = {"labelFontSize": variant.font, "titleFontSize": variant.font}
    ink, muted = palette.TEXT.light, palette.MUTED.light
    return {
        "background": palette.PAPER.light,
        "font": _FONT,
        "aria": False,
        "padding": 4,
        "view": {"stroke": None},
        "text": {"font": _FONT, "fontSize": variant.font, "fill": ink},
        "axis": {
            **text,
            **sizes,
            "labelColor": muted,
            "titleColor": muted,
            "titleFontWeight": "normal",
            "titlePadding": 8,
            "labelLimit": 260,
            "titleLimit": variant.width,
            "gridColor": palette.GRID.light,
            "domainColor": palette.AXIS.light,
            "ticks": False,
            "labelPadding": 6,
        },
        "axisY": {"domain": False},
        "axisBand": {"labelColor": ink},
        "legend": {**text, **sizes, "labelColor": ink, "padding": 0, "offset": 10},
        "title": {
            "font": _FONT,
            "fontSize": variant.font + 1,
            "fontWeight": 600,
            "anchor": "start",
            "frame": "group",
            "color": ink,
            "offset": 8,
        },
    }


def tidy_svg(svg: str, name: str, title: str) -> str:
    """A drawn SVG with stable ids, short coordinates and an accessible name.

    vl-convert counts its clip ids through the life of the process, so that two
    drawings of one plot differ, and two plots in one page can share an id.

    Args:
        svg: From vl-convert.
        name: Prefix of its ids.
        title: What a screen reader says.

    Raises:
        ContractError: It holds an element or a reference that no plot needs.
    """
    ET.register_namespace("", _SVG)
    root = ET.fromstring(svg)  # noqa: S314  # made above, by vl-convert
    identifiers: dict[str, str] = {}
    for element in root.iter():
        _check_element(element)
        if old := element.get("id"):
            identifiers[old] = f"{name}-{len(identifiers)}"
    for element in root.iter():
        _tidy_attributes(element, identifiers)
    root.set("role", "img")
    root.set("aria-label", title)
    return ET.tostring(root, encoding="unicode")


def _check_element(element: ET.Element) -> None:
    tag = element.tag.removeprefix(f"{{{_SVG}}}")
    references = [key for key in element.keys() if key.endswith("href")]  # noqa: SIM118  # an Element iterates over its children
    if tag not in _SHAPES_OF_SVG or references:
        msg = f"a plot must be shapes and text, got <{tag}> with {references}"
        raise ContractError(msg)


def _tidy_attributes(element: ET.Element, identifiers: dict[str, str]) -> None:
    for key, value in list(element.items()):
        is_default = key == "opacity" and value == "1"
        if is_default or key in _NOISE or key.startswith("aria-"):
            del element.attrib[key]
        elif key == "id":
            element.set(key, identifiers[value])
        elif key in ("d", "transform"):
            element.set(key, _shorter(value))
        else:
            element.set(key, _renamed(value, identifiers))


def _shorter(numbers: str) -> str:
    return re.sub(r"-?\d+\.\d+", lambda found: f"{float(found[0]):.1f}", numbers)


def _renamed(value: str, identifiers: dict[str, str]) -> str:
    found = re.fullmatch(r"url\(#(.+)\)", value)
    return f"url(#{identifiers[found[1]]})" if found else value


def png(svg: str, scale: float = 2) -> bytes:
    """A plot as PNG, for places that show no SVG.

    Args:
        svg: ``Figure.svg``.
        scale: Pixels per CSS pixel.
    """
    image: bytes = vl_convert.svg_to_png(svg, scale=scale)
    return image
