"""From what the API sends of a history to rows of ``raw.history``.

Whatever the route, JSON rows or parquet, a value comes out the same: nested keys are
joined with dots, NaN and infinities are numbers, JSON has one spelling.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, cast

import polars as pl

from run_assets.digests import digest_of
from run_assets.errors import SourceError
from run_assets.sources.wandb_history import HISTORY
from run_assets.sources.wandb_records import (
    EXACT_INTEGER,
    FIRST_SECOND,
    LAST_SECOND,
    canonical_json,
    decode_value,
    is_too_deep,
)

STEP = "_step"
TIMESTAMP = "_timestamp"
RUNTIME = "_runtime"
_INTERNAL = (STEP, TIMESTAMP, RUNTIME, "_wandb")
_STEPS_AT_ONCE = 1_000_000

Pair = tuple[float | None, str | None]
TypeCounts = Mapping[str, Mapping[str, int]]


def type_counts(history_keys: Any) -> dict[str, dict[str, int]]:
    """How often each key was logged as which type, as the server counted it.

    >>> type_counts({"keys": {"a": {"typeCounts": [{"type": "number", "count": 2}]}}})
    {'a': {'number': 2}}
    """
    keys = history_keys.get("keys") if isinstance(history_keys, dict) else None
    if not isinstance(keys, dict):
        return {}
    return {
        str(key): {
            str(one.get("type")): int(one.get("count") or 0)
            for one in (entry or {}).get("typeCounts") or ()
        }
        for key, entry in keys.items()
    }


@dataclass(frozen=True)
class Decoder:
    """Tells what a value meant that JSON or parquet could not hold.

    Attributes:
        counts: See ``type_counts``; a key that is not counted may hold anything.
    """

    counts: TypeCounts

    def pair(self, key: str, value: Any) -> Pair | None:
        """A value as (value, value_json); ``None`` where nothing was logged."""
        match value:
            case float():
                return value, None
            case bool() | int():
                return decode_value(json.dumps(value))
            case None:
                return (math.nan, None) if self._null_is_nan(key) else None
            case "NaN" | "Infinity" | "-Infinity" if self._may_be(key, "number"):
                return float(value), None
            case _:
                return None, canonical_json(value)

    def text_pair(self, key: str, text: str) -> Pair | None:
        """A text of a column that holds more than text: numbers are spelled out."""
        if self._is_only_text(key):
            return None, canonical_json(text)
        pair = decode_value(text)
        if pair is None or pair[0] is not None:
            return pair
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None, canonical_json(text)
        return None, canonical_json(text if isinstance(value, str) else value)

    def _may_be(self, key: str, kind: str) -> bool:
        counts = self.counts.get(key)
        return counts is None or counts.get(kind, 0) > 0

    def _null_is_nan(self, key: str) -> bool:
        counts = self.counts.get(key, {})
        return counts.get("number", 0) > 0 and not counts.get("nil", 0)

    def _is_only_text(self, key: str) -> bool:
        counts = self.counts.get(key)
        return counts is not None and set(counts) <= {"string", "nil"}


@dataclass
class _Columns:
    """Columns of ``HISTORY`` while they are filled."""

    metric: list[str] = field(default_factory=list)
    step: list[int] = field(default_factory=list)
    logged_at: list[int | None] = field(default_factory=list)
    runtime_seconds: list[float | None] = field(default_factory=list)
    value: list[float | None] = field(default_factory=list)
    value_json: list[str | None] = field(default_factory=list)

    def frame(self) -> pl.DataFrame:
        kinds = {**HISTORY, "logged_at": pl.Int64()}
        frame = pl.DataFrame(vars(self), schema=kinds)
        return frame.cast({"logged_at": HISTORY["logged_at"]})


class Rows(NamedTuple):
    """Some rows of a history.

    Attributes:
        history: One row a value, as ``HISTORY``.
        steps: The step of every row, also of those without values.
    """

    history: pl.DataFrame
    steps: list[int]


def json_rows(lines: Iterable[str], decoder: Decoder) -> Rows:
    """Rows that the API sends as JSON texts.

    Raises:
        SourceError: A row is no JSON object or has no step.
    """
    columns, steps = _Columns(), []
    for line in lines:
        row, step = json_row(line)
        moment, runtime = _microseconds(row.get(TIMESTAMP)), _finite(row.get(RUNTIME))
        steps.append(step)
        for name, pair in _cells(row, decoder):
            columns.metric.append(name)
            columns.step.append(step)
            columns.logged_at.append(moment)
            columns.runtime_seconds.append(runtime)
            columns.value.append(pair[0])
            columns.value_json.append(pair[1])
    return Rows(columns.frame(), steps)


def json_row(line: str) -> tuple[dict[str, Any], int]:
    """A row and its step.

    Raises:
        SourceError: It is no JSON object or has no step.
    """
    try:
        row = json.loads(line)
        return row, int(row[STEP])
    except (ValueError, RecursionError, KeyError, TypeError, OverflowError):
        msg = f"a history row must be a JSON object with {STEP}, got {line[:80]!r}"
        raise SourceError(msg) from None


def _cells(row: Mapping[str, Any], decoder: Decoder) -> Iterable[tuple[str, Pair]]:
    """Names and values of a row; of a name that occurs twice the last counts."""
    found: dict[str, Pair] = {}
    for key, value in row.items():
        if type(value) is float and key not in _INTERNAL:
            found[key] = value, None
            continue
        if is_too_deep(value):
            found[key] = None, canonical_json(json.dumps(value))
            continue
        for name, leaf in _leaves(key, value):
            pair = None if is_internal(name) else decoder.pair(name, leaf)
            if pair is not None:
                found[name] = pair
    return found.items()


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Values with dotted names; typed objects such as tables are values."""
    if isinstance(value, dict) and value and "_type" not in value:
        for name, child in value.items():
            yield from _leaves(f"{key}.{name}", child)
    else:
        yield key, value


def is_internal(name: str) -> bool:
    """W&B's own column or branch: no metric.

    >>> [is_internal(name) for name in ("_step", "_wandb.runtime", "_own")]
    [True, True, False]
    """
    return name.partition(".")[0] in _INTERNAL


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _microseconds(value: Any) -> int | None:
    seconds = _finite(value)
    if seconds is None or not FIRST_SECOND <= seconds <= LAST_SECOND:
        return None
    return round(seconds * 1e6)


# Parquet exports.


class ExportSpan(NamedTuple):
    """What the steps in export files say.

    Attributes:
        rows: Rows in all of them.
        last_step: The greatest step, -1 without rows.
        is_ordered: Steps ascend through all files, none twice.
        first_step: The smallest step, -1 without rows.
    """

    rows: int
    last_step: int
    is_ordered: bool
    first_step: int = -1


def export_span(path: Path) -> ExportSpan:
    """Read the steps of an export file, in constant memory.

    Raises:
        SourceError: The file is damaged or has no steps.
    """
    spans = [ExportSpan(0, -1, is_ordered=True)]
    try:
        scan = pl.scan_parquet(path, glob=False).select(pl.col(STEP).cast(pl.Int64))
        first, steps = 0, scan.head(_STEPS_AT_ONCE).collect()[STEP]
        while not steps.is_empty():
            ascends = bool((steps.diff().drop_nulls() > 0).all())
            spans.append(ExportSpan(steps.len(), _last(steps), ascends, steps[0]))
            first += steps.len()
            if steps.len() < _STEPS_AT_ONCE:
                break
            steps = scan.slice(first, _STEPS_AT_ONCE).collect()[STEP]
    except (OSError, pl.exceptions.PolarsError) as error:
        msg = f"a history export is damaged: {str(error).partition(chr(10))[0]}"
        raise SourceError(msg) from error
    return joined_spans(spans)


def joined_spans(spans: Iterable[ExportSpan]) -> ExportSpan:
    """Several stretches of steps, one after the other.

    >>> joined_spans([ExportSpan(2, 1, True, 0), ExportSpan(2, 3, True, 1)])
    ExportSpan(rows=4, last_step=3, is_ordered=False, first_step=0)
    """
    rows, last, is_ordered, first = 0, -1, True, -1
    for span in spans:
        if span.rows:
            first = span.first_step if rows == 0 else min(first, span.first_step)
            is_ordered &= span.is_ordered and span.first_step > last
            rows, last = rows + span.rows, max(last, span.last_step)
    return ExportSpan(rows, last, is_ordered, first)


def export_values(paths: Sequence[Path]) -> dict[str, int]:
    """Values of each column of export files, from their footers."""
    import pyarrow.parquet as pq

    found: dict[str, int] = {}
    for path in paths:
        about = pq.read_metadata(path)
        for group in (about.row_group(i) for i in range(about.num_row_groups)):
            for number in range(group.num_columns):
                column = group.column(number)
                nulls = column.statistics.null_count if column.statistics else 0
                name = column.path_in_schema
                found[name] = found.get(name, 0) + column.num_values - (nulls or 0)
    return found


def export_pieces(
    path: Path, decoder: Decoder, *, piece_values: int
) -> Iterator[tuple[pl.DataFrame, int]]:
    """The history in an export file, in pieces of about so many values.

    Yields:
        A piece, and the greatest step of its rows.
    """
    about = pl.scan_parquet(path, glob=False)
    rows = max(1, piece_values // max(1, len(about.collect_schema())))
    for first in count(0, rows):
        wide = about.slice(first, rows).collect()
        if wide.is_empty():
            break
        yield long_frame(wide, decoder), _last(wide[STEP].cast(pl.Int64))
        if wide.height < rows:
            break


def _last(steps: pl.Series) -> int:
    return cast("int", steps.max())


def long_frame(wide: pl.DataFrame, decoder: Decoder) -> pl.DataFrame:
    """One row a value of a frame with one column a key, metric after metric."""
    names = sorted(name for name in wide.columns if not is_internal(name))
    plain = [name for name in names if _is_plain(wide[name])]
    frames = [_plain_values(wide, plain)] if plain else []
    if others := [name for name in names if name not in plain]:
        index = wide.select(_index_columns(wide)).rename(_INDEX)
        frames += [_decoded_values(index, wide[name], decoder) for name in others]
    return pl.concat(frames) if frames else HISTORY.to_frame()


_INDEX = {
    "\0step": "step",
    "\0logged_at": "logged_at",
    "\0runtime_seconds": "runtime_seconds",
}
"""Names while columns lie beside metrics, of which one may be called `step`."""


def _index_columns(wide: pl.DataFrame) -> list[pl.Expr]:
    seconds = _number_or_null(wide, TIMESTAMP)
    is_sane = seconds.is_between(FIRST_SECOND, LAST_SECOND)
    moment = pl.when(is_sane).then((seconds * 1e6).round())
    runtime = _number_or_null(wide, RUNTIME)
    columns = [
        pl.col(STEP).cast(pl.Int64),
        moment.cast(pl.Int64).cast(HISTORY["logged_at"]),
        pl.when(runtime.is_finite()).then(runtime),
    ]
    return [one.alias(name) for one, name in zip(columns, _INDEX, strict=True)]


def _number_or_null(wide: pl.DataFrame, name: str) -> pl.Expr:
    if name not in wide.columns:
        return pl.lit(None, pl.Float64)
    return pl.col(name).cast(pl.Float64, strict=False)


def _is_plain(column: pl.Series) -> bool:
    """Numbers that a double holds."""
    if column.dtype.is_float():
        return True
    if not column.dtype.is_integer():
        return False
    return bool(column.is_between(-EXACT_INTEGER, EXACT_INTEGER).all())


def _plain_values(wide: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    values = [pl.col(name).cast(pl.Float64) for name in names]
    long = (
        wide.lazy()
        .select(*_index_columns(wide), *values)
        .unpivot(on=names, index=list(_INDEX), variable_name="metric")
    )
    if any(wide[name].has_nulls() for name in names):
        long = long.filter(pl.col("value").is_not_null())
    text = pl.lit(None, pl.String).alias("value_json")
    return long.rename(_INDEX).with_columns(text).select(HISTORY.names()).collect()


def _decoded_values(
    index: pl.DataFrame, column: pl.Series, decoder: Decoder
) -> pl.DataFrame:
    name = column.name
    is_text = column.dtype == pl.String
    pairs: list[Pair | None] = [
        None
        if value is None
        else decoder.text_pair(name, value)
        if is_text
        else decoder.pair(name, value)
        for value in column.to_list()
    ]
    values = pl.Series("value", [pair and pair[0] for pair in pairs], pl.Float64)
    texts = pl.Series("value_json", [pair and pair[1] for pair in pairs], pl.String)
    is_value = pl.Series([pair is not None for pair in pairs], dtype=pl.Boolean)
    named = index.select(pl.lit(name).alias("metric"), pl.all())
    return named.with_columns(values, texts).filter(is_value).select(HISTORY.names())


def row_digest(history: pl.DataFrame, step: int) -> str:
    """Digest of the values at a step: has what was stored changed since?"""
    told = ("metric", "logged_at", "value", "value_json")
    row = history.lazy().filter(step=step).select(told).collect()
    return digest_of(sorted(row.rows(), key=str))
