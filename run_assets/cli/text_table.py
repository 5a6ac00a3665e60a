"""A frame as text: columns aligned by what a terminal shows, numbers to the right."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from run_assets.cli.terminal import isolated, printable

if TYPE_CHECKING:
    import polars as pl

_GAP = "  "
_WIDEST = 80  # of a text in a file or a pipe
_NARROWEST = 12  # of a column that has to give way
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"


@dataclass(frozen=True)
class _Column:
    name: str
    cells: tuple[str, ...]
    width: int
    is_number: bool
    is_text: bool

    def narrowed(self, limit: int) -> "_Column":
        """Cut text to a width; a cut number or time would be another one."""
        if not self.is_text or self.width <= limit:
            return self
        cells = tuple(_cut(cell, limit) for cell in self.cells)
        return replace(self, name=_cut(self.name, limit), cells=cells, width=limit)

    def padded(self, text: str) -> str:
        """A cell as wide as the column."""
        space = " " * (self.width - _width(text))
        return space + text if self.is_number else isolated(text) + space


def to_table(
    frame: "pl.DataFrame", width: int | None = None, *, is_styled: bool = False
) -> str:
    """Columns aligned, numbers to the right, one line a row.

    Args:
        frame: What to show.
        width: Columns of the terminal: long texts are cut, and columns that do not
            fit are named below. ``None`` for a file or a pipe: any width will do, only
            texts of more than 80 columns with others behind them are cut.
        is_styled: The head is bold.

    >>> import polars as pl
    >>> print(to_table(pl.DataFrame({"run": ["日本", "b"], "loss": [0.5, 10.25]})))
    run    loss
    ----  -----
    日本    0.5
    b     10.25
    """
    columns = [_column(frame[name]) for name in frame.columns]
    if width is None:
        shown = [*(one.narrowed(_WIDEST) for one in columns[:-1]), columns[-1]]
    else:
        shown = _fitting(columns, width)
    lines = list(_lines(shown, frame.height, is_styled=is_styled))
    if frame.is_empty():
        lines.append("(no rows)")
    if hidden := [printable(one.name) for one in columns[len(shown) :]]:
        said = f"{len(hidden)} more columns in csv, json, parquet: {', '.join(hidden)}"
        lines.append(_cut(f"({said})", width or len(said)))
    return "\n".join(lines)


def _lines(columns: list[_Column], height: int, *, is_styled: bool) -> Iterator[str]:
    head = _GAP.join(one.padded(one.name) for one in columns).rstrip()
    yield f"{_BOLD}{head}{_PLAIN}" if is_styled else head
    yield _GAP.join("-" * min(one.width, _WIDEST) for one in columns)
    for row in range(height):
        yield _GAP.join(one.padded(one.cells[row]) for one in columns).rstrip()


def _column(series: "pl.Series") -> _Column:
    name = printable(series.name)
    cells = tuple(cell_text(value) for value in series.to_list())
    widest = max(map(_width, (name, *cells)))
    kind = series.dtype
    is_text = not (kind.is_numeric() or kind.is_temporal())
    return _Column(name, cells, widest, kind.is_numeric(), is_text)


def _fitting(columns: list[_Column], width: int) -> list[_Column]:
    """The wide columns give way first; then columns are left out from the right.

    The first column, which says what a row is about, keeps up to half of the width.
    """
    widest = max(one.width for one in columns)
    narrowed = columns
    for limit in range(widest, _NARROWEST - 1, -1):
        limits = [max(limit, width // 2), *[limit] * (len(columns) - 1)]
        narrowed = [
            one.narrowed(most) for one, most in zip(columns, limits, strict=True)
        ]
        if _total(narrowed) <= width:
            return narrowed
    while len(narrowed) > 1 and _total(narrowed) > width:
        narrowed.pop()
    return [narrowed[0].narrowed(width), *narrowed[1:]]


def _total(columns: list[_Column]) -> int:
    return sum(one.width for one in columns) + len(_GAP) * (len(columns) - 1)


def cell_text(value: Any) -> str:
    r"""A value on one line.

    >>> cell_text([1.0, None, "a\tb"])
    '1, , a·b'
    """
    match value:
        case list():
            return ", ".join(map(cell_text, value))
        case dict():
            return ", ".join(f"{key}: {cell_text(one)}" for key, one in value.items())
    return printable(_one(value))


def _one(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.6g}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case bytes():
            return value.hex()
    return str(value)


def _width(text: str) -> int:
    """Columns that a terminal needs: two for wide characters, none for joined ones."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _cut(text: str, limit: int) -> str:
    if _width(text) <= limit:
        return text
    if text.isascii():
        return f"{text[: limit - 1]}…"
    from rich.cells import set_cell_size

    return f"{set_cell_size(text, limit - 1).rstrip()}…"
