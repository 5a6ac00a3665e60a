"""The report as one HTML page without script or network, and all its files.

Nothing is computed here: see ``verdicts`` and ``bands``.
"""

import os
from collections.abc import Mapping, Set
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import NamedTemporaryFile

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from run_assets.reports import palette
from run_assets.reports.content import ReportContent
from run_assets.reports.curve_figures import SECTION
from run_assets.reports.figure import Figure
from run_assets.reports.figures import figures
from run_assets.reports.markdown import render_markdown
from run_assets.reports.report_views import report_view
from run_assets.reports.twin import render_json
from run_assets.reports.views import Name

__all__ = ["render_html", "render_json", "render_markdown", "write_report"]

MAX_HTML_BYTES = 1_000_000
_FIGURE_BYTES = (850_000, 500_000, 200_000)
_HTML_ROWS = (200, 60, 20, 5)


def render_html(content: ReportContent, drawn: Mapping[str, Figure]) -> str:
    """One self-contained page: no script, no network, below ``MAX_HTML_BYTES``.

    Long tables are cut and say so; plots that do not fit are named instead of shown.

    Args:
        content: What it says.
        drawn: Its plots, from ``figures(content)``.
    """
    page = ""
    for limit, max_rows in product(_FIGURE_BYTES, _HTML_ROWS):
        page = _page(content, drawn, _within(drawn, limit), max_rows)
        if len(page.encode()) < MAX_HTML_BYTES:
            break
    return page


def _page(
    content: ReportContent,
    drawn: Mapping[str, Figure],
    shown: Set[str],
    max_rows: int,
) -> str:
    """The page with some of the plots and tables of so many rows."""

    def plots_of(name: str) -> list[Figure]:
        return [one for one in drawn.values() if one.analysis == name]

    report = report_view(content, max_rows)
    names = [one.name for one in content.analyses]
    sections = zip(report.analyses, map(plots_of, names), strict=True)
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            report=report,
            sections=list(sections),
            evaluations=[(one, plots_of(one.name)) for one in report.evaluations],
            findings=[one for one in drawn.values() if one.kind == "finding"],
            curve_plots=plots_of(SECTION),
            shown=shown,
            palette=palette,
        )
    )


def _within(drawn: Mapping[str, Figure], limit: int) -> set[str]:
    """Names of the first plots that fit into a number of bytes."""
    shown: set[str] = set()
    for figure in drawn.values():
        limit -= len(figure.svg.encode()) + len(figure.narrow_svg.encode())
        if limit < 0:
            break
        shown.add(figure.name)
    return shown


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("run_assets.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.tests["name"] = _is_name
    environment.filters["svg"] = _svg_markup
    return environment


def _is_name(value: object) -> bool:
    return isinstance(value, Name)


def _svg_markup(svg: str) -> Markup:
    # Built from a parsed tree that may hold only shapes and escaped text.
    return Markup(svg)  # noqa: S704


def write_report(folder: Path, content: ReportContent) -> list[Path]:
    """Write ``report.{html,json,md}`` and ``figures/*.svg``, each one atomically.

    Args:
        folder: Created where missing; other files in it are left alone.
        content: What the report says.

    Returns:
        The files: page, JSON, Markdown, then the plots in order.
    """
    drawn = figures(content)
    texts = {
        folder / "report.html": render_html(content, drawn),
        folder / "report.json": render_json(content),
        folder / "report.md": render_markdown(content),
    }
    for figure in drawn.values():
        texts[folder / "figures" / f"{figure.name}.svg"] = figure.svg
    # the JSON says what the report was made from: only when all the rest is there
    for path in sorted(texts, key=lambda one: one.suffix == ".json"):
        _write(path, texts[path])
    return list(texts)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(
        "w", encoding="utf-8", newline="", dir=path.parent, prefix=".", delete=False
    ) as file:
        temporary = Path(file.name)
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
