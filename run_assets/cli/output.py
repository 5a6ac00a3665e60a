"""How data goes to stdout and to files: text, JSON, CSV or parquet."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from run_assets.cli.terminal import is_styled, is_terminal, terminal_width
from run_assets.cli.text_table import to_table
from run_assets.errors import UsageError
from run_assets.reading.json_values import Cleaner

if TYPE_CHECKING:
    import polars as pl

SCHEMA_VERSION = 1
Format = Literal["table", "json", "csv", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)
FormatOption = Annotated[
    Format, typer.Option("--output-format", help="How data is printed.")
]


def write(frame: "pl.DataFrame", form: Format) -> None:
    """Print a frame.

    Raises:
        UsageError: Parquet on a terminal.
    """
    if form == "json":
        emit(to_json(frame))
    elif form == "csv":
        from run_assets.reading.spreadsheets import spreadsheet_safe

        emit(spreadsheet_safe(frame.lazy()).collect().write_csv().removesuffix("\n"))
    elif form == "parquet":
        _emit_parquet(frame)
    else:
        emit(to_table(frame, terminal_width(), is_styled=is_styled()))


def write_tables(frame: "pl.DataFrame", form: Format, **more: "pl.DataFrame") -> None:
    """Print an answer of several tables; csv and parquet hold the first alone.

    Raises:
        UsageError: Parquet on a terminal.
    """
    if form == "json":
        rest = {name: one.rows(named=True) for name, one in more.items()}
        emit(json_document(frame.rows(named=True), **rest))
        return
    write(frame, form)
    if form == "table":
        for name, one in more.items():
            if not one.is_empty():
                emit(f"\n{name.replace('_', ' ')}")
                write(one, form)


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
    from run_assets.reading.spreadsheets import spreadsheet_safe
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


def json_document(rows: list[dict[str, Any]], **more: list[dict[str, Any]]) -> str:
    """Valid JSON; NaN and infinities become null, and ``n_nonfinite`` counts them.

    Args:
        rows: The answer.
        more: Further tables of the same answer, by name.

    >>> json.loads(json_document([{"loss": float("nan")}]))
    {'schema_version': 1, 'n_nonfinite': 1, 'rows': [{'loss': None}]}
    """
    counter = Cleaner()
    document = {
        "schema_version": SCHEMA_VERSION,
        "n_nonfinite": 0,
        **{
            name: [counter.clean(row) for row in table]
            for name, table in {"rows": rows, **more}.items()
        },
    }
    document["n_nonfinite"] = counter.n_nonfinite
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2)


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
