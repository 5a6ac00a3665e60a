"""One read-only question to the published DuckDB file, locked down.

The text may come from anyone. Three fences hold it: the parsed statement may only
select and call table functions that are named here; DuckDB itself reaches no file but
the warehouse and the lake, no network, no extension and no setting; time, memory and
rows are limited. The first fence is needed because DuckDB 2 takes ``with x as (copy …)
select …`` for a SELECT, and a folder that may be read may also be written.
"""

import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import duckdb
import polars as pl

from run_assets.contracts.tables import TABLES
from run_assets.errors import (
    NotFoundError,
    RunAssetsError,
    SourceError,
    TryAgainError,
    UsageError,
)
from run_assets.store.lake import Lake
from run_assets.store.models import quoted
from run_assets.store.warehouse import warehouse_path

if TYPE_CHECKING:
    import pyarrow as pa

_LONGEST_SQL = 100_000  # characters; parsing time grows with the text
_BATCH_ROWS = 16_384
_LONGEST_MESSAGE = 1_000

_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "CTE_NODE", "RECURSIVE_CTE_NODE"}
_FUNCTIONS = {
    *("range", "generate_series", "repeat", "repeat_row", "unnest", "summary"),
    *("json_each", "json_tree", "icu_calendar_names", "pg_timezone_names"),
    *("read_parquet", "parquet_scan", "parquet_metadata", "parquet_schema", "glob"),
    *("parquet_file_metadata", "parquet_kv_metadata"),
    *("duckdb_columns", "duckdb_constraints", "duckdb_functions", "duckdb_keywords"),
    *("duckdb_schemas", "duckdb_tables", "duckdb_types", "duckdb_views"),
    *("pragma_table_info", "pragma_version", "pragma_show"),
}

# In the JSON of a parsed statement a quote inside a string is always escaped, so these
# patterns match the structure and never the text of a literal or an alias.
_NODE = re.compile(r'"type":"([A-Z_]+_NODE)"')
_UNKNOWN_TABLE = re.compile(r'Table with name "?(\w+)"? does not exist')
_CALL = re.compile(r'"function":\{.*?"function_name":"((?:[^"\\]|\\.)*)"')


def query(
    source: Path | Lake,
    sql: str,
    *,
    timeout_seconds: float = 60,
    memory_limit: str = "4GB",
    max_rows: int | None = None,
) -> pl.DataFrame:
    """The rows that one SELECT gives.

    Args:
        source: The published file, with the lake in the folder ``lake`` beside it; or
            the lake, with the published file beside it.
        sql: One SELECT (or FROM, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW).
        timeout_seconds: It is interrupted then.
        memory_limit: For DuckDB's work, for what it spills to disk, and for the
            result; as DuckDB spells sizes. DuckDB does not count a single list or
            text of gigabytes that one function makes.
        max_rows: A larger result is an error, not a part of the rows.

    Raises:
        NotFoundError: There is no published file yet.
        TryAgainError: Somebody holds the file for writing, or a file of the lake was
            replaced meanwhile.
        UsageError: The SQL is wrong, does more than select, or exceeds a limit.
        KeyboardInterrupt: Ctrl-C, at once.
        SourceError: The file is damaged.
    """
    path = warehouse_path(source) if isinstance(source, Lake) else source
    folder = source.root if isinstance(source, Lake) else path.parent / "lake"
    if not path.is_file():
        msg = f"no warehouse at {path}; build it with `run-assets refresh`"
        raise NotFoundError(msg)
    if len(sql) > _LONGEST_SQL:
        msg = f"SQL must have at most {_LONGEST_SQL:,} characters, got {len(sql):,}"
        raise UsageError(msg)
    with (
        TemporaryDirectory(prefix="run_assets_sql_") as spill,
        duckdb.connect() as connection,
        _deadline(connection, timeout_seconds),
    ):
        size = _lock_down(connection, path, folder, spill, memory_limit)
        with _explained(path, size):
            _check_statement(connection, sql)
            return _fetch(connection, sql, size, max_rows)


def _lock_down(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    folder: Path,
    spill: str,
    memory_limit: str,
) -> int:
    """Attach the file and take every other right away; returns the limit in bytes."""
    try:
        rows = connection.execute(
            "select parse_formatted_bytes($1)", [memory_limit]
        ).fetchall()
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        msg = f"memory_limit must be a size such as 4GB, got {memory_limit!r}"
        raise UsageError(msg) from error
    _attach(connection, path)
    lake = str(folder.absolute())
    for name, value in (
        ("memory_limit", quoted(memory_limit)),
        ("temp_directory", quoted(spill)),
        ("max_temp_directory_size", quoted(memory_limit)),
        ("TimeZone", "'UTC'"),
        ("python_enable_replacements", "false"),
        ("allow_persistent_secrets", "false"),
        ("autoinstall_known_extensions", "false"),
        ("autoload_known_extensions", "false"),
        ("allowed_directories", f"[{quoted(lake)}]"),
        ("enable_external_access", "false"),
        ("lock_configuration", "true"),
    ):
        connection.execute(f"set {name} = {value}")
    return int(rows[0][0])


def _attach(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    try:
        connection.execute(f"attach {quoted(str(path))} as warehouse (read_only)")
        connection.execute("use warehouse")
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        in_this_process = isinstance(error, duckdb.ResourceInUseException)
        if in_this_process or "Could not set lock" in str(error):
            msg = (
                f"{path} is open for writing elsewhere: {_trimmed(error)}; close that "
                "connection, or open it with `duckdb -readonly` or `read_only=True`"
            )
            raise TryAgainError(msg) from error
        msg = (
            f"{path} cannot be opened: {_trimmed(error)}; `run-assets refresh` "
            "builds it anew"
        )
        raise SourceError(msg) from error


def _check_statement(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse everything but one statement that only selects."""
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        msg = f"sql must be one statement, got {len(statements)}"
        raise UsageError(msg)
    kind = statements[0].type
    if kind == duckdb.StatementType.MULTI:
        msg = "name the values of a pivot, as in `pivot … on metric in ('a', 'b')`"
        raise UsageError(msg)
    if kind != duckdb.StatementType.SELECT:
        msg = f"the warehouse is read-only: sql must be a SELECT, got {kind.name}"
        raise UsageError(msg)
    rows = connection.execute("select json_serialize_sql($1::varchar)", [sql])
    _check_tree(str(rows.fetchall()[0][0]))


def _check_tree(tree: str) -> None:
    nodes = set(_NODE.findall(tree))
    if not nodes or nodes - _NODES:
        kinds = ", ".join(sorted(nodes - _NODES)) or "no SELECT"
        msg = f"the warehouse is read-only: sql must only select, got {kinds}"
        raise UsageError(msg)
    calls = _CALL.findall(tree)
    refused = ", ".join(sorted(set(calls) - _FUNCTIONS))
    if refused or len(calls) != tree.count('"type":"TABLE_FUNCTION"'):
        msg = (
            f"table function {refused or 'of this form'} is not allowed here; "
            f"allowed: {', '.join(sorted(_FUNCTIONS))}"
        )
        raise UsageError(msg)


def _fetch(
    connection: duckdb.DuckDBPyConnection, sql: str, size: int, max_rows: int | None
) -> pl.DataFrame:
    """Read batch by batch, so that a result too large is noticed in time."""
    import pyarrow as pa

    with connection.sql(sql).to_arrow_reader(_BATCH_ROWS) as reader:
        table = pa.Table.from_batches(_within(reader, size, max_rows), reader.schema)
    frame = pl.from_arrow(table)
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()


def _within(
    reader: "pa.RecordBatchReader", size: int, max_rows: int | None
) -> list["pa.RecordBatch"]:
    """The batches of a result that keeps its limits."""
    _check_types(reader.schema)
    batches, rows, used = [], 0, 0
    for batch in reader:
        batches.append(batch)
        rows += batch.num_rows
        used += batch.nbytes
        if max_rows is not None and rows > max_rows:
            msg = f"the result has more than {max_rows:,} rows; add a `limit`"
            raise UsageError(msg)
        if used > size:
            msg = (
                f"the result is larger than the memory limit of {size / 1e9:g} GB "
                f"(after {rows:,} rows); aggregate or add a `limit`"
            )
            raise UsageError(msg)
    return batches


def _check_types(schema: "pa.Schema") -> None:
    for column in schema:
        if _has_no_polars_type(column.type):
            msg = (
                f"column {column.name!r} has type {column.type}, which a data frame "
                "cannot hold; cast it, for example with epoch(…) or ::varchar"
            )
            raise UsageError(msg)


def _has_no_polars_type(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if pa.types.is_interval(kind) or pa.types.is_union(kind):
        return True
    inner = [kind.field(number).type for number in range(kind.num_fields)]
    return any(map(_has_no_polars_type, inner))


@contextmanager
def _deadline(
    connection: duckdb.DuckDBPyConnection, timeout_seconds: float
) -> Iterator[None]:
    """Interrupt what the connection does after some seconds, or by Ctrl-C."""
    done, late = threading.Event(), threading.Event()
    deadline = time.monotonic() + timeout_seconds

    def watch(signals: socket.socket) -> None:
        while not done.wait(0.02):
            is_late = time.monotonic() > deadline
            if is_late:
                late.set()
            # One call is lost when it falls between two steps of the query.
            if is_late or _is_signalled(signals):
                connection.interrupt()

    with _signal_socket() as signals:
        thread = threading.Thread(target=watch, args=(signals,), daemon=True)
        thread.start()
        with _joined(thread, done), _late_is_a_usage_error(late, timeout_seconds):
            yield


@contextmanager
def _signal_socket() -> Iterator[socket.socket]:
    """Where a signal arrives at once: Python's own handlers wait for DuckDB to end."""
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.settimeout(0)
        writer.settimeout(0)
        if threading.current_thread() is not threading.main_thread():
            yield reader
            return
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(before)


def _is_signalled(signals: socket.socket) -> bool:
    try:
        return signal.SIGINT in signals.recv(64, socket.MSG_PEEK)
    except BlockingIOError:
        return False


@contextmanager
def _joined(thread: threading.Thread, done: threading.Event) -> Iterator[None]:
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def _late_is_a_usage_error(
    late: threading.Event, timeout_seconds: float
) -> Iterator[None]:
    try:
        yield
    except duckdb.InterruptException as error:
        if not late.is_set():  # then it was Ctrl-C, whoever took it for itself
            raise KeyboardInterrupt from error
        msg = (
            f"the query ran longer than {timeout_seconds:g} s; "
            "narrow it or raise the timeout"
        )
        raise UsageError(msg) from error


@contextmanager
def _explained(path: Path, size: int) -> Iterator[None]:
    """DuckDB's errors as ours."""
    try:
        yield
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        raise _as_ours(error, path, size) from error


def _as_ours(error: duckdb.Error, path: Path, size: int) -> RunAssetsError:
    text = _trimmed(error)
    match error:
        case duckdb.OutOfMemoryException():
            return UsageError(
                f"the query needs more than the memory limit of {size / 1e9:g} GB; "
                "aggregate earlier, select fewer columns or raise the limit"
            )
        case duckdb.PermissionException():
            return UsageError(f"sql reads the warehouse and its lake only: {text}")
        case duckdb.IOException():
            return TryAgainError(
                f"{text}; a refresh may have replaced a file meanwhile: try again"
            )
        case duckdb.InternalException() | duckdb.FatalException():
            return SourceError(f"DuckDB failed on {path}: {text}")
    if found := _UNKNOWN_TABLE.search(text):
        return UsageError(_unknown_table(found[1]))
    return UsageError(f"{text}\n`run-assets tables` lists tables and their columns")


def _unknown_table(name: str) -> str:
    """As DuckDB's message, which suggests names without their schema."""
    close = [one for one in TABLES if get_close_matches(name, [one.partition(".")[2]])]
    hint = f"did you mean {' or '.join(close)}?" if close else "see `run-assets tables`"
    return f"no table {name!r} in the warehouse; {hint}"


def _trimmed(error: duckdb.Error) -> str:
    text = re.sub(r"\n{2,}", "\n", str(error).strip())
    text = text.removeprefix("Permission Error: ").removeprefix("IO Error: ")
    if len(text) <= _LONGEST_MESSAGE:
        return text
    return f"{text[:_LONGEST_MESSAGE]}…"
