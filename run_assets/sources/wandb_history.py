"""From decoded batches to the history of a run: steps, values and which decoder."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import BinaryIO

import polars as pl

from run_assets.sources.wandb_log import Batch, plain_batches
from run_assets.sources.wandb_records import strict_json

FAST_BYTES = 13_000_000
"""Below this, compiling or loading the fast decoder costs more than it saves."""

THREADS = 2
"""More threads than this wait for the one that builds the frames."""

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
    """Only rows that have a value, and only JSON that every reader can parse."""
    history = history.filter(pl.col("metric").is_not_null()).select(HISTORY.names())
    texts = history["value_json"].drop_nulls().unique()
    strict = {text: strict_json(text) for text in texts}
    changed = {text: better for text, better in strict.items() if text != better}
    if not changed:
        return history
    return history.with_columns(pl.col("value_json").replace(changed))
