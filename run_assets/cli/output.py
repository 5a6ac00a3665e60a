"""How data goes to stdout: an aligned table, JSON, CSV or parquet."""

import json
import math
import sys
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from run_assets.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

SCHEMA_VERSION = 1
Format = Literal["table", "json", "csv", "parquet"]
FormatOption = Annotated[Format, typer.Option("--output-format", help="How to print.")]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write(frame: "pl.DataFrame", form: Format) -> None:
    """Print a frame."""
    if form == "json":
        typer.echo(to_json(frame))
    elif form == "csv":
        sys.stdout.write(flat(frame).write_csv())
    elif form == "parquet":
        frame.write_parquet(sys.stdout.buffer)
    else:
        typer.echo(to_table(frame))


def export(frame: "pl.LazyFrame", target: Path) -> None:
    """Write a frame to a file whose ending says how.

    Raises:
        UsageError: The ending is neither ``.csv`` nor ``.parquet``.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".parquet":
        frame.sink_parquet(target)
    elif target.suffix == ".csv":
        flat(frame.collect()).write_csv(target)
    else:
        msg = f"an export ends with .csv or .parquet, got {target.name!r}"
        raise UsageError(msg)


def to_json(frame: "pl.DataFrame") -> str:
    """Valid JSON; NaN and infinities become null, and ``n_nonfinite`` counts them."""
    counter = _Cleaner()
    rows = [counter.clean(row) for row in frame.rows(named=True)]
    document = {
        "schema_version": SCHEMA_VERSION,
        "n_nonfinite": counter.n_nonfinite,
        "rows": rows,
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2)


class _Cleaner:
    def __init__(self) -> None:
        self.n_nonfinite = 0

    def clean(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self.clean(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self.clean(one) for one in value]
        if isinstance(value, float) and not math.isfinite(value):
            self.n_nonfinite += 1
            return None
        if isinstance(value, datetime | date):
            return value.isoformat()
        return value


def flat(frame: "pl.DataFrame") -> "pl.DataFrame":
    """Lists as JSON, and no text that a spreadsheet would run as a formula."""
    import polars as pl

    columns = []
    for name, kind in frame.schema.items():
        if kind.is_nested():
            texts = [
                None if v is None else _list_text(v) for v in frame[name].to_list()
            ]
            columns.append(pl.Series(name, texts, pl.String))
        else:
            columns.append(frame[name])
    plain = pl.DataFrame(columns)
    risky = pl.any_horizontal(pl.lit(value=False))
    texts_of = [name for name, kind in plain.schema.items() if kind == pl.String]
    return plain.with_columns(
        pl.when(risky | _starts_like_formula(name))
        .then(pl.concat_str(pl.lit("'"), name))
        .otherwise(pl.col(name))
        .alias(name)
        for name in texts_of
    )


def _starts_like_formula(name: str) -> "pl.Expr":
    import polars as pl

    starts = [pl.col(name).str.starts_with(sign) for sign in _FORMULA]
    return pl.any_horizontal(starts)


def _list_text(value: Any) -> str:
    return json.dumps(_Cleaner().clean(value), ensure_ascii=False)


def to_table(frame: "pl.DataFrame", width: int | None = None) -> str:
    """Columns aligned, numbers to the right, text cut to one line."""
    if not frame.columns:
        return "no columns"
    cells = {
        name: [_cell(value) for value in frame[name].to_list()]
        for name in frame.columns
    }
    limit = width or 60
    lines = {
        name: [_cut(text, limit) for text in (name, *texts)]
        for name, texts in cells.items()
    }
    widths = {name: max(map(len, texts)) for name, texts in lines.items()}
    right = {name for name, kind in frame.schema.items() if kind.is_numeric()}
    rows = [
        "  ".join(
            lines[name][i].rjust(widths[name])
            if name in right
            else lines[name][i].ljust(widths[name])
            for name in frame.columns
        ).rstrip()
        for i in range(frame.height + 1)
    ]
    rows.insert(1, "  ".join("-" * widths[name] for name in frame.columns))
    if frame.is_empty():
        rows.append("(no rows)")
    return "\n".join(rows)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return "".join(c if c.isprintable() else "·" for c in str(value))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
