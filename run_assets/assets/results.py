"""What an asset tells Dagster about the table it made."""

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import dagster as dg
import polars as pl

from run_assets.contracts.table import Table
from run_assets.contracts.tables import table
from run_assets.lab import Lab
from run_assets.store.build import Build, PartConfig, Recipe, make

OWNERS = ["team:run-assets"]
_MAX_PLOTS = 3


def key(name: str) -> dg.AssetKey:
    """The asset key of a table: its address."""
    return dg.AssetKey(name.split("."))


def keys(names: Sequence[str]) -> list[dg.AssetKey]:
    """The asset keys of tables."""
    return [key(name) for name in names]


def definition(name: str, kinds: set[str], deps: Sequence[str] = ()) -> dict[str, Any]:
    """The arguments that every asset of a table has."""
    schema = name.partition(".")[0]
    return {
        "key": key(name),
        "group_name": schema,
        "kinds": kinds,
        "owners": OWNERS,
        "deps": keys(deps),
    }


def column_schema(contract: Table) -> dg.TableSchema:
    """Columns of a table as Dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                kind,
                contract.column(name).meaning,
                dg.TableColumnConstraints(
                    nullable=name not in contract.key,
                    unique=contract.key == (name,),
                ),
            )
            for name, kind in contract.types.items()
        ]
    )


def lineage(name: str, reads: Sequence[str]) -> dg.TableColumnLineage:
    """Columns that a table shares with those it reads: one name means one thing."""
    columns = {
        column: [
            dg.TableColumnDep(asset_key=key(read), column_name=column)
            for read in reads
            if column in table(read).columns
        ]
        for column in table(name).columns
    }
    return dg.TableColumnLineage({c: deps for c, deps in columns.items() if deps})


def table_metadata(lab: Lab, name: str, reads: Sequence[str]) -> dict[str, Any]:
    """Schema, lineage, rows and digest of a stored table."""
    headers = [(part, lab.lake.header(part)) for part in lab.lake.parts(name)]
    found = [header for _, header in headers if header]
    digests = sorted(header.digest for header in found)
    return {
        "dagster/column_schema": column_schema(table(name)),
        "dagster/column_lineage": lineage(name, reads),
        "dagster/row_count": sum(header.rows for header in found),
        "files": len(found),
        "input_digest": digests[0] if len(digests) == 1 else f"{len(digests)} files",
    }


def plots(svgs: Iterable[str]) -> dict[str, dg.MarkdownMetadataValue]:
    """The first plots as one metadata entry; none without plots.

    SVG, because each event keeps its own copy and a PNG is ten times as large.
    """
    images = [
        f"![plot](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})"
        for svg in islice(svgs, _MAX_PLOTS)
    ]
    return {"plot": dg.MetadataValue.md("\n\n".join(images))} if images else {}


def built(
    lab: Lab,
    recipe: Recipe,
    compute: Callable[[Build], pl.DataFrame],
    *,
    part_config: PartConfig | None = None,
    more: Mapping[str, Any] | None = None,
) -> dg.MaterializeResult[None]:
    """Write the stale files of a table and say so."""
    written = make(lab.lake, recipe, compute, part_config)
    return dg.MaterializeResult(
        asset_key=key(recipe.table),
        metadata={
            **table_metadata(lab, recipe.table, recipe.reads),
            "files_written": written,
            **(more or {}),
        },
    )
