"""The published DuckDB file: built from the lake beside the old one, renamed over it.

It is a product, not a working file. Nobody opens the published file for writing, so an
analyst's open connection goes on answering and never stops a build: it keeps the file
it opened, the new one is a new file.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb

from run_assets.contracts.table import Table
from run_assets.contracts.tables import SCHEMAS, TABLES
from run_assets.digests import code_digest_of, digest_of
from run_assets.errors import SourceError
from run_assets.store.lake import Header, Lake, Part, publish_file
from run_assets.store.models import models, quoted

FILE_NAME = "warehouse.duckdb"
BULK_ROWS = 5_000_000
"""A table with more rows is a view over the lake instead of a copy."""

# DuckDB's own default can be read by the newest clients only.
_STORAGE_VERSION = "v1.5.0"

Headers = Mapping[str, Mapping[Part, Header | None]]


def warehouse_path(lake: Lake) -> Path:
    """Where the file that is built from a lake is published: beside the lake."""
    return lake.root.parent / FILE_NAME


def warehouse_digest(lake: Lake, *, code_version: str) -> str:
    """Digest of everything that the file is built from.

    Args:
        lake: The lake; where it lies counts, since views name its files.
        code_version: Version of this package.
    """
    return _digest(lake, _headers(lake), code_version)


def stored_digest(path: Path) -> str | None:
    """The digest that a published file carries.

    ``None`` means that the file is missing, damaged, foreign, or that somebody has it
    open for writing. A build is the remedy in each case; in the last one, too, since
    the new file is one that nobody has open.
    """
    if not path.is_file():
        return None
    try:
        with duckdb.connect() as connection:
            connection.execute(f"attach {quoted(str(path))} as file (read_only)")
            rows = connection.execute(
                "select input_digest from file.published.warehouse"
            ).fetchall()
    except duckdb.Error:
        return None
    return str(rows[0][0]) if len(rows) == 1 else None


def build_warehouse(lake: Lake, target: Path, *, code_version: str) -> bool:
    """Publish the lake as one DuckDB file, if what it is built from has changed.

    The file has the schemas of ``contracts``: small tables as tables in their sort
    order, bulky ones as views over the lake's files, staging models as views. Tables
    and columns carry their meaning as COMMENT (DuckDB 2.0 has none for schemas).

    Args:
        lake: What it is built from.
        target: The published file, on the same disk as its temporary neighbour.
        code_version: Version of this package.

    Returns:
        Whether a file was written.

    Raises:
        SourceError: A lake file cannot be read, or the disk refused the new file; the
            previous one is untouched.
    """
    _remove(_leftovers(target))
    headers = _headers(lake)
    _check_readable(lake, headers)
    digest = _digest(lake, headers, code_version)
    if stored_digest(target) == digest:
        return False

    def fill(temporary: Path) -> None:
        try:
            _fill(temporary, lake, headers, {"digest": digest, "code": code_version})
        except duckdb.Error as error:
            raise OSError(str(error)) from error
        finally:
            _remove(_beside(temporary))
        # A log that somebody's writing connection left belongs to the old file only:
        # beside the new one it would keep every reader out.
        _remove(iter([_log(target)]))

    publish_file(target, fill)
    return True


def _headers(lake: Lake) -> Headers:
    return {
        name: {part: lake.header(part) for part in lake.parts(name)}
        for name, contract in TABLES.items()
        if contract.layout not in ("view", "none")
    }


def _digest(lake: Lake, headers: Headers, code_version: str) -> str:
    inputs = {
        name: [[*part[1:], header and header.digest] for part, header in found.items()]
        for name, found in headers.items()
    }
    contracts = [[one.digest, one.grain, *_comments(one)] for one in TABLES.values()]
    views = [
        model.sql for model in models().values() if model.contract.layout == "view"
    ]
    version = [code_version, code_digest_of(__name__)]
    return digest_of(version, str(_root(lake)), contracts, views, inputs)


def _check_readable(lake: Lake, headers: Headers) -> None:
    damaged = [
        str(lake.path(part))
        for found in headers.values()
        for part, header in found.items()
        if header is None
    ]
    if damaged:
        msg = (
            f"{', '.join(damaged[:5])} cannot be read ({len(damaged)} files), so "
            f"{FILE_NAME} stays as it was; `run-assets refresh` rewrites damaged files"
        )
        raise SourceError(msg)


def _fill(
    temporary: Path, lake: Lake, headers: Headers, built_from: Mapping[str, str]
) -> None:
    with duckdb.connect() as connection:
        spill = quoted(str(_spill(temporary)))
        connection.execute(f"set temp_directory = {spill}")
        connection.execute(
            f"attach {quoted(str(temporary))} as warehouse "
            f"(storage_version '{_STORAGE_VERSION}')"
        )
        connection.execute("use warehouse")
        connection.execute("begin")
        for schema in SCHEMAS:
            connection.execute(f"create schema {schema}")
        for name, contract in TABLES.items():
            kind = _create(connection, lake, contract, headers.get(name, {}))
            _comment(connection, contract, kind)
        connection.execute(
            "insert into published.warehouse (input_digest, code_version) "
            "values ($digest, $code)",
            dict(built_from),
        )
        connection.execute("commit")
        connection.execute("checkpoint warehouse")
        connection.execute("use memory")
        connection.execute("detach warehouse")


def _create(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    contract: Table,
    found: Mapping[Part, Header | None],
) -> str:
    """Create a table or a view; returns which."""
    if contract.layout == "view":
        sql = models()[contract.name].sql
        connection.execute(f"create view {contract.name} as {sql}")
        return "view"
    rows = sum(header.rows for header in found.values() if header)
    if found and (contract.is_bulk or rows > BULK_ROWS):
        source = _files(lake, contract)
        connection.execute(f"create view {contract.name} as {source}")
        return "view"
    connection.execute(f"create table {contract.name} ({_definitions(contract)})")
    if found:
        order = ", ".join(map(_name, contract.sort or contract.key))
        source = _files(lake, contract)
        connection.execute(f"insert into {contract.name} {source} order by {order}")
    return "table"


def _files(lake: Lake, contract: Table) -> str:
    """A query over all files of a table."""
    root = _root(lake)
    resolved = Lake(root)
    if any(character in str(root) for character in "*["):
        # Such a path cannot stand in a pattern, so each file is named.
        files = [resolved.path(part) for part in resolved.parts(contract.name)]
    else:
        files = [resolved.pattern(contract.name)]
    listed = ", ".join(quoted(str(file)) for file in files)
    columns = ", ".join(map(_name, contract.columns))
    return f"select {columns} from read_parquet([{listed}], hive_partitioning = false)"


def _definitions(contract: Table) -> str:
    return ", ".join(
        f"{_name(name)} {kind}{' not null' if name in contract.key else ''}"
        for name, kind in contract.types.items()
    )


def _comment(connection: duckdb.DuckDBPyConnection, contract: Table, kind: str) -> None:
    grain = quoted(f"One row per {contract.grain}")
    connection.execute(f"comment on {kind} {contract.name} is {grain}")
    for name, meaning in _comments(contract):
        column = f"{contract.name}.{_name(name)}"
        connection.execute(f"comment on column {column} is {quoted(meaning)}")


def _comments(contract: Table) -> list[tuple[str, str]]:
    return [(name, contract.column(name).meaning) for name in contract.columns]


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _root(lake: Lake) -> Path:
    return lake.root.resolve()


def _log(file: Path) -> Path:
    return file.with_name(f"{file.name}.wal")


def _spill(temporary: Path) -> Path:
    return temporary.with_name(f"{temporary.name}.spill")


def _beside(temporary: Path) -> Iterator[Path]:
    yield from temporary.parent.glob(f"{temporary.name}.*")


def _leftovers(target: Path) -> Iterator[Path]:
    """What a killed build left: its file, its log and what it spilled."""
    temporary = target.with_name(f".{target.name}.tmp")
    yield temporary
    yield from _beside(temporary)


def _remove(paths: Iterator[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
