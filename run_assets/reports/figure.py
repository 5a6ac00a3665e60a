"""What every plot is: drawn for a wide page and a phone, with a title and a caption."""

import math
from dataclasses import dataclass
from functools import cached_property

from run_assets.reports.content import AnalysisContent
from run_assets.reports.drawing import NARROW, WIDE, Chart, drawn
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
        chart: Makes it for a page.
    """

    name: str
    kind: str
    analysis: str
    title: str
    caption: str
    chart: Chart

    @cached_property
    def svg(self) -> str:
        """Drawn for a wide page, a file or a PNG.

        Raises:
            ContractError: It holds more than shapes and text.
        """
        return drawn(self.chart, WIDE, self.name, self.title)

    @cached_property
    def narrow_svg(self) -> str:
        """Drawn for a phone.

        Raises:
            ContractError: It holds more than shapes and text.
        """
        return drawn(self.chart, NARROW, f"{self.name}-narrow", self.title)


def figure(
    analysis: AnalysisContent,
    kind: str,
    title: str,
    caption: str,
    chart: Chart,
) -> Figure:
    """A plot, drawn when it is looked at.

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
        chart=chart,
    )


def finite(value: float | None) -> float | None:
    """JSON, in which a plot takes its data, has no NaN and no infinity."""
    return value if value is not None and math.isfinite(value) else None
