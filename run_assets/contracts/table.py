"""The shape of a table's contract, and its digest."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

from run_assets.contracts.columns import COLUMNS, Column

# "single": one file. "runs": one file for the runs of a part, whatever their length.
# "points": as "runs", but the rows of a very long run are spread over several parts.
# "batches": as many files as were read from the outside, in the order of reading.
# "view": nothing is stored. "none": it lives outside the lake.
Layout = Literal["single", "runs", "points", "batches", "view", "none"]


@dataclass(frozen=True)
class Table:
    """The promise that a table makes.

    Attributes:
        name: Address, ``schema.table``.
        grain: What one row is.
        key: Columns that are unique together and never null.
        columns: Names in order.
        layout: How it lies in the lake.
        sort: Order of the rows in a file; the key where empty.
        is_bulk: It is a view over the lake in ``warehouse.duckdb``, not a copy.
        own_columns: Columns that mean something else here than everywhere.
    """

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    layout: Layout
    sort: tuple[str, ...] = ()
    is_bulk: bool = False
    own_columns: Mapping[str, Column] = field(default_factory=dict)

    @property
    def schema(self) -> str:
        """The first half of the address."""
        return self.name.partition(".")[0]

    @property
    def is_partitioned(self) -> bool:
        """It lies in parts by project and day."""
        return self.layout in ("runs", "points")

    def column(self, name: str) -> Column:
        """Type and meaning of one of its columns."""
        return self.own_columns.get(name) or COLUMNS[name]

    @property
    def types(self) -> dict[str, str]:
        """DuckDB type of each column, in order."""
        return {name: self.column(name).type for name in self.columns}

    @property
    def digest(self) -> str:
        """Changes when a file written under the old promise no longer keeps it."""
        promise = [
            self.name,
            self.key,
            self.layout,
            self.sort,
            list(self.types.items()),
        ]
        return sha256(json.dumps(promise).encode()).hexdigest()[:16]


def declared(
    name: str, grain: str, key: str, columns: str, layout: Layout, **more: Any
) -> Table:
    """A table whose key and columns are spelled with blanks between them."""
    return Table(
        name, grain, tuple(key.split()), tuple(columns.split()), layout, **more
    )
