"""From decoded batches to the history of a run: steps, values and which decoder."""

import json
import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, BinaryIO

import polars as pl

from run_assets.sources.wandb_log import Batch, plain_batches
from run_assets.sources.wandb_records import canonical_json, parse_json, set_at

FAST_BYTES = 13_000_000
"""Below this, compiling or loading the fast decoder costs more than it saves."""

THREADS = 2
"""More threads than this wait for the one that builds the frames."""

_TYPE = "._type"

HISTORY = pl.Schema(
    {
        "metric": pl.String(),
        "step": pl.Int64(),
        "logged_at": pl.Datetime("us", "UTC"),
        "runtime_seconds": pl.Float64(),
        "value": pl.Float64(),
        "value_json": pl.String(),
    }
)


def decode_batches(stream: BinaryIO, start: int, batch_rows: int) -> Iterator[Batch]:
    """The batches of a file from `start` on, by the decoder that suits its size."""
    n_bytes = stream.seek(0, os.SEEK_END) - start
    if n_bytes < FAST_BYTES or find_spec("numba") is None:
        return plain_batches(stream, start=start, batch_rows=batch_rows)
    from run_assets.sources.wandb_fast import fast_batches

    threads = min(THREADS, os.cpu_count() or 1)
    return fast_batches(stream, start=start, batch_rows=batch_rows, threads=threads)


def numbered(
    history: pl.DataFrame, first_row: int, n_rows: int, next_step: int
) -> tuple[pl.DataFrame, int]:
    """Number the rows of a batch as the server does.

    A row keeps its own step if that is at least the next one, else it gets the next
    one. So the step of row i is i plus the running maximum of (own step - i).

    Source: wandb 0.31, core/internal/stream/historystep.go.

    Args:
        history: As in `Batch`.
        first_row: Ordinal of the batch's first row, as in its column `row`.
        n_rows: Rows in the batch, also those without values.
        next_step: The step that the first row gets if it has none of its own.

    Returns:
        The history with a column `step`, and the next step after it.
    """
    ahead = pl.col("logged_step") - (pl.col("row") - first_row)
    highest = history.select(ahead.max()).item()
    steps = (
        pl.col("row")
        - first_row
        + pl.max_horizontal(
            ahead.cum_max().forward_fill(), pl.lit(next_step, dtype=pl.Int64)
        )
    )
    after = n_rows + max(next_step, next_step if highest is None else highest)
    return history.with_columns(step=steps), after


def logged_values(history: pl.DataFrame) -> pl.DataFrame:
    """Only rows that have a value, and JSON in its one spelling."""
    history = history.filter(pl.col("metric").is_not_null()).select(HISTORY.names())
    texts = history["value_json"].drop_nulls().unique()
    spelled = {text: canonical_json(parse_json(text)) for text in texts}
    changed = {text: better for text, better in spelled.items() if text != better}
    if changed:
        history = history.with_columns(pl.col("value_json").replace(changed))
    return _with_typed_objects(history)


def _with_typed_objects(history: pl.DataFrame) -> pl.DataFrame:
    """Tables, images and histograms as one value, not as one for each of their fields.

    The SDK 0.31 spreads them over nested keys as it does with any dictionary; what has
    a field ``_type`` was one object.
    """
    names = history["metric"].unique()
    types = names.filter(names.str.ends_with(_TYPE))
    if types.is_empty():
        return history
    prefixes = sorted(str(name).removesuffix(_TYPE) for name in types)
    fields = {
        str(name): prefix
        for prefix in prefixes
        for name in names.filter(names.str.starts_with(f"{prefix}."))
        if not any(prefix.startswith(f"{outer}.") for outer in prefixes)
    }
    owner = pl.col("metric").replace_strict(fields, default=None)
    owned = history.with_columns(owner.alias("object"))
    is_typed = (
        (pl.col("metric") == pl.col("object") + _TYPE).any().over("object", "step")
    )
    is_field = pl.col("object").is_not_null() & is_typed
    parts = owned.filter(is_field).partition_by("object", "step", maintain_order=True)
    objects = [_typed_object(part) for part in parts]
    rest = owned.filter(~is_field).drop("object")
    return pl.concat([rest, *objects]).sort("step", maintain_order=True)


def _typed_object(fields: pl.DataFrame) -> pl.DataFrame:
    """One row with the JSON of an object whose fields are the rows of a frame."""
    name = fields["object"][0]
    tree: dict[str, Any] = {}
    for metric, value, text in fields.select("metric", "value", "value_json").rows():
        path = tuple(metric.removeprefix(f"{name}.").split("."))
        set_at(tree, path, value if text is None else json.loads(text))
    whole = pl.lit(canonical_json(tree)).alias("value_json")
    number = pl.lit(None, pl.Float64).alias("value")
    return fields.head(1).select(
        pl.lit(name).alias("metric"),
        "step",
        "logged_at",
        "runtime_seconds",
        number,
        whole,
    )
