"""Frames as a spreadsheet may have them: plain columns, nothing that it would run."""

import json
import re
from typing import Any

import polars as pl

from run_assets.reading.json_values import Cleaner

# Source: OWASP, CSV Injection: signs that a spreadsheet takes for a formula. A plain
# negative number is none.
_FORMULA = r"^'*[=+\-@\t\r\n＝＋－＠]"  # noqa: RUF001  # they look alike, hence the danger
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def spreadsheet_safe(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Only plain columns, and no text that a spreadsheet would run as a formula.

    Lists and structs become JSON, bytes hexadecimal, durations seconds; a text that
    starts like a formula, with or without apostrophes before it, gets one more
    apostrophe, unless it is a number; ``unguarded`` takes it away again.
    """
    columns = [
        _plain_column(name, kind).alias(_safe_name(name))
        for name, kind in frame.collect_schema().items()
    ]
    return frame.select(columns) if columns else pl.LazyFrame()


def _plain_column(name: str, kind: pl.DataType) -> pl.Expr:
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


def _without_formula(column: pl.Expr) -> pl.Expr:
    is_formula = column.str.contains(_FORMULA) & ~column.str.contains(_NUMBER)
    quoted = pl.concat_str(pl.lit("'"), column)
    return pl.when(is_formula).then(quoted).otherwise(column)


def _safe_name(name: str) -> str:
    return f"'{name}" if re.match(_FORMULA, name) else name


def _json_texts(series: pl.Series) -> pl.Series:
    texts = [None if one is None else _json_text(one) for one in series.to_list()]
    return pl.Series(series.name, texts, pl.String)


def _json_text(value: Any) -> str:
    return json.dumps(Cleaner().clean(value), ensure_ascii=False)


def unguarded(column: pl.Expr) -> pl.Expr:
    """Texts as they were before ``spreadsheet_safe``.

    >>> frame = pl.DataFrame({"a": ["=1+1", "'=1", "-5", "x"]})
    >>> safe = spreadsheet_safe(frame.lazy()).collect()
    >>> safe["a"].to_list(), safe.select(unguarded(pl.col("a")))["a"].to_list()
    (["'=1+1", "''=1", '-5', 'x'], ['=1+1', "'=1", '-5', 'x'])
    """
    is_guarded = column.str.starts_with("'") & column.str.contains(_FORMULA)
    return pl.when(is_guarded).then(column.str.slice(1)).otherwise(column)
