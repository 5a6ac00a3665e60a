"""What every plot is: drawn for a wide page and a phone, with a title and a caption."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import altair as alt

from run_assets.reports.content import AnalysisContent
from run_assets.reports.drawing import NARROW, WIDE, Variant, drawn
from run_assets.reports.text import slug

# Lines beyond these cannot be told apart; tables have no such limit.
MAX_GROUPS = 8
MAX_ROWS = 24
MAX_TASKS = 6


@dataclass(frozen=True)
class Figure:
    """A plot and the words that belong to it.

    Attributes:
        name: Unique in the report; also its file name without ``.svg``.
        kind: Such as ``interval_plot`` or ``learning_curves``.
        analysis: Name of the analysis.
        title: What it shows.
        caption: How it is to be read, and where its numbers are.
        svg: For a wide page, a file or a PNG.
        narrow_svg: For a phone.
    """

    name: str
    kind: str
    analysis: str
    title: str
    caption: str
    svg: str
    narrow_svg: str


def figure(
    analysis: AnalysisContent,
    kind: str,
    title: str,
    caption: str,
    chart: Callable[[Variant], alt.TopLevelMixin],
) -> Figure:
    """A plot drawn for both pages.

    Args:
        analysis: What it belongs to.
        kind: Its kind; what follows a dash tells plots of one kind apart.
        title: What it shows.
        caption: How it is to be read, and where its numbers are.
        chart: Draws it for a page.
    """
    name = f"{slug(analysis.name)}-{kind}"
    return Figure(
        name=name,
        kind=kind.partition("-")[0],
        analysis=analysis.name,
        title=title,
        caption=caption,
        svg=drawn(chart(WIDE), WIDE, name, title),
        narrow_svg=drawn(chart(NARROW), NARROW, f"{name}-narrow", title),
    )


def finite(value: float | None) -> float | None:
    """JSON, in which a plot takes its data, has no NaN and no infinity."""
    return value if value is not None and math.isfinite(value) else None
