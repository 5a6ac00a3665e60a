"""Parquet partitions: the only place that knows where a table's files lie.

A file is written beside the old one, checked against its contract, synced and renamed
over it: a kill at any instant leaves the old or the new file, never a mix.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import polars as pl

from run_assets.contracts.table import Table
from run_assets.contracts.tables import TABLES, table
from run_assets.errors import ContractError, SourceError

ROWS_PER_PART = 5_000_000
_ROW_GROUP = 250_000
_META = "run_assets."
_TEMPORARY = ".tmp"

TYPES: dict[str, pl.DataType] = {
    "BIGINT": pl.Int64(),
    "BOOLEAN": pl.Boolean(),
    "DATE": pl.Date(),
    "DOUBLE": pl.Float64(),
    "TIMESTAMPTZ": pl.Datetime("us", "UTC"),
    "VARCHAR": pl.String(),
    "BIGINT[]": pl.List(pl.Int64()),
    "VARCHAR[]": pl.List(pl.String()),
    "STRUCT(name VARCHAR, size_bytes BIGINT)[]": pl.List(
        pl.Struct({"name": pl.String(), "size_bytes": pl.Int64()})
    ),
    "STRUCT(start_byte BIGINT, size_bytes BIGINT, reason VARCHAR)[]": pl.List(
        pl.Struct(
            {
                "start_byte": pl.Int64(),
                "size_bytes": pl.Int64(),
                "reason": pl.String(),
            }
        )
    ),
}


class Part(NamedTuple):
    """Address of one file of a table.

    Attributes:
        table: ``schema.table``.
        number: Counts the files of a partition from 0.
        project_slug: Empty where the table is a single file.
        day: ``YYYY-MM-DD``; empty where the table is a single file.
    """

    table: str
    number: int = 0
    project_slug: str = ""
    day: str = ""

    def of(self, name: str) -> "Part":
        """The part of another table that holds the same runs."""
        return self._replace(table=name)


class Header(NamedTuple):
    """What a file says about itself.

    Attributes:
        digest: Digest of everything the file was made from.
        rows: Number of rows.
        first_part: Number of the first part of the run that this part continues, or
            its own.
        code: Digest of the code and the contract that made it.
    """

    digest: str
    rows: int
    first_part: int
    code: str


def schema_of(contract: Table) -> pl.Schema:
    """Polars types of a table's columns."""
    return pl.Schema({name: TYPES[kind] for name, kind in contract.types.items()})


def collected(frame: pl.LazyFrame) -> pl.DataFrame:
    """The rows of a query on the lake.

    Raises:
        SourceError: A file is damaged.
    """
    try:
        return frame.collect()
    except (OSError, pl.exceptions.ComputeError) as error:
        msg = f"the lake cannot be read: {error}; `run-assets refresh` repairs it"
        raise SourceError(msg) from error


def empty(name: str) -> pl.DataFrame:
    """A table without rows."""
    return pl.DataFrame(schema=schema_of(table(name)))


class Lake:
    """The parquet files of a lab.

    Attributes:
        root: ``<data_dir>/lake``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, part: Part) -> Path:
        """Where a part lies."""
        folder = self.root / part.table.replace(".", "/", 1)
        if part.day:
            folder /= f"project_slug={part.project_slug}/day={part.day}"
        return folder / f"part-{part.number}.parquet"

    def pattern(self, name: str) -> Path:
        """A glob over all files of a table."""
        deep = "*/*/*.parquet" if table(name).is_partitioned else "*.parquet"
        return self.root / name.replace(".", "/", 1) / deep

    def parts(self, name: str) -> list[Part]:
        """Every stored part of a table, in order."""
        folder = self.root / name.replace(".", "/", 1)
        if not table(name).is_partitioned:
            return sorted(Part(name, number) for number in _numbers(folder))
        found = [
            part
            for slug in _values(folder, "project_slug")
            for day in _values(folder / f"project_slug={slug}", "day")
            for part in self.partition_parts(name, slug, day)
        ]
        return sorted(
            found, key=lambda part: (part.project_slug, part.day, part.number)
        )

    def partition_parts(self, name: str, project_slug: str, day: str) -> list[Part]:
        """The stored parts of one partition, in order."""
        folder = self.path(Part(name, 0, project_slug, day)).parent
        return [Part(name, number, project_slug, day) for number in _numbers(folder)]

    def header(self, part: Part) -> Header | None:
        """What a file says about itself; ``None`` where it is missing or damaged."""
        try:
            stored = pl.read_parquet_metadata(self.path(part))
            return Header(
                stored[f"{_META}digest"],
                int(stored[f"{_META}rows"]),
                int(stored[f"{_META}first_part"]),
                stored[f"{_META}code"],
            )
        except (OSError, KeyError, ValueError, pl.exceptions.PolarsError):
            return None

    def scan(self, name: str, parts: Iterable[Part] | None = None) -> pl.LazyFrame:
        """The rows of some parts of a table, or of all of them."""
        chosen = self.parts(name) if parts is None else list(parts)
        if not chosen:
            return empty(name).lazy()
        return pl.scan_parquet(
            [self.path(part) for part in chosen], hive_partitioning=False, glob=False
        )

    def read(self, name: str, parts: Iterable[Part] | None = None) -> pl.DataFrame:
        """As ``scan``, in memory; an unreadable file is named."""
        chosen = self.parts(name) if parts is None else list(parts)
        try:
            return self.scan(name, chosen).collect()
        except (OSError, pl.exceptions.PolarsError) as error:
            bad = [str(self.path(part)) for part in chosen if not self.header(part)]
            where = ", ".join(bad) or str(self.pattern(name))
            msg = f"{where} cannot be read: {error}; `run-assets refresh` repairs it"
            raise SourceError(msg) from error

    def write(
        self,
        part: Part,
        frame: pl.DataFrame,
        *,
        digest: str,
        code: str = "",
        first_part: int | None = None,
    ) -> None:
        """Check a frame against its contract and publish it as a part.

        Raises:
            ContractError: Columns, types or key differ from the contract.
            SourceError: The disk refused the file; the old one is untouched.
        """
        contract = table(part.table)
        frame = in_order(conform(frame, contract), contract)
        first = part.number if first_part is None else first_part
        metadata = {
            f"{_META}digest": digest,
            f"{_META}rows": str(frame.height),
            f"{_META}first_part": str(first),
            f"{_META}code": code,
        }

        def body(path: Path) -> None:
            frame.write_parquet(
                path,
                compression="zstd",
                compression_level=1,
                statistics=True,
                row_group_size=_ROW_GROUP,
                metadata=metadata,
            )

        publish_file(self.path(part), body)

    def delete(self, part: Part) -> None:
        """Remove a part that holds nothing any more."""
        self.path(part).unlink(missing_ok=True)

    def files(self) -> Iterator[os.DirEntry[str]]:
        """Every published file."""
        for entry in _walk(self.root):
            if not entry.name.endswith(_TEMPORARY):
                yield entry

    def sweep(self) -> None:
        """Remove what killed writers left behind; only for who holds the lock."""
        for entry in _walk(self.root):
            if entry.name.endswith(_TEMPORARY):
                Path(entry.path).unlink(missing_ok=True)


def conform(frame: pl.DataFrame, contract: Table) -> pl.DataFrame:
    """The frame with the contract's columns in order and types.

    Raises:
        ContractError: A column is missing or unknown, or a value does not fit its type.
    """
    wanted = schema_of(contract)
    missing = [name for name in wanted if name not in frame.columns]
    unknown = [name for name in frame.columns if name not in wanted]
    if missing or unknown:
        msg = (
            f"{contract.name} must have the columns of its contract; "
            f"missing: {missing}, unknown: {unknown}"
        )
        raise ContractError(msg)
    try:
        frame = frame.select(pl.col(name).cast(kind) for name, kind in wanted.items())
    except pl.exceptions.PolarsError as error:
        msg = f"{contract.name} has values that do not fit its contract: {error}"
        raise ContractError(msg) from error
    return frame


def in_order(frame: pl.DataFrame, contract: Table) -> pl.DataFrame:
    """The rows in the order of the contract, its key checked.

    Rows that ascend strictly have no key twice; looking costs less than sorting.

    Raises:
        ContractError: A key is null or occurs twice.
    """
    order = contract.sort or contract.key
    if set(order) == set(contract.key) and _ascends(frame, order):
        return frame
    check_key(frame, contract)
    return frame.sort(order, nulls_last=True)


def _ascends(frame: pl.DataFrame, columns: Sequence[str]) -> bool:
    """Each row comes after the one before it; false where anything is null."""
    is_after = pl.lit(False)  # noqa: FBT003  # an expression
    for name in reversed(columns):
        here, before = pl.col(name), pl.col(name).shift(1)
        is_after = (here > before) | ((here == before) & is_after)
    told = frame.select(
        pl.any_horizontal(pl.col(name).has_nulls() for name in columns).alias("nulls"),
        is_after.slice(1).all().alias("ascends"),
    )
    return told.row(0) == (False, True)


Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


def fitted(frame: Frame, name: str) -> Frame:
    """A frame with the columns of today's contract, whatever its file's was."""
    schema, known = schema_of(table(name)), frame.collect_schema()
    if known == schema:
        return frame
    return frame.select(
        (pl.col(column) if column in known else pl.lit(None)).cast(kind).alias(column)
        for column, kind in schema.items()
    )


def check_key(frame: pl.DataFrame, contract: Table) -> None:
    """Refuse null and repeated keys.

    Raises:
        ContractError: Names the first offending key.
    """
    keys = frame.select(contract.key)
    nulls = keys.null_count().row(0)
    if any(nulls):
        msg = f"{contract.name}: key {contract.key} must not be null, got {nulls} nulls"
        raise ContractError(msg)
    if keys.n_unique() != keys.height:
        first = keys.filter(keys.is_duplicated()).row(0)
        msg = f"{contract.name}: key {contract.key} must be unique, got {first} twice"
        raise ContractError(msg)


def publish_file(target: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file, sync it and rename it over the target.

    Raises:
        SourceError: The disk refused; the old file is untouched.
    """
    temporary = target.with_name(f".{target.name}{_TEMPORARY}")
    try:
        _publish(target, temporary, write)
    except BaseException:  # also Ctrl-C leaves nothing half-written
        temporary.unlink(missing_ok=True)
        raise


def _publish(target: Path, temporary: Path, write: Callable[[Path], None]) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        sync(temporary)
        temporary.replace(target)
        sync(target.parent)
    except (OSError, pl.exceptions.PolarsError) as error:
        free = shutil.disk_usage(_existing(target)).free
        msg = (
            f"{target} could not be written: {error}; the previous file is untouched, "
            f"{free / 2**20:,.0f} MiB are free there. Make room and refresh again"
        )
        raise SourceError(msg) from error


def sync(path: Path) -> None:
    """Make a file's content, or a folder's names, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _existing(path: Path) -> Path:
    return next(folder for folder in path.parents if folder.exists())


def _walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))
            else:
                yield entry


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208  # names are enough here
    except FileNotFoundError:
        return []


def _values(folder: Path, key: str) -> list[str]:
    names = _names(folder)
    return [
        name.removeprefix(f"{key}=") for name in names if name.startswith(f"{key}=")
    ]


def _numbers(folder: Path) -> list[int]:
    names = [
        name.removeprefix("part-").removesuffix(".parquet")
        for name in _names(folder)
        if name.startswith("part-") and name.endswith(".parquet")
    ]
    return sorted(int(name) for name in names if name.isdecimal())


def tables_of(schemas: Iterable[str]) -> list[str]:
    """Names of the tables of some schemas, in the order of the flow."""
    wanted = set(schemas)
    return [name for name, contract in TABLES.items() if contract.schema in wanted]
