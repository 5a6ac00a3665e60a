"""What a run logged besides numbers: tables, images, and their files."""

import json
from typing import Any

import polars as pl

from run_assets.errors import SourceError

TABLE = "table-file"
OBJECTS = pl.Schema(
    {
        "metric": pl.String(),
        "step": pl.Int64(),
        "kind": pl.String(),
        "path": pl.String(),
        "size_bytes": pl.Int64(),
        "n_rows": pl.Int64(),
        "n_columns": pl.Int64(),
        "sha256": pl.String(),
    }
)


def logged_objects(objects: pl.DataFrame) -> pl.DataFrame:
    """Tables, images and other objects of a run's history.

    Args:
        objects: As ``Run.objects``.

    Returns:
        Columns of ``OBJECTS``; texts and lists, which have no type, are left out.
    """
    rows = [
        _object_row(metric, step, found)
        for metric, step, text in objects.rows()
        if isinstance(found := _parsed(text), dict) and "_type" in found
    ]
    return pl.DataFrame(rows, schema=OBJECTS)


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None


def _object_row(metric: str, step: int, found: dict[str, Any]) -> dict[str, Any]:
    return {
        "metric": metric,
        "step": step,
        "kind": str(found["_type"]),
        "path": _text(found.get("path")),
        "size_bytes": _whole(found.get("size")),
        "n_rows": _whole(found.get("nrows")),
        "n_columns": _whole(found.get("ncols")),
        "sha256": _text(found.get("sha256")),
    }


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: Any) -> int | None:
    is_whole = isinstance(value, (int, float)) and value == value // 1
    return int(value) if is_whole else None


def table_rows(text: str, name: str) -> pl.DataFrame:
    """The rows of a logged Table.

    A column of one kind keeps it; one that mixes kinds becomes text, as JSON.

    Args:
        text: The file as W&B writes it: ``{"columns": [...], "data": [[...]]}``.
        name: What it is called in errors.

    Raises:
        SourceError: It is no such file.

    >>> table_rows('{"columns": ["who", "rate"], "data": [["a", 1], ["b", 0.5]]}', "t")
    shape: (2, 2)
    ┌─────┬──────┐
    │ who ┆ rate │
    │ --- ┆ ---  │
    │ str ┆ f64  │
    ╞═════╪══════╡
    │ a   ┆ 1.0  │
    │ b   ┆ 0.5  │
    └─────┴──────┘
    """
    found = _parsed(text)
    columns = found.get("columns") if isinstance(found, dict) else None
    data = found.get("data") if isinstance(found, dict) else None
    is_table = isinstance(columns, list) and isinstance(data, list)
    if not is_table or any(len(row) != len(columns or ()) for row in data or ()):
        msg = (
            f"{name} is not a W&B table: it needs columns, and data with as many cells"
        )
        raise SourceError(msg)
    names = _unique([str(one) for one in columns or ()])
    return pl.DataFrame(
        {
            column: _series(column, [row[number] for row in data or ()])
            for number, column in enumerate(names)
        }
    )


def _unique(names: list[str]) -> list[str]:
    return [
        f"{name}.{names[:number].count(name)}" if name in names[:number] else name
        for number, name in enumerate(names)
    ]


def _series(name: str, values: list[Any]) -> pl.Series:
    numbers = [_number(one) for one in values]
    kinds = {type(one) for one in numbers if one is not None}
    if kinds <= {int, float} and kinds:
        return pl.Series(name, numbers, pl.Float64 if float in kinds else pl.Int64)
    if kinds <= {bool}:
        return pl.Series(name, values, pl.Boolean)
    if kinds == {str}:
        return pl.Series(name, values, pl.String)
    texts = [None if one is None else json.dumps(one) for one in values]
    return pl.Series(name, texts, pl.String)


def _number(value: Any) -> Any:
    """W&B writes NaN and infinities as texts."""
    if value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    return value
