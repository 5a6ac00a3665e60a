"""SQL models: one file is one table; two comments say its grain and its lineage."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from run_assets.contracts.table import Table
from run_assets.contracts.tables import table
from run_assets.errors import ContractError, did_you_mean

if TYPE_CHECKING:
    import duckdb
    import polars as pl

_READS = re.compile(r"-- reads: (\S+(?:, \S+)*)")


@dataclass(frozen=True)
class Model:
    """A SQL model.

    Attributes:
        name: Address, from the file's folder and name.
        description: First comment line: what one row is.
        reads: Tables it is made from, as the second comment line says.
        sql: The text that is run, unchanged.
    """

    name: str
    description: str
    reads: tuple[str, ...]
    sql: str

    @property
    def contract(self) -> Table:
        """The promise that the model keeps."""
        return table(self.name)


def sql_folder() -> Path:
    """Where the models lie: in the checkout, or inside an installed package."""
    package = Path(__file__).parents[1]
    installed = package / "_sql"
    return installed if installed.is_dir() else package.parent / "sql"


@cache
def models() -> Mapping[str, Model]:
    """Every model by name, each after those that it reads."""
    files = sorted(sql_folder().glob("*/*.sql"))
    found = {model.name: model for model in map(_parse, files)}
    ordered: dict[str, Model] = {}
    for name in found:
        _append(name, found, ordered)
    return ordered


def model(name: str) -> Model:
    """One model by name.

    Raises:
        ContractError: There is no such model.
    """
    known = models()
    if name not in known:
        msg = f"no SQL model {name!r}{did_you_mean(name, known)}"
        raise ContractError(msg)
    return known[name]


def stored_inputs(name: str) -> tuple[str, ...]:
    """The stored tables that a model reads, directly or through views."""
    found: list[str] = []
    for read in model(name).reads:
        is_view = table(read).layout == "view"
        found += stored_inputs(read) if is_view else [read]
    return tuple(dict.fromkeys(found))


def code_of(name: str) -> str:
    """The texts that decide a model's rows: its own and those of the views it reads."""
    views = [read for read in model(name).reads if table(read).layout == "view"]
    return "\n".join([*map(code_of, views), model(name).sql])


def run_model(
    connection: "duckdb.DuckDBPyConnection", name: str, files: Mapping[str, list[Path]]
) -> "pl.DataFrame":
    """Bind each table that a model reads to its files and run the text unchanged.

    Args:
        connection: An empty in-memory database; it is left empty.
        name: The model.
        files: Files of each stored table the model reads; none means no rows.
    """
    try:
        bind(connection, name, files)
        frame: pl.DataFrame = connection.sql(model(name).sql).pl()
        return frame
    finally:
        for schema in ("marts", "core", "staging", "raw"):
            connection.execute(f"drop schema if exists {schema} cascade")


def bind(
    connection: "duckdb.DuckDBPyConnection", name: str, files: Mapping[str, list[Path]]
) -> None:
    """Create a view for each table that a model reads."""
    for stored in stored_inputs(name):
        create_view(connection, stored, files.get(stored, []))
    for read in model(name).reads:
        _create_staging_view(connection, read)


def create_view(
    connection: "duckdb.DuckDBPyConnection", name: str, files: list[Path]
) -> None:
    """A view with a stored table's name and columns over its files."""
    contract = table(name)
    _create_schema(connection, contract)
    if files:
        listed = ", ".join(quoted(str(file)) for file in files)
        rows = f"select * from read_parquet([{listed}], hive_partitioning = false)"
    else:
        rows = f"select {_nulls(contract)} where false"
    connection.execute(f"create or replace view {name} as {rows}")


def quoted(text: str) -> str:
    """A SQL string literal.

    >>> quoted("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def _nulls(contract: Table) -> str:
    return ", ".join(
        f'cast(null as {kind}) as "{name}"' for name, kind in contract.types.items()
    )


def _create_staging_view(connection: "duckdb.DuckDBPyConnection", name: str) -> None:
    contract = table(name)
    if contract.layout != "view":
        return
    for read in model(name).reads:
        _create_staging_view(connection, read)
    _create_schema(connection, contract)
    connection.execute(f"create or replace view {name} as {model(name).sql}")


def _create_schema(connection: "duckdb.DuckDBPyConnection", contract: Table) -> None:
    connection.execute(f"create schema if not exists {contract.schema}")


def _append(name: str, found: Mapping[str, Model], ordered: dict[str, Model]) -> None:
    if name in ordered:
        return
    for read in found[name].reads:
        if read in found:
            _append(read, found, ordered)
    ordered[name] = found[name]


def _parse(file: Path) -> Model:
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    reads = _READS.fullmatch(lines[1]) if len(lines) > 1 else None
    if not lines or not lines[0].startswith("-- ") or reads is None:
        msg = f"{file} must begin with `-- <what a row is>` and `-- reads: <tables>`"
        raise ContractError(msg)
    name = f"{file.parent.name}.{file.stem}"
    return Model(name, lines[0].removeprefix("-- "), tuple(reads[1].split(", ")), text)
