"""Results in SQLite, through the standard library: the same rows as elsewhere.

SQLite has values of any type in any column, so each value is converted here, and one
that does not fit is an error that names it.
"""

import math
import reprlib
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from run_assets.errors import NotFoundError, SourceError, UsageError
from run_assets.sources.result_mapping import Field, Query, fields_of, order_of
from run_assets.sources.result_rows import Completed, Facts, Since

_ROWS = 20_000
_TRUE, _FALSE = ("true", "t", "yes", "1"), ("false", "f", "no", "0")
_NEVER = ("infinity", "-infinity")

POLARS = {
    "VARCHAR": pl.String(),
    "DOUBLE": pl.Float64(),
    "BIGINT": pl.Int64(),
    "BOOLEAN": pl.Boolean(),
    "TIMESTAMPTZ": pl.Datetime("us", "UTC"),
}


class SqliteDatabase:
    """An open SQLite file, in one read-only snapshot."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            msg = f"no results database at {path}; check path or the address"
            raise NotFoundError(msg)
        self.path = path
        try:
            self._connection = sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None
            )
        except sqlite3.Error as error:
            raise self._broken(error) from None
        self._run("begin")

    def close(self) -> None:
        """End the snapshot."""
        self._connection.close()

    def has_table(self, name: str) -> bool:
        """A table or a view of this name is there."""
        found = self._run("select 1 from sqlite_master where name = ?", (name,))
        return found.fetchone() is not None

    def columns(self, name: str) -> list[str]:
        """Names of the columns of a table or a view."""
        found = self._run("select name from pragma_table_info(?)", (name,))
        return [row[0] for row in found]

    def fields(self, query: Query) -> tuple[Field, ...]:
        """The columns of a SELECT, checked."""
        found = self._run(f"select * from {query.inner} limit 0")
        names = [one[0] for one in found.description]
        if twice := {one for one in names if names.count(one) > 1}:
            msg = f"result source {query.source!r} selects twice: {sorted(twice)}"
            raise UsageError(msg)
        return fields_of(query, dict.fromkeys(names, ""))

    def facts(self, query: Query) -> Facts:
        """Rows, largest id and time of change; without ids the state of the file."""
        named = {one.name: one for one in self.fields(query)}
        asked = [
            f"max(mapped.{name})" if name in named else "null"
            for name in ("id", "updated_at")
        ]
        found = self._run(f"select count(*), {', '.join(asked)} from {query.inner}")
        count, last, updated = found.fetchone()
        content = "" if "id" in named else file_token(self.path)
        moment = _time(updated) if updated is not None else None
        row_id = None if last is None else _bigint(last)
        return Facts(count, row_id, moment, f"{count} {last} {updated} {content}")

    def count_until(self, query: Query, row_id: int) -> int:
        """Rows with ids up to one."""
        text = f"select count(*) from {query.inner} where mapped.id <= ?"
        return int(self._run(text, (row_id,)).fetchone()[0])

    def rows(self, query: Query, since: Since | None) -> Iterator[pl.DataFrame]:
        """The rows of a SELECT in batches."""
        fields = self.fields(query)
        complete = Completed(query)
        found = self._run(*_select_of(query, fields, since))
        while batch := self._fetch(found):
            columns = zip(fields, zip(*batch, strict=True), strict=True)
            frame = pl.DataFrame(
                [_series(query, one, values) for one, values in columns]
            )
            yield _since(complete(frame), since)

    def _fetch(self, found: sqlite3.Cursor) -> list[Any]:
        try:
            return found.fetchmany(_ROWS)
        except sqlite3.Error as error:
            raise self._broken(error) from None

    def _run(self, text: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(text, values)
        except sqlite3.Error as error:
            raise self._broken(error) from None

    def _broken(self, error: sqlite3.Error) -> SourceError:
        msg = f"the results database {self.path} cannot be read: {error}"
        return SourceError(msg)


def file_token(path: Path) -> str:
    """Size and time of change of a database and of its log."""
    files = (path, path.with_name(f"{path.name}-wal"))
    stats = [file.stat() for file in files if file.is_file()]
    return " ".join(f"{one.st_size}-{one.st_mtime_ns}" for one in stats if one.st_size)


def _select_of(
    query: Query, fields: tuple[Field, ...], since: Since | None
) -> tuple[str, tuple[Any, ...]]:
    columns = ", ".join(f'mapped."{one.name}"' for one in fields)
    order = ", ".join(f'mapped."{name}"' for name in order_of(fields))
    where, values = "", tuple[Any, ...]()
    has_times = any(one.name == "updated_at" for one in fields)
    if since is not None and not (has_times and since.updated_at):
        where, values = " where mapped.id > ?", (since.row_id,)
    text = f"select {columns} from {query.inner}{where}"
    return text + (f" order by {order}" if order else ""), values


def _since(batch: pl.DataFrame, since: Since | None) -> pl.DataFrame:
    """New and changed rows: SQLite cannot compare times that are spelled differently.

    A batch of a read that goes on was selected by its ids already, where it has no
    times.
    """
    if since is None or since.updated_at is None:
        return batch
    is_new = pl.col("row_id") > since.row_id
    return batch.filter(is_new | (pl.col("updated_at") >= since.updated_at))


def _series(query: Query, one: Field, values: tuple[Any, ...]) -> pl.Series:
    found = [None if value is None else _value(query, one, value) for value in values]
    return pl.Series(one.column, found, POLARS[one.kind])


def _value(query: Query, one: Field, value: Any) -> Any:
    try:
        return _CONVERSIONS[one.kind](value)
    except (ValueError, TypeError, OverflowError):
        msg = (
            f"column {one.name!r} of result source {query.source!r} must be a "
            f"{one.kind}, got {reprlib.repr(value)}; convert it in the SELECT"
        )
        raise SourceError(msg) from None


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _bigint(value: Any) -> int | None:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    number = math.floor(value) if isinstance(value, float) else int(value)
    if not -(2**63) <= number < 2**63:
        raise OverflowError(value)
    return number


def _boolean(value: Any) -> bool:
    if isinstance(value, int | float):
        return value != 0
    word = str(value).lower()
    if word not in (*_TRUE, *_FALSE):
        raise ValueError(value)
    return word in _TRUE


def _time(value: Any) -> datetime | None:
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    if value in _NEVER:
        return None
    moment = datetime.fromisoformat(value)
    is_naive = moment.tzinfo is None
    return moment.replace(tzinfo=UTC) if is_naive else moment.astimezone(UTC)


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "VARCHAR": _text,
    "DOUBLE": float,
    "BIGINT": _bigint,
    "BOOLEAN": _boolean,
    "TIMESTAMPTZ": _time,
}
