"""How data goes to stdout and to files: text, JSON, CSV or parquet."""

import json
import math
import os
import sys
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from run_assets.cli.terminal import is_styled, is_terminal, terminal_width
from run_assets.cli.text_table import to_table
from run_assets.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

SCHEMA_VERSION = 1
Format = Literal["table", "json", "csv", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)
FormatOption = Annotated[
    Format, typer.Option("--output-format", help="How data is printed.")
]

# Source: OWASP, CSV Injection: signs that a spreadsheet takes for a formula. A plain
# negative number is none.
_FORMULA = r"^[=+\-@\t\r\n＝＋－＠]"  # noqa: RUF001  # they look alike, hence the danger
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def write(frame: "pl.DataFrame", form: Format) -> None:
    """Print a frame.

    Raises:
        UsageError: Parquet on a terminal.
    """
    if form == "json":
        emit(to_json(frame))
    elif form == "csv":
        emit(spreadsheet_safe(frame.lazy()).collect().write_csv().removesuffix("\n"))
    elif form == "parquet":
        _emit_parquet(frame)
    else:
        emit(to_table(frame, terminal_width(), is_styled=is_styled()))


def emit(text: str) -> None:
    """Print lines of data as UTF-8; a reader who goes away early is no error."""
    _emit_bytes(f"{text}\n".encode("utf-8", "replace"))


def export(frame: "pl.LazyFrame", target: Path) -> None:
    """Write a frame to a file whose ending says how, row by row.

    The old file stays until the new one is whole.

    Raises:
        UsageError: The ending is neither ``.csv`` nor ``.parquet``.
        SourceError: The file cannot be written.
    """
    from run_assets.store.lake import publish_file

    ending = target.suffix.lower()
    if ending not in (".csv", ".parquet") or target.is_dir():
        msg = (
            f"an export is a file that ends with .csv or .parquet, got {str(target)!r}"
        )
        raise UsageError(msg)

    def body(path: Path) -> None:
        with path.open("wb") as file:
            if ending == ".csv":
                spreadsheet_safe(frame).sink_csv(file)
            else:
                frame.sink_parquet(file)

    publish_file(target.absolute(), body)


def to_json(frame: "pl.DataFrame") -> str:
    """Valid JSON of a frame; see `json_document`."""
    return json_document(frame.rows(named=True))


def json_document(rows: list[dict[str, Any]]) -> str:
    """Valid JSON; NaN and infinities become null, and ``n_nonfinite`` counts them.

    >>> json.loads(json_document([{"loss": float("nan")}]))
    {'schema_version': 1, 'n_nonfinite': 1, 'rows': [{'loss': None}]}
    """
    counter = _Cleaner()
    document = {
        "schema_version": SCHEMA_VERSION,
        "n_nonfinite": 0,
        "rows": [counter.clean(row) for row in rows],
    }
    document["n_nonfinite"] = counter.n_nonfinite
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2)


class _Cleaner:
    """Makes values fit for JSON, and counts what JSON cannot say."""

    def __init__(self) -> None:
        self.n_nonfinite = 0

    def clean(self, value: Any) -> Any:
        match value:
            case dict():
                return {str(name): self.clean(one) for name, one in value.items()}
            case list() | tuple():
                return [self.clean(one) for one in value]
            case Decimal() | float():
                return self._number(float(value))
        return _plain(value)

    def _number(self, value: float) -> float | None:
        if math.isfinite(value):
            return value
        self.n_nonfinite += 1
        return None


def _plain(value: Any) -> Any:
    """Values of one piece that JSON does not know."""
    match value:
        case date() | time():  # a datetime is a date
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes():
            return value.hex()
    return value


def spreadsheet_safe(frame: "pl.LazyFrame") -> "pl.LazyFrame":
    """Only plain columns, and no text that a spreadsheet would run as a formula.

    Lists and structs become JSON, bytes hexadecimal, durations seconds; a text that
    starts like a formula gets an apostrophe before it, unless it is a number.
    """
    import polars as pl

    columns = [
        _plain_column(name, kind).alias(_safe_name(name))
        for name, kind in frame.collect_schema().items()
    ]
    return frame.select(columns) if columns else pl.LazyFrame()


def _plain_column(name: str, kind: "pl.DataType") -> "pl.Expr":
    import polars as pl

    column = pl.col(name)
    if kind.is_nested():
        return column.map_batches(
            _json_texts, return_dtype=pl.String, is_elementwise=True
        )
    if kind == pl.Duration:
        return column.dt.total_microseconds() / 1_000_000
    if kind == pl.Binary:
        return column.bin.encode("hex")
    return _without_formula(column) if kind == pl.String else column


def _without_formula(column: "pl.Expr") -> "pl.Expr":
    import polars as pl

    is_formula = column.str.contains(_FORMULA) & ~column.str.contains(_NUMBER)
    quoted = pl.concat_str(pl.lit("'"), column)
    return pl.when(is_formula).then(quoted).otherwise(column)


def _safe_name(name: str) -> str:
    import re

    return f"'{name}" if re.match(_FORMULA, name) else name


def _json_texts(series: "pl.Series") -> "pl.Series":
    import polars as pl

    texts = [None if one is None else _json_text(one) for one in series.to_list()]
    return pl.Series(series.name, texts, pl.String)


def _json_text(value: Any) -> str:
    return json.dumps(_Cleaner().clean(value), ensure_ascii=False)


def _emit_parquet(frame: "pl.DataFrame") -> None:
    import io

    if is_terminal():
        msg = "parquet is not for a terminal; add `> FILE.parquet`"
        raise UsageError(msg)
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    _emit_bytes(buffer.getvalue())


def _emit_bytes(data: bytes) -> None:
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Python flushes stdout once more at its end; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None
