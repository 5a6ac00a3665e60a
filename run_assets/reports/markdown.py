"""The report as Markdown, for chat and pull requests.

Names stand in code spans, where neither GitHub nor Slack reads markup, links or
mentions. The few signs that would end a span or a table cell become look-alikes; the
exact names are in ``report.json``.
"""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from run_assets.reports.content import ReportContent
from run_assets.reports.report_views import report_view
from run_assets.reports.views import Cell, Name, Sentence, TableView

_MAX_ROWS = 20
# Chat tools read <…> even inside a code span.
_LOOK_ALIKES = str.maketrans(
    {"`": "\u02bc", "|": "\u00a6", "<": "\u2039", ">": "\u203a", "\n": " "}
)


def render_markdown(content: ReportContent) -> str:
    """A short text: verdicts, changes, tables without plots.

    Args:
        content: What it says.
    """
    template = _environment().get_template("report.md.jinja")
    return template.render(report=report_view(content, _MAX_ROWS))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("run_assets.reports"),
        autoescape=False,  # noqa: S701  # this is no HTML: ``finalize`` escapes
        finalize=_finalized,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["sentence"] = _sentence
    environment.filters["table"] = _table
    return environment


def _finalized(value: object) -> object:
    """Every expression of the template passes here; only our own markup stays."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return inline(value)


def inline(text: str) -> str:
    """Text inside a line: a foreign name becomes a code span.

    >>> inline(Name("a|b<c"))
    '`a\u00a6b\u2039c`'
    >>> inline("ours")
    'ours'
    """
    harmless = text.translate(_LOOK_ALIKES)
    return f"`{harmless.strip() or ' '}`" if isinstance(text, Name) else harmless


def _sentence(parts: Sentence) -> Markup:
    return _markup("".join(inline(part) for part in parts))


def _table(view: TableView) -> Markup:
    """A drawn interval is left out: its numbers stand in the cell before it."""
    kept = [at for at, (_, kind) in enumerate(view.columns) if kind != "interval"]
    heads = [view.columns[at] for at in kept]
    lines = [
        _line([title for title, _ in heads]),
        _line(["---:" if kind == "number" else "---" for _, kind in heads]),
        *(_line([_cell(row[at]) for at in kept]) for row in view.rows),
    ]
    if view.cut_note:
        lines += ["", view.cut_note]
    return _markup("\n".join(lines) + "\n")


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    text, detail = inline(cell.text), inline(cell.detail) if cell.detail else ""
    if not detail or detail[0] in "[`":
        return f"{text} {detail}".strip()
    return f"{text} ({detail})"


def _markup(text: str) -> Markup:
    return Markup(text)  # noqa: S704  # each part went through ``inline``
