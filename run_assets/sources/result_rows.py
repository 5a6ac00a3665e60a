"""What every database of results can be asked, and rows on their way to the lake."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

import polars as pl

from run_assets.contracts.tables import table
from run_assets.sources.result_mapping import Field, Query


class Facts(NamedTuple):
    """What tells a changed table from an unchanged one.

    Attributes:
        row_count: Rows of the SELECT.
        last_row_id: Largest id; ``None`` without ids or rows.
        last_updated_at: Largest time of change; ``None`` without one.
        token: Equal where nothing has changed.
    """

    row_count: int
    last_row_id: int | None
    last_updated_at: datetime | None
    token: str


class Since(NamedTuple):
    """Where a read goes on.

    Attributes:
        row_id: Rows with larger ids are new.
        updated_at: Rows changed then or later are read again, where known.
    """

    row_id: int
    updated_at: datetime | None


class Database(Protocol):
    """An open database, in one snapshot."""

    def fields(self, query: Query) -> tuple[Field, ...]:
        """The columns of a SELECT, checked."""

    def facts(self, query: Query) -> Facts:
        """Whether a SELECT has changed; reads no row."""

    def count_until(self, query: Query, row_id: int) -> int:
        """Rows with ids up to one."""

    def rows(self, query: Query, since: Since | None) -> Iterator[pl.DataFrame]:
        """The rows of a SELECT in batches, by the names of the table."""

    def close(self) -> None:
        """Let the database go."""


@dataclass
class Completed:
    """Gives batches of a SELECT all columns of their table.

    Rows without an id are numbered in the order in which they come.
    """

    query: Query
    n_rows: int = 0

    def __call__(self, batch: pl.DataFrame) -> pl.DataFrame:
        """The batch with source, missing columns and, where needed, ids."""
        contract = table(self.query.target)
        known = {
            "source": pl.lit(self.query.source),
            "has_early_stop": pl.lit(self.query.has_early_stop),
            "row_id": pl.int_range(self.n_rows, self.n_rows + pl.len()),
        }
        self.n_rows += batch.height
        return batch.select(
            pl.col(name)
            if name in batch.columns
            else known.get(name, pl.lit(None)).alias(name)
            for name in contract.columns
        )
