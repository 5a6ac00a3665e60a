"""Results in PostgreSQL, through ADBC: Arrow batches, one snapshot, nothing written.

Types that Arrow has no place for are cast in SQL: numeric, json, uuid, interval and
infinite times. Values are bind parameters. What a driver says is shown without the
password.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import polars as pl

from run_assets.errors import (
    AuthenticationError,
    NotFoundError,
    SourceError,
    TryAgainError,
    UsageError,
)
from run_assets.sources.result_mapping import Field, Query, fields_of, order_of
from run_assets.sources.result_rows import Completed, Facts, Since

_TYPE_KEYS = (b"POSTGRESQL:type", b"ADBC:postgresql:typname")
_NUMBERS = ("int2", "int4", "int8", "float4", "float8", "numeric")
_TIMES = ("timestamp", "timestamptz", "date")
_PATIENCE = "10"  # seconds until a server that says nothing counts as not there
_REFUSED = ("password authentication failed", "no password supplied", "28P01", "28000")
_ABSENT = ("does not exist",)


class Secrets:
    """Takes the secrets of an address out of what drivers say."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        given = [parts.password, dict(parse_qsl(parts.query)).get("password")]
        spelled = [(one, unquote(one), quote(unquote(one))) for one in given if one]
        self._secrets = [text for texts in spelled for text in texts]

    def masked(self, text: object) -> str:
        """The text without them."""
        shown = str(text)
        for secret in sorted(self._secrets, key=len, reverse=True):
            shown = shown.replace(secret, "****")
        return shown


class PostgresDatabase:
    """An open PostgreSQL database, in one read-only snapshot."""

    def __init__(self, url: str) -> None:
        driver = _driver()
        self._secrets = Secrets(url)
        self._error: type[Exception] = driver.Error
        try:
            self._connection = driver.connect(_patient(url))
        except driver.Error as error:
            raise self._cannot_connect(error) from None
        self._cursor = self._connection.cursor()
        for one in (
            "set transaction isolation level repeatable read read only",
            "set local timezone = 'UTC'",
        ):
            self._execute(one)

    def close(self) -> None:
        """End the snapshot and the connection."""
        self._cursor.close()
        self._connection.close()

    def fields(self, query: Query) -> tuple[Field, ...]:
        """The columns of a SELECT, checked."""
        self._execute(f"select * from {query.inner} limit 0", query=query)
        schema = self._cursor.fetch_record_batch().schema
        if twice := {one for one in schema.names if schema.names.count(one) > 1}:
            msg = f"result source {query.source!r} selects twice: {sorted(twice)}"
            raise UsageError(msg)
        return fields_of(query, {one.name: _type_name(one) for one in schema})

    def facts(self, query: Query) -> Facts:
        """Rows, largest id and time of change; without ids a hash over all rows."""
        named = {one.name: one for one in self.fields(query)}
        asked = [
            f"max({_cast(named[name])})" if name in named else "null::text"
            for name in ("id", "updated_at")
        ]
        # Without an id nothing but the rows themselves can tell.
        hashed = "sum(hashtext(mapped::text)::bigint)::text"
        asked.append("null::text" if "id" in named else hashed)
        self._execute(
            f"select count(*), {', '.join(asked)} from {query.inner}", query=query
        )
        count, last, updated, content = self._one_row(query)
        token = f"{count} {last} {updated} {content}"
        return Facts(count, last, updated, token)

    def count_until(self, query: Query, row_id: int) -> int:
        """Rows with ids up to one."""
        self._execute(
            f"select count(*) from {query.inner} where mapped.id <= $1",
            (row_id,),
            query,
        )
        return int(self._one_row(query)[0])

    def rows(self, query: Query, since: Since | None) -> Iterator[pl.DataFrame]:
        """The rows of a SELECT, as the server sends them."""
        text, values = select_of(query, self.fields(query), since)
        complete = Completed(query)
        self._execute(text, values, query)
        reader = self._cursor.fetch_record_batch()
        while (batch := self._next(reader, query)) is not None:
            frame: Any = pl.from_arrow(batch)
            yield complete(frame)

    def _next(self, reader: Any, query: Query) -> Any:
        try:
            return reader.read_next_batch()
        except StopIteration:
            return None
        except (self._error, OSError, ValueError) as error:  # Arrow's are the latter
            raise self._broken(error, query) from None

    def _one_row(self, query: Query) -> tuple[Any, ...]:
        try:
            row: tuple[Any, ...] = self._cursor.fetchone()
        except self._error as error:
            raise self._broken(error, query) from None
        return row

    def _execute(
        self, text: str, values: tuple[Any, ...] = (), query: Query | None = None
    ) -> None:
        try:
            self._cursor.execute(text, values or None)
        except self._error as error:
            raise self._broken(error, query) from None

    def _broken(self, error: Exception, query: Query | None) -> SourceError:
        where = f" of result source {query.source!r}" if query else ""
        said = self._secrets.masked(error).partition("\n\nQuery was:")[0]
        msg = f"the results database refused a query{where}: {said}"
        return SourceError(msg)

    def _cannot_connect(self, error: Exception) -> SourceError:
        said = self._secrets.masked(error).strip()
        if any(one in said for one in _REFUSED):
            msg = f"the results database refuses the login: {said}; check the address"
            return AuthenticationError(msg)
        if any(one in said for one in _ABSENT):
            msg = f"the results database is not there: {said}; check the address"
            return NotFoundError(msg)
        msg = f"the results database cannot be reached: {said}"
        return TryAgainError(msg)


def select_of(
    query: Query, fields: tuple[Field, ...], since: Since | None
) -> tuple[str, tuple[Any, ...]]:
    """The SELECT with every column cast, from where a read goes on, and its values."""
    columns = ", ".join(f"{_cast(one)} as {one.column}" for one in fields)
    order = ", ".join(f'mapped."{name}"' for name in order_of(fields))
    named = {one.name: one for one in fields}
    where, values = "", tuple[Any, ...]()
    if since is not None:
        where, values = " where mapped.id > $1", (since.row_id,)
        if since.updated_at is not None and "updated_at" in named:
            where += f" or {_cast(named['updated_at'])} >= $2"
            values = (*values, since.updated_at)
    text = f"select {columns} from {query.inner}{where}"
    return text + (f" order by {order}" if order else ""), values


def _cast(one: Field) -> str:
    return _CASTS[one.kind](f'mapped."{one.name}"', one.type)


def _text(column: str, _type: str) -> str:
    return f"{column}::text"


def _double(column: str, kind: str) -> str:
    if kind == "interval":
        return f"extract(epoch from {column})::float8"
    return f"{column}::int::float8" if kind == "bool" else f"{column}::float8"


def _bigint(column: str, kind: str) -> str:
    if kind in ("float4", "float8", "numeric"):
        # NaN counts as larger than infinity here.
        is_finite = f"{column}::float8 between -9.2e18 and 9.2e18"
        return f"case when {is_finite} then floor({column})::bigint end"
    return f"{column}::int::bigint" if kind == "bool" else f"{column}::bigint"


def _boolean(column: str, kind: str) -> str:
    return f"({column} <> 0)" if kind in _NUMBERS else f"{column}::boolean"


def _time(column: str, kind: str) -> str:
    if kind in _NUMBERS:
        return f"to_timestamp({column}::float8)"
    moment = column if kind in _TIMES else f"{column}::timestamptz"
    return f"case when isfinite({moment}) then ({moment})::timestamptz end"


_CASTS = {
    "VARCHAR": _text,
    "DOUBLE": _double,
    "BIGINT": _bigint,
    "BOOLEAN": _boolean,
    "TIMESTAMPTZ": _time,
}


def _type_name(field: Any) -> str:
    metadata = field.metadata or {}
    found = next((metadata[key] for key in _TYPE_KEYS if key in metadata), b"text")
    return str(found.decode())


def _patient(url: str) -> str:
    """The address with an end to waiting, unless it has one."""
    parts = urlsplit(url)
    options = parse_qsl(parts.query)
    if "connect_timeout" not in dict(options):
        options.append(("connect_timeout", _PATIENCE))
    return urlunsplit(parts._replace(query=urlencode(options)))


def _driver() -> Any:
    try:
        import adbc_driver_postgresql.dbapi as driver
    except ModuleNotFoundError:
        msg = (
            "results in PostgreSQL need the package adbc-driver-postgresql; "
            "install it with `pip install 'run-assets[postgres]'`"
        )
        raise UsageError(msg) from None
    return driver
