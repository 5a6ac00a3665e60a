"""Parquet exports of a run's history."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.wandb_server.rows import flattened, spelled
from tests.support.wandb_server.storage import FiledHistory
from tests.support.wandb_server.switches import Switches


def export_bytes(lines: Sequence[str], switches: Switches) -> bytes:
    """A parquet file of logged lines: one column a flattened key, missing = null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [dict(flattened(json.loads(line))) for line in lines]
    keys = dict.fromkeys(key for row in rows for key in row)
    columns = {key: _column([row.get(key) for row in rows], switches) for key in keys}
    written = io.BytesIO()
    rows_per_group = switches.row_group_rows
    pq.write_table(pa.table(columns), written, row_group_size=rows_per_group)
    return written.getvalue()


def _column(values: list[Any], switches: Switches) -> Any:
    """An arrow array; what has no common type becomes JSON text."""
    import pyarrow as pa

    respelled = [spelled(value, switches.nan_in_exports) for value in values]
    holds_objects = any(isinstance(value, dict | list) for value in respelled)
    if holds_objects and switches.exported_objects == "json":
        return pa.array([_text(value) for value in respelled])
    try:
        return pa.array(_floats(respelled))
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([_text(value) for value in respelled])


def _floats(values: list[Any]) -> list[Any]:
    """Integers as floats where the column also holds floats."""
    if not any(isinstance(value, float) for value in values):
        return values
    return [
        float(value)
        if isinstance(value, int) and not isinstance(value, bool)
        else value
        for value in values
    ]


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def filed_history(paths: Sequence[Path]) -> FiledHistory:
    """What there is to tell of parquet files made elsewhere; reads no rows."""
    import pyarrow.parquet as pq

    files = [pq.ParquetFile(path) for path in paths]
    rows = sum(file.metadata.num_rows for file in files)
    names = dict.fromkeys(name for file in files for name in file.schema_arrow.names)
    count = {"type": "number", "count": rows}
    keys = {
        name: {"typeCounts": [dict(count)], "monotonic": False, "previousValue": None}
        for name in names
    }
    last_step = max((_last_step(file.metadata) for file in files), default=-1)
    return FiledHistory(tuple(paths), rows, last_step, keys)


def _last_step(metadata: Any) -> int:
    """The greatest step, from the statistics of the row groups."""
    column = metadata.schema.names.index("_step")
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    return max((group.column(column).statistics.max for group in groups), default=-1)


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte of a Range header, or None for all of `size` bytes.

    >>> byte_range("bytes=2-", 10), byte_range("bytes=-3", 10), byte_range(None, 10)
    ((2, 9), (7, 9), None)
    """
    if not header or not header.startswith("bytes="):
        return None
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first:
        return max(0, size - int(last)), size - 1
    return int(first), min(int(last), size - 1) if last else size - 1
