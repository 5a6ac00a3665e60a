"""What pictures of evaluations share: names, axes, data."""

from collections.abc import Sequence

import altair as alt
import polars as pl

from run_assets.reports.composing import chart_of
from run_assets.reports.drawing import Chart, Groups
from run_assets.reports.evaluation_content import EvaluationContent
from run_assets.reports.figure import Figure
from run_assets.reports.text import slug

_SHARE = alt.Scale(domain=[0, 1])
_PERCENT = ".0%"


def evaluation_figure(
    content: EvaluationContent, kind: str, title: str, caption: str, chart: Chart
) -> Figure:
    """A picture of an evaluation, drawn when it is looked at."""
    name = f"{slug(content.name)}-{kind}"
    return Figure(name, kind, content.name, title, caption, chart)


def models_of(content: EvaluationContent, frame: pl.DataFrame, most: int) -> list[str]:
    """The models that a frame has, the best first."""
    present = set(frame["model"])
    return [one for one in content.model_names if one in present][:most]


def points(rows: pl.DataFrame, style: Groups, *columns: str) -> alt.Chart:
    """A chart of rows, with the label of their model as ``group``."""
    label = pl.col("model").replace_strict(style.label).alias("group")
    numbers = [
        pl.col(one).fill_nan(None) if rows.schema[one].is_float() else pl.col(one)
        for one in columns
    ]
    return chart_of(rows.select(label, *numbers).to_dicts())


def rows_axis(domain: Sequence[str], field: str = "group") -> alt.Y:
    """A row for each name, from the top down."""
    return alt.Y(
        f"{field}:N",
        sort=list(domain),
        scale=alt.Scale(domain=list(domain)),
        axis=alt.Axis(title=None, grid=False, domain=False),
    )


def share(field: str, title: str) -> alt.X:
    """A horizontal axis from 0 to 100 %."""
    axis = alt.Axis(title=title, format=_PERCENT, tickCount=5)
    return alt.X(f"{field}:Q", scale=_SHARE, axis=axis)


def share_y(field: str, title: str) -> alt.Y:
    """A vertical axis from 0 to 100 %."""
    axis = alt.Axis(title=title, format=_PERCENT, tickCount=5)
    return alt.Y(f"{field}:Q", scale=_SHARE, axis=axis)


def confidence(content: EvaluationContent) -> str:
    """The confidence of the intervals, such as ``95%``."""
    return f"{float(content.success_rates['confidence'][0]):.0%}"
